"""Reports of the desktop tools: one description of verdict and tables, shown on a terminal and as an HTML page."""
