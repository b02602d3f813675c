"""Face recognition programs behind one interface, for comparison with Threshold."""
