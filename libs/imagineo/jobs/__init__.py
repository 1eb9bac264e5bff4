"""The pure rules of runs: states, lanes, estimates. No clock, no I/O; the time of a decision is an argument."""
