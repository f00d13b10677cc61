"""Real S3 servers on this machine, started for the tests and ended after them."""
