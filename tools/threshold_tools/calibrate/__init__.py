"""Thresholds of a gallery for a target rate, from the tail of strangers' distances."""
