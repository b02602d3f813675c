"""Presentation attack detection: passive cues, challenges and the gate that holds decisions; see docs/lab/liveness.md."""
