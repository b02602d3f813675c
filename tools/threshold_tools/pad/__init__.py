"""Presentation attacks: simulated attack clips, and the measurement of the liveness detection of a door."""
