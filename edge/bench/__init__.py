"""How fast this machine is: models, stages, whole steps, a running door, its start, its gallery; before and after."""

SECTIONS = ("steps", "power", "run", "start", "search")
