"""Fuzz tests of every parser of external input."""
