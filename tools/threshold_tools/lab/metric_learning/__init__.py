"""Metric learning: does a linear head on the embedder's vectors help people it has never seen?"""
