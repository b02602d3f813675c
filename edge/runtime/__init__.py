"""The daemon of one door, and the components around its pipeline."""
