"""From strangers' distances to thresholds: the tail, the rates it foretells, and pictures of both."""
