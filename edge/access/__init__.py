"""May they pass: the rules that come after recognition."""
