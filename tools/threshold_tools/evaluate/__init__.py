"""Error rates of recognition, on people of one's own: the protocols, the report and its page."""
