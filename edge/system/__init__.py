"""What the machine and its operating system offer a door: files, keys, clock, memory, journal."""
