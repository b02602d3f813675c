"""Threshold: face recognition at the door.

Camera frames in, access events over MQTT out; `edge.pipeline` is the heart, `edge.runtime.daemon` the shell around it.
"""

__version__ = "0.1.0"
