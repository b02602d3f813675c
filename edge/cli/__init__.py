"""Commands of `edge`; the function `add` of each module adds its parsers."""
