"""A door under faults for long: what happens to it, and the judge who knows what was promised."""
