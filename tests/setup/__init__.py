"""Tests of what makes a destination right."""
