"""The commands of `edge`; `add` of a module builds its parsers."""
