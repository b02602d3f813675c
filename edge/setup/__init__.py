"""A guided first run that writes door.toml (`edge setup`).

`draft.py` is the file as a text, `trials.py` looks for cameras and tries a broker, `interview.py` asks.
"""
