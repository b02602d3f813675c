"""How a shell may watch the stages without the stages knowing: each verb passes through a meter once, when it is bound.

The stages themselves never read a clock; a replay binds them unmetered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class StageTimer(Protocol):
    """Wraps the verb of a stage; the wrapped verb must behave exactly as the bare one."""

    def __call__(self, stage: str, verb: Callable[P, R]) -> Callable[P, R]: ...


def no_timing(stage: str, verb: Callable[P, R]) -> Callable[P, R]:
    """The meter that measures nothing and costs nothing."""
    return verb
