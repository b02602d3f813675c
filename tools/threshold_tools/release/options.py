"""Command-line options of `threshold sync` and `threshold push`, and the objects they describe."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.core.cli_support import escape_untrusted
from edge.core.config import MqttConfig
from edge.core.errors import ReleaseError
from edge.core.terminal import Style, Terminal
from threshold_tools.release.keys import load_keys, password
from threshold_tools.release.repository import Repository
from threshold_tools.release.site_status import reporting_doors


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """Target of a release.

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


def print_warning(text: str) -> None:
    """Print a warning for the operator to standard error."""
    terminal = Terminal(sys.stderr)
    terminal.print(f"{terminal.styled('warning:', Style.WARNING)} {escape_untrusted(text)}")


def add_broker_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the options of the broker and the site."""
    parser.add_argument(
        "--broker", required=required, metavar="URL", help="MQTT broker, such as mqtts://broker.local:8883"
    )
    parser.add_argument("--site", required=required, metavar="SITE", help="site of the doors, as in their door.toml")
    parser.add_argument("--username", default="", metavar="NAME", help="user name at the broker")
    parser.add_argument("--password-file", default="", metavar="FILE", help="file with the password in its first line")
    parser.add_argument("--ca-file", default="", metavar="FILE", help="CA certificate of the broker")
    parser.add_argument(
        "--cert-file", default="", metavar="FILE", help="client certificate, if the broker requires one"
    )
    parser.add_argument("--key-file", default="", metavar="FILE", help="private key of the client certificate")
    parser.add_argument("--insecure", action="store_true", help="allow unencrypted mqtt:// to another host")


def add_publishing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of broker, site, keys and validity."""
    add_broker_options(parser, required=False)
    parser.add_argument("--new-site", action="store_true", help="publish to a site of which no door has reported yet")
    parser.add_argument(
        "--keys", type=Path, action="append", default=[], metavar="FOLDER", help="more keys, in addition to REPO/keys"
    )
    parser.add_argument(
        "--valid-days",
        type=int,
        metavar="DAYS",
        help="doors reject this release after this time and keep the one they run (default: 90)",
    )


def mqtt_config(arguments: argparse.Namespace) -> MqttConfig:
    """The broker options as a configuration.

    Raises:
        ReleaseError: an option is malformed.
    """
    names = ("username", "password_file", "ca_file", "cert_file", "key_file", "insecure")
    try:
        return msgspec.convert(
            {"url": arguments.broker, **{name: getattr(arguments, name) for name in names}}, MqttConfig
        )
    except msgspec.ValidationError as error:
        raise ReleaseError(f"--broker {arguments.broker}: must have the form mqtt://host:port ({error})") from error


def open_repository(arguments: argparse.Namespace) -> Repository:
    """The repository with its available keys.

    Raises:
        ReleaseError: it does not exist, or a key cannot be opened.
    """
    path: Path = arguments.repo
    if not (path / "root.json").is_file():
        raise ReleaseError(f"{path}: no repository; make one with  threshold sync init {path}")
    return Repository(path, load_keys([path / "keys", *arguments.keys], password()))


def publish_target(arguments: argparse.Namespace) -> PublishTarget | None:
    """Target of the release, checked before anything is changed; None without a broker.

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
        silence = f"site '{site}': no door of this site has reported to {mqtt.url}"
        if sites and site not in sites:
            raise ReleaseError(
                f"{silence}, and this repository was published to {', '.join(sites)}; nothing was published: "
                "correct --site, or add --new-site if its doors are not running yet"
            )
        print_warning(f"{silence}; check the name")
    return PublishTarget(mqtt, site, doors)
