"""What the operator sees while a command works: one observer a medium, and which of them a command gets.

Observers never raise and never wait: a terminal that is gone or a full disk under the log stops no run.
"""
