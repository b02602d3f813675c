"""Signed releases for all doors of a site: who is enrolled, and by which rules they may pass.

  threshold sync init REPO                once: keys and an empty repository
  edge release trust-root REPO/root.json --config …    once at every door
  threshold sync publish REPO --gallery G --policy P.toml --broker URL --site S
  threshold sync status --broker URL --site S

The keys' password comes from THRESHOLD_KEY_PASSWORD, or is asked for. Whoever has REPO/keys and the password decides
who may pass: keep root's keys (root-*.pem) on a stick in a safe, not here; they are needed only for revoke-key and
rotate, where --keys names the stick's folder. A compromised broker can withhold releases; it can neither make nor alter
nor bring back one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.errors import ReleaseError
from edge.core.files import make_private_folder
from edge.core.terminal import escape_untrusted
from edge.recognition.gallery_chunks import person_ids
from edge.updates.release_format import GALLERY, Release
from threshold_tools.release.commands import (
    PublishTarget,
    add_broker_options,
    add_publishing_options,
    load_repository_files,
    mqtt_config,
    open_repository,
    print_note,
    sign_release,
    target_of,
)
from threshold_tools.release.keys import make_key, password
from threshold_tools.release.repository import ROLES, Repository
from threshold_tools.release.signatures import read_keys
from threshold_tools.release.site_status import SiteStatus, forget_door, status
from threshold_tools.release.transport import export


def init(arguments: argparse.Namespace) -> int:
    """Make keys and an empty repository."""
    path: Path = arguments.repo
    if (path / "root.json").exists():
        raise ReleaseError(f"{path}: is a repository already; nothing was changed")
    if arguments.signers < arguments.threshold:
        raise ReleaseError(f"--threshold {arguments.threshold} needs at least as many --signers")
    secret = password(new=True)
    make_private_folder(path)
    several = {"root", "targets"}
    keys = {
        role: [
            make_key(path / "keys", f"{role}-{number}", secret)
            for number in range(1, (arguments.signers if role in several else 1) + 1)
        ]
        for role in ROLES
    }
    Repository.create(path, keys, arguments.threshold)
    print_note(
        f"{path}: made. At every door, with a copy of {path}/root.json:  "
        "edge release trust-root root.json --config door.toml"
    )
    print_note(
        f"Now move {path}/keys/root-*.pem to a safe place, with a copy elsewhere: without them no key can be replaced."
    )
    return 0


def do_publish(arguments: argparse.Namespace) -> int:
    """Sign and publish a gallery, rules, or both; without either, renew the signatures."""
    repository = open_repository(arguments)
    target = target_of(arguments)
    with repository.locked():
        files, embedder, people = load_repository_files(
            repository,
            gallery=arguments.gallery,
            policy=arguments.policy,
            models=None,
            drop_policy=arguments.no_policy,
        )
        release = repository.add(files, embedder, people)
        print_note(sign_release(repository, release, target, arguments))
    return 0


def do_status(arguments: argparse.Namespace) -> int:
    """Show, door by door, which release runs; 1 unless every door that is known runs the newest one."""
    keys = read_keys(arguments.door_keys) if arguments.door_keys else None
    site = status(mqtt_config(arguments), arguments.site, None, arguments.wait, arguments.expect, keys)
    if arguments.json:
        print(escape_untrusted(msgspec.json.encode(site.doors).decode(), None))
    else:
        _show(site, arguments.site)
    if not site.reporting:
        print_note(
            f"no door of site '{arguments.site}' has ever reported to {arguments.broker}; check --site and --broker"
        )
    return 0 if site.complete else 1


def _show(site: SiteStatus, name: str) -> None:
    print(f"site {name}: newest release {site.newest if site.newest is not None else 'unknown'}")
    for door in site.doors:
        away = "" if door.online is not False else " (offline)"
        proof = f" (report {door.signature})" if door.signature else ""
        number = "-" if door.release is None else str(door.release)
        mark = "ok  " if door.ok else "WAIT"
        when, reason = door.applied_at or "-", escape_untrusted(door.reason)
        print(f"{mark}  {escape_untrusted(door.door):20} {number:>6}  {when:24}  {reason}{proof}{away}")
    missing = [escape_untrusted(door.door) for door in site.doors if not door.ok]
    print(f"{len(site.doors)} doors known, {site.reporting} reporting, {len(site.doors) - len(missing)} up to date")
    if missing:
        print(f"not there yet: {', '.join(missing)}")


def do_forget(arguments: argparse.Namespace) -> int:
    """Clear what the broker keeps of a door that is gone."""
    forget_door(mqtt_config(arguments), arguments.site, arguments.door)
    print_note(
        f"{escape_untrusted(arguments.door)}: the broker of site {arguments.site} keeps nothing of this door any more"
    )
    return 0


def rollback(arguments: argparse.Namespace) -> int:
    """Publish the content of an older release as a new one."""
    repository = open_repository(arguments)
    target = target_of(arguments)
    with repository.locked():
        old, newest = repository.release(arguments.to), repository.newest()
        assert newest is not None
        files = {entry.name: repository.content(entry) for entry in old.files}
        back = sorted(person_ids(files[GALLERY]) - person_ids(_gallery(repository, newest)))
        if back and not arguments.bring_back:
            raise ReleaseError(
                f"release {old.release} would bring back {len(back)} people removed since: {', '.join(back[:10])}"
                f"{' …' if len(back) > 10 else ''}; publish a gallery without them, or say --bring-back"
            )
        release = repository.add(files, old.embedder_sha256, old.people)
        print_note(f"the content of release {old.release} as a new one")
        print_note(sign_release(repository, release, target, arguments))
    return 0


def rotate(arguments: argparse.Namespace) -> int:
    """Put a new key in the place of every key of a role."""
    repository = open_repository(arguments)
    target = target_of(arguments)
    with repository.locked():
        for keyid in list(repository.root.signed.roles[arguments.role].keyids):
            _exchange(repository, arguments.role, keyid)
        return _renew(repository, target, arguments)


def revoke_key(arguments: argparse.Namespace) -> int:
    """Put a new key in the place of one that may be in wrong hands; the doors trust the old one no longer."""
    repository = open_repository(arguments)
    target = target_of(arguments)
    with repository.locked():
        found = [
            (role, keyid)
            for role in ROLES
            for keyid in repository.root.signed.roles[role].keyids
            if keyid.startswith(arguments.key)
        ]
        if len({keyid for _, keyid in found}) != 1:
            count = "more than one" if found else "no"
            raise ReleaseError(f"{arguments.key}: {count} key; see  tools/sync.py keys")
        for role, keyid in found:
            _exchange(repository, role, keyid)
        return _renew(repository, target, arguments)


def do_keys(arguments: argparse.Namespace) -> int:
    """List the keys that the repository's doors trust."""
    repository = Repository(arguments.repo, {})
    root = repository.root.signed
    print(f"root version {root.version}, valid until {root.expires:%Y-%m-%d}")
    for role in ROLES:
        print(f"{role}: {root.roles[role].threshold} of")
        for keyid in root.roles[role].keyids:
            print(f"  {keyid}")
    return 0


