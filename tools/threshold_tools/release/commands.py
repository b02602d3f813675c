"""What tools/sync.py and tools/push.py share: their options, and the way from files to doors."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.access.policy_file import parse_policy
from edge.core.config import MqttConfig
from edge.core.errors import ReleaseError
from edge.core.files import atomic_write
from edge.core.terminal import escape_untrusted
from edge.recognition.gallery_chunks import person_ids
from edge.recognition.gallery_file import read_info
from edge.updates.release_format import GALLERY, MODELS, POLICY, Release
from edge.vision.manifest import read_manifest, read_model
from threshold_tools.release.checks import policy_warnings
from threshold_tools.release.keys import load_keys, password
from threshold_tools.release.repository import Repository, has_models
from threshold_tools.release.site_status import reporting_doors
from threshold_tools.release.transport import publish, read_lines


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """Where a release goes.

    Attributes:
        mqtt: the broker.
        site: whose doors.
        doors: names of those that have reported there.
    """

    mqtt: MqttConfig
    site: str
    doors: frozenset[str]


def print_note(text: str) -> None:
    """A line for the operator."""
    print(text, file=sys.stderr)


def add_broker_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Where the doors are."""
    parser.add_argument("--broker", required=required, metavar="URL", help="such as mqtts://broker.local:8883")
    parser.add_argument("--site", required=required, metavar="S", help="the site of the doors, as in their door.toml")
    parser.add_argument("--username", default="", metavar="U", help="of the broker's login")
    parser.add_argument("--password-file", default="", metavar="F", help="its first line is the login's password")
    parser.add_argument("--ca-file", default="", metavar="F", help="certificate of the broker's authority")
    parser.add_argument("--cert-file", default="", metavar="F", help="our own certificate, if the broker asks for one")
    parser.add_argument("--key-file", default="", metavar="F", help="and its private key")
    parser.add_argument("--insecure", action="store_true", help="allow plain mqtt:// to another host")


def add_publishing_options(parser: argparse.ArgumentParser) -> None:
    """Where the doors are, where the keys are, and how long signatures shall hold."""
    add_broker_options(parser, required=False)
    parser.add_argument("--new-site", action="store_true", help="publish to a site of which no door has reported yet")
    parser.add_argument(
        "--keys", type=Path, action="append", default=[], metavar="DIR", help="more keys, besides those in REPO/keys"
    )
    parser.add_argument(
        "--valid-days",
        type=int,
        metavar="N",
        help="doors refuse this release afterwards, and go on with what they have "
        "(default: 90; publish again before that)",
    )


def mqtt_config(arguments: argparse.Namespace) -> MqttConfig:
    """The broker's options as a table.

    Raises:
        ReleaseError: they cannot be used.
    """
    try:
        return msgspec.convert(
            {
                "url": arguments.broker,
                "username": arguments.username,
                "password_file": arguments.password_file,
                "ca_file": arguments.ca_file,
                "cert_file": arguments.cert_file,
                "key_file": arguments.key_file,
                "insecure": arguments.insecure,
            },
            MqttConfig,
        )
    except msgspec.ValidationError as error:
        raise ReleaseError(f"--broker {arguments.broker}: is not of the form mqtt://host:port ({error})") from error


def open_repository(arguments: argparse.Namespace) -> Repository:
    """The repository with the keys at hand.

    Raises:
        ReleaseError: there is none, or a key cannot be opened.
    """
    path: Path = arguments.repo
    if not (path / "root.json").is_file():
        raise ReleaseError(f"{path}: no repository; make one with  tools/sync.py init {path}")
    return Repository(path, load_keys([path / "keys", *arguments.keys], password()))


def target_of(arguments: argparse.Namespace) -> PublishTarget | None:
    """Where the release shall go, checked before anything is changed; None without a broker.

    Raises:
        ReleaseError: the site is probably mistyped: no door of it has reported, and the repository has other sites.
        BrokerError: the broker cannot be reached.
    """
    if arguments.broker is None:
        return None
    mqtt, site = mqtt_config(arguments), arguments.site
    doors = reporting_doors(mqtt, site)
    if not doors and not arguments.new_site:
        sites = sorted(path.stem for path in (arguments.repo / "sites").glob("*.json"))
        silence = f"site '{site}': no door of this site has ever reported to {mqtt.url}"
        if sites and site not in sites:
            raise ReleaseError(
                f"{silence}, and so far this repository was published to {', '.join(sites)}; nothing was published: "
                "correct --site, or add --new-site if its doors are not running yet"
            )
        print_note(f"warning: {silence}; is the name right?")
    return PublishTarget(mqtt, site, doors)


