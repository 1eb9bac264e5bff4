"""What the platform costs, as ratios measured in one run; never part of the timed tests."""