def do_export(arguments: argparse.Namespace) -> int:
    """Write the repository's files into a folder, for a USB stick or a web server."""
    repository = Repository(arguments.repo, {})
    with repository.locked():
        export(arguments.folder, repository.files(), shared=arguments.shared)
    print_note(f"{arguments.folder}: at the doors, [release] source = this folder, or the address where it is served")
    return 0


def _exchange(repository: Repository, role: str, keyid: str) -> None:
    secret = password()
    folder = repository.path / "keys"
    number = 1
    while (folder / f"{role}-{number}.pem").exists():
        number += 1
    new = make_key(folder, f"{role}-{number}", secret)
    try:
        repository.replace_key(role, keyid, new)
    except BaseException:
        (folder / f"{role}-{number}.pem").unlink()
        raise
    print_note(f"{role}: {keyid[:12]} is trusted no longer, {new.public_key.keyid[:12]} ({role}-{number}.pem) is")


def _renew(repository: Repository, target: PublishTarget | None, arguments: argparse.Namespace) -> int:
    """Sign the newest release with the keys that are trusted now."""
    newest = repository.newest()
    if newest is None:
        print_note("nothing has been released yet: give the new root.json to the doors")
    else:
        print_note(sign_release(repository, newest, target, arguments))
    return 0


def _gallery(repository: Repository, release: Release) -> bytes:
    entry = release.file(GALLERY)
    assert entry is not None
    return repository.content(entry)


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: object, purpose: str, *, repo: bool = True) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=purpose, description=f"{purpose[:1].upper()}{purpose[1:]}.")
        made.set_defaults(command=function)
        if repo:
            made.add_argument("repo", type=Path, metavar="REPO", help="folder of the repository")
        return made

    made = command("init", init, "make keys and an empty repository")
    made.add_argument("--threshold", type=int, default=1, metavar="N", help="signatures that root and targets want")
    made.add_argument("--signers", type=int, default=0, metavar="M", help="keys to make for each (default: N)")

    made = command("publish", do_publish, "sign and publish gallery and rules; what is not given stays as it was")
    made.add_argument("--gallery", type=Path, metavar="G", help="made by tools/enroll.py")
    made.add_argument("--policy", type=Path, metavar="P.toml", help="access rules")
    made.add_argument("--no-policy", action="store_true", help="the doors' own [access] rules hold again")
    add_publishing_options(made)

    made = command(
        "status",
        do_status,
        "show which release each door runs; exit code 1 unless all run the newest",
        repo=False,
    )
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

    made = command("forget", do_forget, "clear what the broker keeps of a door that is gone", repo=False)
    made.add_argument("door", metavar="DOOR", help="its name in door.toml; it must be stopped")
    add_broker_options(made, required=True)

    made = command("rollback", rollback, "publish the content of an older release as a new one")
    made.add_argument("--to", type=int, required=True, metavar="N", help="number of the release")
    made.add_argument("--bring-back", action="store_true", help="even if people removed since come back with it")
    add_publishing_options(made)

    made = command("rotate", rotate, "put new keys in the place of a role's keys")
    made.add_argument("role", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    add_publishing_options(made)

    made = command("revoke-key", revoke_key, "put a new key in the place of one that may be in wrong hands")
    made.add_argument("key", metavar="KEYID", help="or its first digits, as  tools/sync.py keys  shows them")
    add_publishing_options(made)

    command("keys", do_keys, "list the keys that the doors trust")
    made = command("export", do_export, "write the repository's files into a folder, for a USB stick or a web server")
    made.add_argument("folder", type=Path, metavar="FOLDER")
    made.add_argument("--shared", action="store_true", help="readable by other accounts, such as that of a web server")

    arguments = parser.parse_args(words)
    if getattr(arguments, "signers", None) == 0:
        arguments.signers = arguments.threshold
    if hasattr(arguments, "broker") and (arguments.broker is None) != (arguments.site is None):
        parser.error("--broker and --site go together")
    code: int = arguments.command(arguments)
    return code
