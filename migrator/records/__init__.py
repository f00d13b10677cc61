"""Rows of the user's database, updated when their objects have arrived."""
