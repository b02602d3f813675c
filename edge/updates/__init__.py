"""Verified updates of galleries, models and rules over TUF."""
