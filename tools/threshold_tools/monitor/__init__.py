"""Web page of all doors: `threshold monitor`."""
