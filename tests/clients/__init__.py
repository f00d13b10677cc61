"""Tests of the connections: what goes over the wire, and what each way of failing means."""
