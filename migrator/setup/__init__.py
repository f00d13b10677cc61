"""Makes a destination right: inspect -> changes -> apply."""
