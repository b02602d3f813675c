"""Sign and publish releases for all doors of a site: the gallery and the access rules.

  threshold sync init REPO                     once: makes keys and an empty repository
  edge release trust-root REPO/root.json       once at each door
  threshold sync publish REPO --gallery FILE --policy FILE --broker URL --site SITE
  threshold sync status --broker URL --site SITE

The password of the keys is read from THRESHOLD_KEY_PASSWORD, or asked for. Everyone with REPO/keys and the password
can admit people. Keep the root keys (root-*.pem) on a USB stick in a safe: only revoke-key and rotate need them, with
--keys FOLDER. A compromised broker can withhold releases; it cannot forge, modify or replay one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.core.cli_support import counted, escape_untrusted
from edge.core.errors import ReleaseError
from edge.core.files import make_private_folder
from edge.recognition.gallery_chunks import person_ids
from edge.updates.release_format import GALLERY, Release
from threshold_tools.release.keys import free_key_path, make_key, password
from threshold_tools.release.options import (
    PublishTarget,
    add_broker_options,
    add_publishing_options,
    mqtt_config,
    open_repository,
    print_note,
    print_warning,
    publish_target,
)
from threshold_tools.release.publish import add_release, publish_release, release_warnings
from threshold_tools.release.repository import ROLES, Repository
from threshold_tools.release.site_status import forget_door
from threshold_tools.release.status_command import show_status
from threshold_tools.release.transport import export

_PUSH = """Sign and publish models to all doors of a site, with the gallery that was made with them.

