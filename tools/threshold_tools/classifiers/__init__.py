"""Ways to name whoever is on a photo, behind one interface, so that the door's choice among them can be measured."""
