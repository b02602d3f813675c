"""Access rules: who may pass which door at which time."""
