"""The page for the fleet: what threshold monitor serves."""
