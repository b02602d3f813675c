"""Samples of tracks: degraded copies of photos, what quality foretells of them, and what fusing them gains."""
