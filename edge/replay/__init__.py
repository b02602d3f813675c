"""A tester's room: recorded clips through the very loop of the daemon, watched, explained, held to what is expected."""
