"""How every command of Threshold ends: one clear line and an exit code, never a traceback for a user's mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from edge.errors import ThresholdError

INTERRUPTED = 130  # the shell's convention for a program ended by Ctrl-C


def run(main: Callable[[], int | None]) -> None:
    """Run `main` and leave the process: 0 or what it returns, 2 for bad input, 1 for a failure, 130 for Ctrl-C."""
    try:
        code = main() or 0
        sys.stdout.flush()
    except ThresholdError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except MemoryError:
        print("error: out of memory: end other programs, or take a board with more", file=sys.stderr)
        code = 1
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        code = 1
    raise SystemExit(code)
