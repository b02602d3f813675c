"""The daemon of one door and the parts around its pipeline."""
