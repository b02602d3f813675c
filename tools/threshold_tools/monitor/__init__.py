"""The page for the fleet: what tools/monitor.py serves."""
