"""Records, configuration, time, files and errors that every other package uses."""
