"""The commands of `edge`, one module each: `add` builds the parser, and what it runs stands below."""
