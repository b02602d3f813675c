"""Push models to all doors of a site, together with the gallery that belongs to them.

The embedder and the gallery of a release always match. After a new embedder every vector has to be made anew: run
tools/enroll.py with these models first, and give its gallery here. Detector or landmarks alone need no new gallery.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from threshold_tools.release.commands import (
    add_publishing_options,
    load_repository_files,
    open_repository,
    print_note,
    sign_release,
    target_of,
)


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line, sign, publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo", type=Path, metavar="REPO", help="folder of the repository, made by tools/sync.py init")
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER", help="models with their manifest.json")
    parser.add_argument("--gallery", type=Path, metavar="G", help="made with these models (default: the newest one)")
    parser.add_argument("--policy", type=Path, metavar="P.toml", help="access rules (default: the newest ones)")
    add_publishing_options(parser)
    arguments = parser.parse_args(words)
    if (arguments.broker is None) != (arguments.site is None):
        parser.error("--broker and --site go together")
    repository = open_repository(arguments)
    target = target_of(arguments)
    with repository.locked():
        files, embedder, people = load_repository_files(
            repository, gallery=arguments.gallery, policy=arguments.policy, models=arguments.models
        )
        release = repository.add(files, embedder, people)
        print_note(sign_release(repository, release, target, arguments))
    return 0
