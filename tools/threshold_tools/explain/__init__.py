"""Explains how one photo compares with another photo or an enrolled person, and what a door would decide."""
