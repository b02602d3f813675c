"""Error rates of recognition on your own people: protocols, report and page."""
