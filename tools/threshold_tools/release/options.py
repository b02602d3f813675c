"""Command-line options of `threshold sync` and `threshold push`, and what they stand for."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.core.config import MqttConfig
from edge.core.errors import ReleaseError
from threshold_tools.release.keys import load_keys, password
from threshold_tools.release.repository import Repository
from threshold_tools.release.site_status import reporting_doors


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """Where a release goes.

    Attributes:
        mqtt: broker.
        site: site of the doors.
        doors: names of the doors that have reported there.
    """

    mqtt: MqttConfig
    site: str
    doors: frozenset[str]


def print_note(text: str) -> None:
    """Print a line for the operator to standard error."""
    print(text, file=sys.stderr)


def add_broker_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the options that say where the doors are."""
    parser.add_argument("--broker", required=required, metavar="URL", help="such as mqtts://broker.local:8883")
    parser.add_argument("--site", required=required, metavar="S", help="the site of the doors, as in their door.toml")
    parser.add_argument("--username", default="", metavar="U", help="of the broker's login")
    parser.add_argument("--password-file", default="", metavar="F", help="its first line is the login's password")
    parser.add_argument("--ca-file", default="", metavar="F", help="certificate of the broker's authority")
    parser.add_argument("--cert-file", default="", metavar="F", help="our own certificate, if the broker asks for one")
    parser.add_argument("--key-file", default="", metavar="F", help="and its private key")
    parser.add_argument("--insecure", action="store_true", help="allow plain mqtt:// to another host")


def add_publishing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the doors and the keys are, and how long signatures hold."""
    add_broker_options(parser, required=False)
    parser.add_argument("--new-site", action="store_true", help="publish to a site of which no door has reported yet")
    parser.add_argument(
        "--keys", type=Path, action="append", default=[], metavar="DIR", help="more keys, besides those in REPO/keys"
    )
    parser.add_argument(
        "--valid-days",
        type=int,
        metavar="N",
        help="doors refuse this release afterwards and keep the one they have (default: 90; publish again before that)",
    )


def mqtt_config(arguments: argparse.Namespace) -> MqttConfig:
    """The broker's options as a configuration.

    Raises:
        ReleaseError: they cannot be used.
    """
    names = ("username", "password_file", "ca_file", "cert_file", "key_file", "insecure")
    try:
        return msgspec.convert(
            {"url": arguments.broker, **{name: getattr(arguments, name) for name in names}}, MqttConfig
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
        raise ReleaseError(f"{path}: no repository; make one with  threshold sync init {path}")
    return Repository(path, load_keys([path / "keys", *arguments.keys], password()))


def publish_target(arguments: argparse.Namespace) -> PublishTarget | None:
    """Where the release goes, checked before anything is changed; None without a broker.

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
