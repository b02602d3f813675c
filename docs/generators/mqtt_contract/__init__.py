"""The MQTT contract as documents for others: JSON Schemas, an AsyncAPI document, a page."""
