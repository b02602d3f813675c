"""Parts of the generator of the demo clip and of the test photos."""
