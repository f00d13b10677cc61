"""Tests of the stores: one contract, filled in by each of them."""