The gallery of a release always matches its embedder. A new embedder needs a new gallery: run  threshold enroll  with
these models first, and pass the gallery here. A new detector or new landmarks need no new gallery.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line of `threshold sync` and act; returns the exit code."""
    return _run(_parser(), words)


def push(words: Sequence[str] | None = None) -> int:
    """Parse the command line of `threshold push`, sign and publish models; returns the exit code."""
    parser = argparse.ArgumentParser(description=_PUSH, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(act=_publish, no_policy=False)
    parser.add_argument("repo", type=Path, metavar="REPO", help="repository made by  threshold sync init")
    parser.add_argument(
        "--models", type=Path, required=True, metavar="FOLDER", help="folder with models and manifest.json"
    )
    parser.add_argument(
        "--gallery", type=Path, metavar="FILE", help="gallery made with these models (default: the newest one)"
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="access rules (default: the newest ones)")
    add_publishing_options(parser)
    return _run(parser, words)


def _run(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> int:
    arguments = parser.parse_args(words)
    if hasattr(arguments, "broker") and (arguments.broker is None) != (arguments.site is None):
        parser.error("--broker and --site need each other")
    code: int | None = arguments.act(arguments)
    return code or 0


def _init(arguments: argparse.Namespace) -> None:
    path: Path = arguments.repo
    signers = arguments.signers or arguments.threshold
    if (path / "root.json").exists():
        raise ReleaseError(f"{path}: is already a repository; nothing was changed")
    if signers < arguments.threshold:
        raise ReleaseError(
            f"--threshold {arguments.threshold} needs at least {arguments.threshold} --signers, not {signers}"
        )
    secret = password(new=True)
    make_private_folder(path)
    counts = {role: signers if role in ("root", "targets") else 1 for role in ROLES}
    keys = {
        role: [make_key(path / "keys" / f"{role}-{number}.pem", secret) for number in range(1, count + 1)]
        for role, count in counts.items()
    }
    Repository.create(path, keys, arguments.threshold)
    trust = "edge release trust-root root.json --config door.toml"
    print_note(f"{path}: made. Copy {path}/root.json to each door, and run there:  {trust}")
    print_note(f"Move {path}/keys/root-*.pem to a safe place, and keep a copy: no key can be replaced without them.")


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Repository, PublishTarget | None]]:
    """The locked repository, and the target of the release."""
    repository = open_repository(arguments)
    target = publish_target(arguments)
    with repository.locked():
        yield repository, target


def _sign_and_publish(
    repository: Repository, release: Release, target: PublishTarget | None, arguments: argparse.Namespace
) -> None:
    for warning in release_warnings(repository, release, target.doors if target else ()):
        print_warning(warning)
    mqtt, site = (target.mqtt, target.site) if target else (None, "")
    print_note(publish_release(repository, release, mqtt, site, arguments.valid_days))


def _publish(arguments: argparse.Namespace) -> None:
    with _opened(arguments) as (repository, target):
        release = add_release(
            repository,
            gallery=arguments.gallery,
            policy=arguments.policy,
            models=arguments.models,
            drop_policy=arguments.no_policy,
        )
        _sign_and_publish(repository, release, target, arguments)


def _forget(arguments: argparse.Namespace) -> None:
    forget_door(mqtt_config(arguments), arguments.site, arguments.door)
    print_note(f"{escape_untrusted(arguments.door)}: its reports are deleted from the broker of site {arguments.site}")


def _rollback(arguments: argparse.Namespace) -> None:
    with _opened(arguments) as (repository, target):
        old, newest = repository.release(arguments.to), repository.newest()
        assert newest is not None
        files = {entry.name: repository.content(entry) for entry in old.files}
        current = next(repository.content(entry) for entry in newest.files if entry.name == GALLERY)
        back = sorted(person_ids(files[GALLERY]) - person_ids(current))
        if back and not arguments.bring_back:
            raise ReleaseError(
                f"release {old.release} would bring back {counted(len(back), 'person', 'people')} removed since: "
                f"{', '.join(back[:10])}{' …' if len(back) > 10 else ''}; "
                "publish a gallery without them, or add --bring-back"
            )
        release = repository.add(files, old.embedder_sha256, old.people)
        print_note(f"the content of release {old.release} becomes release {release.release}")
        _sign_and_publish(repository, release, target, arguments)


def _rotate(arguments: argparse.Namespace) -> None:
    with _opened(arguments) as (repository, target):
        old = [(arguments.role, keyid) for keyid in repository.root.signed.roles[arguments.role].keyids]
        _replace_keys(repository, old, target, arguments)


def _revoke_key(arguments: argparse.Namespace) -> None:
    with _opened(arguments) as (repository, target):
        found = [
            (role, keyid)
            for role in ROLES
            for keyid in repository.root.signed.roles[role].keyids
            if keyid.startswith(arguments.key)
        ]
        if len({keyid for _, keyid in found}) != 1:
            count = "more than one" if found else "no"
            raise ReleaseError(f"{arguments.key}: {count} key; see  threshold sync keys")
        _replace_keys(repository, found, target, arguments)


def _replace_keys(
    repository: Repository,
    old: Sequence[tuple[str, str]],
    target: PublishTarget | None,
    arguments: argparse.Namespace,
) -> None:
    """Replace keys, given as role and key id, and sign the newest release again."""
    for role, keyid in old:
        path = free_key_path(repository.path / "keys", role)
        new = make_key(path, password())
        try:
            repository.replace_key(role, keyid, new)
        except BaseException:
            path.unlink()
            raise
        print_note(f"{role}: key {keyid[:12]} replaced by {new.public_key.keyid[:12]} ({path.name})")
    newest = repository.newest()
    if newest is None:
        print_note("no release yet: run  edge release trust-root  with the new root.json at each door")
    else:
        _sign_and_publish(repository, newest, target, arguments)


def _list_keys(arguments: argparse.Namespace) -> None:
    root = Repository(arguments.repo, {}).root.signed
    print(f"root version {root.version}, valid until {root.expires:%Y-%m-%d}")
    for role in ROLES:
        print(f"{role}: {root.roles[role].threshold} of")
        for keyid in root.roles[role].keyids:
            print(f"  {keyid}")


def _export(arguments: argparse.Namespace) -> None:
    repository = Repository(arguments.repo, {})
    with repository.locked():
        export(arguments.folder, repository.files(), shared=arguments.shared)
    print_note(f"{arguments.folder}: written. Set [release] source of the doors to this folder, or to its web address")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, act: Callable[[argparse.Namespace], int | None], purpose: str, *, repo: bool = True
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=purpose, description=f"{purpose[:1].upper()}{purpose[1:]}.")
        made.set_defaults(act=act)
        if repo:
            made.add_argument("repo", type=Path, metavar="REPO", help="folder of the repository")
        return made

    made = command("init", _init, "make keys and an empty repository")
    made.add_argument(
        "--threshold", type=int, default=1, metavar="COUNT", help="signatures that root and targets need (default: 1)"
    )
    made.add_argument(
        "--signers",
        type=int,
        default=0,
        metavar="COUNT",
        help="keys to make for root and for targets (default: --threshold)",
    )

    made = command(
        "publish", _publish, "sign and publish gallery and access rules; a file that is not given stays as it is"
    )
    made.add_argument("--gallery", type=Path, metavar="FILE", help="gallery made by  threshold enroll")
    made.add_argument("--policy", type=Path, metavar="FILE", help="access rules")
    made.add_argument(
        "--no-policy", action="store_true", help="remove the rules: the [access] of each door.toml applies"
    )
    made.set_defaults(models=None)
    add_publishing_options(made)

    about = "show the release of each door; exit code 1 unless all doors run the newest"
    made = command("status", show_status, about, repo=False)
    add_broker_options(made, required=True)
    made.add_argument("--json", action="store_true", help="a JSON array of {door, release, applied_at, ok, reason, …}")
    made.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="wait this long for all doors to be up to date"
    )
    made.add_argument(
        "--expect",
        nargs="+",
        default=[],
        metavar="DOOR",
        help="doors that must be up to date, even if they have never reported",
    )
    made.add_argument(
        "--door-keys",
        type=Path,
        metavar="FOLDER",
        help="verify signed reports with the DOOR.signing.pub in this folder",
    )

    made = command("forget", _forget, "delete the reports of a retired door from the broker", repo=False)
    made.add_argument("door", metavar="DOOR", help="name of the door in its door.toml; it must be stopped")
    add_broker_options(made, required=True)

    made = command("rollback", _rollback, "publish the content of an older release as a new one")
    made.add_argument("--to", type=int, required=True, metavar="NUMBER", help="number of the release")
    made.add_argument("--bring-back", action="store_true", help="accept that people who were removed since come back")
    add_publishing_options(made)

    made = command("rotate", _rotate, "replace all keys of a role")
    made.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    add_publishing_options(made)

    made = command("revoke-key", _revoke_key, "replace a key that may have been stolen")
    made.add_argument("key", metavar="KEYID", help="id of the key, or its first digits; see  threshold sync keys")
    add_publishing_options(made)

    command("keys", _list_keys, "list the keys that the doors trust")
    made = command("export", _export, "write the files for the doors into a folder, for a USB stick or a web server")
    made.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write into")
    made.add_argument("--shared", action="store_true", help="readable by other accounts, such as a web server")
    return parser
