"""Learning on the desktop: does a linear head on the embedder's vectors help? The pieces of tools/adapt.py."""
