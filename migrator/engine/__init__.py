"""Moving and checking: knows only `core`, gets everything else handed in by `wiring`."""
