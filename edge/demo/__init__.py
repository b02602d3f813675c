"""The bundled clip, gallery and photos, and the show that runs them; see PROVENANCE.md for the pictures."""
