"""The durable event queue between the pipeline and the broker."""
