"""Checks of a door, each with its remedy (`edge check`), and guided setup (`edge setup`)."""
