"""Signed releases for all doors of a site: who is enrolled, and by which rules they may pass.

  threshold sync init REPO                once: keys and an empty repository
  edge release trust-root REPO/root.json --config …    once at every door
  threshold sync publish REPO --gallery G --policy P.toml --broker URL --site S
  threshold sync status --broker URL --site S

The keys' password comes from THRESHOLD_KEY_PASSWORD, or is asked for. Whoever has REPO/keys and the password decides
who may pass: keep root's keys (root-*.pem) on a stick in a safe, not here; they are needed only for revoke-key and
rotate, where --keys names the stick's folder. A compromised broker can withhold releases; it cannot forge, modify or
replay one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge.core.cli_support import escape_untrusted
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
    publish_target,
)
from threshold_tools.release.publish import add_release, publish_release, release_warnings
from threshold_tools.release.repository import ROLES, Repository
from threshold_tools.release.signatures import read_keys
from threshold_tools.release.site_status import SiteStatus, forget_door, status
from threshold_tools.release.transport import export

_PUSH = """Sign and publish models to all doors of a site, together with the gallery that belongs to them.

The embedder and the gallery of a release always match. A new embedder needs a new gallery: run  threshold enroll  with
these models first, and give its gallery here. A new detector or new landmarks alone need no new gallery.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line of `threshold sync` and act; returns the exit code."""
    return _run(_parser(), words)


def push(words: Sequence[str] | None = None) -> int:
    """Parse the command line of `threshold push`, sign and publish models; returns the exit code."""
    parser = argparse.ArgumentParser(description=_PUSH, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(act=_publish, no_policy=False)
    parser.add_argument("repo", type=Path, metavar="REPO", help="folder of the repository; see  threshold sync init")
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER", help="models with their manifest.json")
    parser.add_argument("--gallery", type=Path, metavar="G", help="made with these models (default: the newest one)")
    parser.add_argument("--policy", type=Path, metavar="P.toml", help="access rules (default: the newest ones)")
    add_publishing_options(parser)
    return _run(parser, words)


def _run(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> int:
    arguments = parser.parse_args(words)
    if hasattr(arguments, "broker") and (arguments.broker is None) != (arguments.site is None):
        parser.error("--broker and --site go together")
    code: int | None = arguments.act(arguments)
    return code or 0


def _init(arguments: argparse.Namespace) -> None:
    path: Path = arguments.repo
    signers = arguments.signers or arguments.threshold
    if (path / "root.json").exists():
        raise ReleaseError(f"{path}: is a repository already; nothing was changed")
    if signers < arguments.threshold:
        raise ReleaseError(f"--threshold {arguments.threshold} needs at least as many --signers")
    secret = password(new=True)
    make_private_folder(path)
    counts = {role: signers if role in ("root", "targets") else 1 for role in ROLES}
    keys = {
        role: [make_key(path / "keys" / f"{role}-{number}.pem", secret) for number in range(1, count + 1)]
        for role, count in counts.items()
    }
    Repository.create(path, keys, arguments.threshold)
    trust = "edge release trust-root root.json --config door.toml"
    print_note(f"{path}: made. At every door, with a copy of {path}/root.json:  {trust}")
    print_note(
        f"Now move {path}/keys/root-*.pem to a safe place, with a copy elsewhere: without them no key can be replaced."
    )


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Repository, PublishTarget | None]]:
    """The locked repository, and where its release goes."""
    repository = open_repository(arguments)
    target = publish_target(arguments)
    with repository.locked():
        yield repository, target


def _sign_and_publish(
    repository: Repository, release: Release, target: PublishTarget | None, arguments: argparse.Namespace
) -> None:
    for warning in release_warnings(repository, release, target.doors if target else ()):
        print_note(f"warning: {escape_untrusted(warning)}")
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


def _status(arguments: argparse.Namespace) -> int:
    keys = read_keys(arguments.door_keys) if arguments.door_keys else None
    site = status(mqtt_config(arguments), arguments.site, None, arguments.wait, arguments.expect, keys)
    if arguments.json:
        print(escape_untrusted(msgspec.json.encode(site.doors).decode(), None))
    else:
        _print_status(site, arguments.site)
    if not site.reporting:
        print_note(
            f"no door of site '{arguments.site}' has ever reported to {arguments.broker}; check --site and --broker"
        )
    return 0 if site.complete else 1


def _print_status(site: SiteStatus, name: str) -> None:
    print(f"site {name}: newest release {site.newest if site.newest is not None else 'unknown'}")
    for door in site.doors:
        mark = "ok  " if door.ok else "WAIT"
        number = "-" if door.release is None else str(door.release)
        reason = escape_untrusted(door.reason) + (f" (report {door.signature})" if door.signature else "")
        away = " (offline)" if door.online is False else ""
        print(f"{mark}  {escape_untrusted(door.door):20} {number:>6}  {door.applied_at or '-':24}  {reason}{away}")
    missing = [escape_untrusted(door.door) for door in site.doors if not door.ok]
    print(f"{len(site.doors)} doors known, {site.reporting} reporting, {len(site.doors) - len(missing)} up to date")
    if missing:
        print(f"not there yet: {', '.join(missing)}")


def _forget(arguments: argparse.Namespace) -> None:
    forget_door(mqtt_config(arguments), arguments.site, arguments.door)
    print_note(
        f"{escape_untrusted(arguments.door)}: the broker of site {arguments.site} keeps nothing of this door any more"
    )


def _rollback(arguments: argparse.Namespace) -> None:
    with _opened(arguments) as (repository, target):
        old, newest = repository.release(arguments.to), repository.newest()
        assert newest is not None
        files = {entry.name: repository.content(entry) for entry in old.files}
        current = next(repository.content(entry) for entry in newest.files if entry.name == GALLERY)
        back = sorted(person_ids(files[GALLERY]) - person_ids(current))
        if back and not arguments.bring_back:
            raise ReleaseError(
                f"release {old.release} would bring back {len(back)} people removed since: {', '.join(back[:10])}"
                f"{' …' if len(back) > 10 else ''}; publish a gallery without them, or use --bring-back"
            )
        release = repository.add(files, old.embedder_sha256, old.people)
        print_note(f"the content of release {old.release} as a new one")
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
    """Replace keys, given as role and key id, by new ones, and sign the newest release again."""
    for role, keyid in old:
        path = free_key_path(repository.path / "keys", role)
        new = make_key(path, password())
        try:
            repository.replace_key(role, keyid, new)
        except BaseException:
            path.unlink()
            raise
        print_note(f"{role}: {keyid[:12]} is trusted no longer, {new.public_key.keyid[:12]} ({path.name}) is")
    newest = repository.newest()
    if newest is None:
        print_note("nothing has been released yet: give the new root.json to the doors")
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
    print_note(f"{arguments.folder}: at the doors, [release] source = this folder, or the address where it is served")


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
    made.add_argument("--threshold", type=int, default=1, metavar="N", help="signatures that root and targets need")
    made.add_argument("--signers", type=int, default=0, metavar="M", help="keys to make for each (default: N)")

    made = command("publish", _publish, "sign and publish gallery and rules; what is not given stays as it was")
    made.add_argument("--gallery", type=Path, metavar="G", help="made by  threshold enroll")
    made.add_argument("--policy", type=Path, metavar="P.toml", help="access rules")
    made.add_argument("--no-policy", action="store_true", help="the doors' own [access] rules apply again")
    made.set_defaults(models=None)
    add_publishing_options(made)

    about = "show which release each door runs; exit code 1 unless all run the newest"
    made = command("status", _status, about, repo=False)
    add_broker_options(made, required=True)
    made.add_argument("--json", action="store_true", help="a JSON array of {door, release, applied_at, ok, reason, …}")
    made.add_argument("--wait", type=float, default=0.0, metavar="S", help="wait this long until all are there")
    made.add_argument(
        "--expect", nargs="+", default=[], metavar="DOOR", help="doors that must be there, even if they never reported"
    )
    made.add_argument(
        "--door-keys",
        type=Path,
        metavar="DIR",
        help="verify the reports of doors that sign: folder with their DOOR.signing.pub",
    )

    made = command("forget", _forget, "clear what the broker keeps of a door that is gone", repo=False)
    made.add_argument("door", metavar="DOOR", help="its name in door.toml; it must be stopped")
    add_broker_options(made, required=True)

    made = command("rollback", _rollback, "publish the content of an older release as a new one")
    made.add_argument("--to", type=int, required=True, metavar="N", help="number of the release")
    made.add_argument("--bring-back", action="store_true", help="even if people removed since come back with it")
    add_publishing_options(made)

    made = command("rotate", _rotate, "put new keys in the place of a role's keys")
    made.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    add_publishing_options(made)

    made = command("revoke-key", _revoke_key, "put a new key in the place of one that may be in wrong hands")
    made.add_argument("key", metavar="KEYID", help="or its first digits, as  threshold sync keys  shows them")
    add_publishing_options(made)

    command("keys", _list_keys, "list the keys that the doors trust")
    made = command("export", _export, "write the repository's files into a folder, for a USB stick or a web server")
    made.add_argument("folder", type=Path, metavar="FOLDER")
    made.add_argument("--shared", action="store_true", help="readable by other accounts, such as that of a web server")
    return parser
