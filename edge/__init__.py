"""Threshold: face recognition at the door.

Camera frames in, access events over MQTT out. `edge.pipeline` processes frames; `edge.runtime.daemon` runs a door.
"""

__version__ = "0.1.0"
