"""Presentation attack detection: passive cues, challenges and the gate that holds decisions
(docs/lab/liveness.md).
"""
