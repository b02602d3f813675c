"""A people folder: photos of everybody, one folder each, and what stands between them and a gallery."""
