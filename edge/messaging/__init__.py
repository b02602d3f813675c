"""The wire: events, the durable outbox, and the MQTT publisher."""
