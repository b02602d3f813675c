"""MQTT connection of a door: broker address, session, publisher, subscriber."""
