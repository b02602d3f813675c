"""Runs a Python program of this folder in a process that can be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

HERE = Path(__file__).resolve().parent
TESTS, ROOT = HERE.parent, HERE.parent.parent
END_S = 120.0


class ChildProcess:
    """One program and its log; a context manager that kills it at the end.

    Args:
        log: file for its standard error, appended at every start.
        name: file name of the program, in this folder.
        arguments: arguments of the program.
    """

    def __init__(self, log: Path, name: str, *arguments: object) -> None:
        self._log = log
        self._command = [sys.executable, str(HERE / name), *map(str, arguments)]
        self._environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"}
        self.process: subprocess.Popen[str] | None = None

    @property
    def log_text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def last_log_line(self) -> str:
        """Last line of its log, for error messages."""
        return next((line for line in reversed(self.log_text.splitlines()) if line.strip()), "empty log")

    def start(self) -> None:
        """Start the program, with pipes to its standard input and output."""
        self.close()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
                bufsize=1,
            )

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill the process (SIGKILL) and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """Stop the program (SIGTERM) and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)

    def close(self) -> None:
        self.kill()
        if self.process is not None:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
