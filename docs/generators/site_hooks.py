"""MkDocs hooks: put the version and the address of this clone's origin into the site.

No address of the project is written in the sources. A clone knows its own, so a site that GitHub builds links to the
repository that it was built from. Without an `origin` on a web host, the site has no repository link.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from edge import __version__

ROOT = Path(__file__).parents[2]
_ORIGIN = re.compile(
    r"(?:https://(?:[^@/]*@)?|(?:ssh://)?git@)(?P<host>[\w.-]+\.\w+)[:/](?P<path>[\w./-]+?)(?:\.git)?/?"
)

_EXPLANATION = "REPOSITORY is the address of the project's repository."


def web_address(origin: str) -> str:
    """Return the https address of a Git remote without a login in it, or "" for one that is not on a web host.

    Args:
        origin: URL of the remote, such as `git@host:owner/name.git`.
    """
    found = _ORIGIN.fullmatch(origin)
    return f"https://{found['host']}/{found['path']}" if found else ""


def on_config(config: Any) -> Any:
    """Set the repository link and the version in the footer."""
    command = ["git", "config", "--get", "remote.origin.url"]
    try:
        origin = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:  # no git: a source archive
        origin = ""
    config.repo_url = web_address(origin) or None
    config.repo_name = config.repo_url and config.repo_url.rpartition("/")[2]
    config.copyright = f"Threshold {__version__} · Apache-2.0"
    return config


def on_page_markdown(markdown: str, *, config: Any, **_: object) -> str:
    """Fill in the version and, where it is known, the address to clone."""
    if config.repo_url:
        markdown = markdown.replace("git clone REPOSITORY", f"git clone {config.repo_url}.git").replace(
            _EXPLANATION, ""
        )
    return markdown.replace("{version}", __version__)
