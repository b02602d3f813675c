"""Replay of recorded clips through the daemon's pipeline: explain, annotate, compare with expected events."""
