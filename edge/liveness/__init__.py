"""Presentation attacks: is it a person before the door, or a picture of one? Pure; see docs/liveness.md."""
