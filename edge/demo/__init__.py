"""The bundled demo: clip, gallery, photos and the command that plays them; see PROVENANCE.md for the pictures."""
