"""For testers: recorded clips are replayed, annotated, explained and compared with expected events."""
