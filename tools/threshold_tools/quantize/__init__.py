"""Int8 models: made from the float originals, measured, and prepared for the Edge TPU."""
