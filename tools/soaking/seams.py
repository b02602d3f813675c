"""The one way in which these runs reach into a door: a module is given others to work with than it has imported."""

from __future__ import annotations

from types import ModuleType


def replace(module: ModuleType, **others: object) -> None:
    """Let `module` use these from now on, under the names that it uses already.

    Raises:
        AttributeError: it uses no such name (any more), and the run would not be what it says.
    """
    for name in others:
        getattr(module, name)
    vars(module).update(others)
