"""Presentation attacks on the desktop: simulated ones, and the measurement of what the door makes of them."""
