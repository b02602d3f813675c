"""How fast this machine is: models, stages and whole steps of the pipeline; before and after."""