def load_repository_files(
    repository: Repository, *, gallery: Path | None, policy: Path | None, models: Path | None, drop_policy: bool = False
) -> tuple[dict[str, bytes], str, int]:
    """The files of the next release: those given, and those of the newest one in place of what is not given.

    Returns:
        Files by name, the embedder they belong to, and how many people there are.

    Raises:
        ReleaseError: there is no gallery, or gallery and models do not belong together.
        GalleryError, ModelError, ConfigError: a file is damaged.
    """
    newest = repository.newest()
    files = {} if newest is None else {entry.name: repository.content(entry) for entry in newest.files}
    embedder, people = ("", 0) if newest is None else (newest.embedder_sha256, newest.people)
    if gallery is not None:
        info = read_info(gallery)
        embedder, people = info.embedder_sha256, info.people
        files[GALLERY] = gallery.read_bytes()
    if GALLERY not in files:
        raise ReleaseError("a first release needs a gallery: --gallery G, made by tools/enroll.py")
    if drop_policy:
        files.pop(POLICY, None)
    if policy is not None:
        parse_policy(policy)
        files[POLICY] = policy.read_bytes()
    if models is not None:
        files = {name: content for name, content in files.items() if not name.startswith(MODELS)}
        files |= _models(models)
    _check_match(repository, embedder, models, newest)
    return files, embedder, people


def sign_release(
    repository: Repository, release: Release, target: PublishTarget | None, arguments: argparse.Namespace
) -> str:
    """As `publish_release`, with the options of a command line and a warning about every doubtful rule."""
    for doubt in _policy_warnings(repository, release, target):
        print_note(f"warning: {escape_untrusted(doubt)}")
    mqtt, site = (target.mqtt, target.site) if target else (None, "")
    return publish_release(repository, release, mqtt, site, arguments.valid_days)


def _policy_warnings(repository: Repository, release: Release, target: PublishTarget | None) -> list[str]:
    policy, gallery = release.file(POLICY), release.file(GALLERY)
    if policy is None or gallery is None:
        return []
    with tempfile.NamedTemporaryFile(suffix=".toml") as copy:
        copy.write(repository.content(policy))
        copy.flush()
        rules = parse_policy(Path(copy.name))
    return list(policy_warnings(rules, person_ids(repository.content(gallery)), target.doors if target else ()))


def publish_release(
    repository: Repository, release: Release, mqtt: MqttConfig | None, site: str, valid_days: int | None = None
) -> str:
    """Sign a release, and publish it if a broker is given; returns what to tell the operator."""
    repository.sign(release, valid_days)
    files = repository.files()
    what = f"release {release.release}: {release.people} people, {len(release.files)} files"
    if mqtt is None:
        return f"{what}, signed; not published: give --broker and --site, or use  tools/sync.py export"
    known = repository.path / "sites" / f"{site}.json"
    known.parent.mkdir(exist_ok=True)
    names = [name for name, _ in files]
    before = read_lines(known)
    atomic_write(known, msgspec.json.encode(sorted({*before, *names})))  # first, so that nothing is ever forgotten
    count = publish(mqtt, site, files, sorted(set(before) - set(names)))
    atomic_write(known, msgspec.json.encode(names))
    return f"{what}, published to site {site} ({count / 1024:.0f} KiB on the broker)"


def _models(folder: Path) -> Mapping[str, bytes]:
    """Manifest and verified model files."""
    manifest = read_manifest(folder)
    files = {f"{MODELS}manifest.json": (folder / "manifest.json").read_bytes()}
    for name in manifest.models:
        model, content = read_model(folder, name)
        files[f"{MODELS}{model.file}"] = content
    return files


def _check_match(repository: Repository, embedder: str, models: Path | None, newest: Release | None) -> None:
    if models is not None:
        of_models = read_manifest(models).models["embedder"].embedding_space_sha256
    elif newest is not None and has_models(newest):
        of_models = newest.embedder_sha256
    else:
        return
    if of_models != embedder:
        raise ReleaseError(
            f"gallery and models do not belong together (gallery of embedder {embedder[:12]}, models with "
            f"{of_models[:12]}): make the gallery anew with these models by tools/enroll.py, and push both at once: "
            f"tools/push.py {repository.path} --models FOLDER --gallery G"
        )
