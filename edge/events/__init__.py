"""The MQTT contract: message schemas, topics, signatures and Home Assistant discovery."""
