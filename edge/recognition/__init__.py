"""From embeddings to names: gallery search, aggregation of samples, lockout."""
