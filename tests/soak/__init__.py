"""Soak runs: a real door under kills and simulated hours of faults, and the invariants it must keep."""
