"""Classifiers that name the person on a photo, behind one interface, so that the choice of a door can be measured."""
