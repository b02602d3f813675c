"""Makes int8 models from the float originals, measures them, and prepares them for the Edge TPU."""
