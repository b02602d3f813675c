"""The commands of `edge`, one module each; `add` of a module builds its parser."""
