"""Fusion of the samples of a track: what [quality] rejects, and what [recognition] gains, on faces of your own."""
