"""One photo against another, or somebody enrolled: what was seen, measured and decided, for people to look at."""
