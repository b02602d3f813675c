"""What can be wrong between plugging a door in and its first event: every finding with its remedy (`edge check`).

`check.py` has the order, `board.py` looks at the computer, `view.py` and `scene.py` through the camera, `software.py`
at what runs, `network.py` at the way to the broker; `table.py` prints.
"""
