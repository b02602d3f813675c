"""Experiments that users can run on their own faces."""
