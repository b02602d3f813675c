"""Web page of all doors: visitors, events, problems, health and releases.

    threshold monitor                                       http://127.0.0.1:8450, broker on this machine
    threshold monitor --history monitor.sqlite              stores events, also those published while it was stopped
    threshold monitor --people PHOTOS                       shows the photos of the people folder, and their problems
    threshold monitor --crops FACES --people PHOTOS --publish REPO --site home
                                                            stores faces of unknown visitors, to enrol them
    threshold monitor --listen 0.0.0.0 --token-file TOKEN   reachable from the network, with sign-in

Without --listen only this machine can open the page. With --listen or --crops, everybody has to sign in with a token:
that of --token-file, or a new one that is printed. The password of the keys in REPO is read from
THRESHOLD_KEY_PASSWORD, or asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from starlette.routing import BaseRoute

from edge.core.cli_support import PrintableFormatter
from edge.core.config import MqttConfig, read_config
from edge.core.errors import InputError
from edge.events.topics import Topics
from edge.mqtt.broker_endpoint import resolve_endpoint
from threshold_tools.monitor.app import MonitorContext, make_app
from threshold_tools.monitor.enrol_unknown import UnknownEnroller
from threshold_tools.monitor.face_store import FaceStore
from threshold_tools.monitor.gallery_publisher import GalleryPublisher
from threshold_tools.monitor.history import History
from threshold_tools.monitor.history_database import Retention
from threshold_tools.monitor.hub import RING, Hub
from threshold_tools.monitor.listener import Listener
from threshold_tools.monitor.people import PeopleReviewer, people_routes
from threshold_tools.monitor.security import AuthSettings
from threshold_tools.monitor.server import MonitorServer
from threshold_tools.monitor.sessions import CODE_S, OneTimeCode, SessionSigner, read_token
from threshold_tools.monitor.unknown_routes import unknown_routes
from threshold_tools.release.keys import load_keys, password
from threshold_tools.release.repository import Repository

PORT = 8450
log = logging.getLogger("monitor")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="FILE", help="door.toml with the broker and the login")
    source.add_argument("--broker", default=MqttConfig().url, metavar="URL", help="MQTT broker (default: %(default)s)")
    parser.add_argument("--insecure", action="store_true", help="allow unencrypted mqtt:// to another host")
    parser.add_argument("--site", metavar="SITE", help="show only this site (default: all)")
    parser.add_argument(
        "--listen", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=int, default=PORT, metavar="PORT", help="0: any free port (default: %(default)s)"
    )
    parser.add_argument(
        "--name", action="append", default=[], metavar="HOST", help="another name by which browsers reach this machine"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the token for sign-in in its first line"
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="use https with this certificate (PEM)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key of the certificate (PEM)")
    parser.add_argument("--history", type=Path, metavar="FILE", help="store events and health in this file (SQLite)")
    parser.add_argument(
        "--keep-days",
        type=float,
        default=30.0,
        metavar="DAYS",
        help="age limit of events and health (default: %(default)g)",
    )
    parser.add_argument(
        "--keep-rows", type=int, default=500_000, metavar="ROWS", help="number limit of events (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-health-rows",
        type=int,
        default=2_000_000,
        metavar="ROWS",
        help="number limit of health samples, one a minute and door (default: %(default)s)",
    )
    parser.add_argument("--people", type=Path, metavar="FOLDER", help="show and check this people folder")
    parser.add_argument("--crops", type=Path, metavar="FOLDER", help="store faces of unknown visitors here")
    parser.add_argument(
        "--keep-crops-days", type=float, default=7.0, metavar="DAYS", help="age limit of faces (default: %(default)g)"
    )
    parser.add_argument("--publish", type=Path, metavar="REPO", help="publish enrolled people with this repository")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the server until a signal.

    Raises:
        InputError: an argument, a file or the broker's address cannot be used.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.port < 65536:
        parser.error("--port must be 0 to 65535")
    kept = (arguments.keep_days, arguments.keep_crops_days, arguments.keep_rows, arguments.keep_health_rows)
    if not all(each > 0 for each in kept):
        parser.error("--keep-days, --keep-crops-days, --keep-rows and --keep-health-rows must be positive")
    if arguments.publish and not (arguments.crops and arguments.people and arguments.site):
        parser.error("--publish needs --crops, --people and --site")
    if bool(arguments.cert) != bool(arguments.key):
        parser.error("--cert and --key need each other")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    given = MqttConfig(url=arguments.broker, insecure=arguments.insecure)
    mqtt = read_config(arguments.config).mqtt if arguments.config else given
    resolve_endpoint(mqtt)  # raises now for a malformed address, which the listener would retry forever
    if arguments.people is not None and not arguments.people.is_dir():
        raise InputError(f"{arguments.people}: no such folder")
    with contextlib.ExitStack() as stack:
        _run(arguments, mqtt, stack)


def _run(arguments: argparse.Namespace, mqtt: MqttConfig, stack: contextlib.ExitStack) -> None:
    publisher = _publisher(arguments, mqtt) if arguments.publish else None
    auth, token = _auth(arguments)
    sock = stack.enter_context(_listen(arguments.listen, arguments.port))
    path = arguments.history or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "monitor.sqlite"
    retention = Retention(arguments.keep_days, arguments.keep_rows, arguments.keep_health_rows)
    history = stack.enter_context(History(path, retention, now_ms=time.time_ns() // 1_000_000))
    hub = Hub(history.last_number(), history.events(RING), history.last_of_each_door())
    routes: list[BaseRoute] = []
    on_face = reviewer = None
    if arguments.people:
        reviewer = PeopleReviewer(arguments.people, publisher)
        routes += people_routes(reviewer)
    if arguments.crops:
        store = stack.enter_context(FaceStore(arguments.crops, arguments.keep_crops_days))
        on_face = store.add
        enroller = UnknownEnroller(reviewer, store, history, publisher) if reviewer else None
        routes += unknown_routes(store, enroller, history, hub.fleet)
    session = f"monitor-{history.name}" if arguments.history else None
    listener = Listener(mqtt, Topics(arguments.site or "+", "+"), hub, history, session=session, on_face=on_face)
    stack.callback(listener.close)
    # A token of --token-file may be meant for others, and stdout may be a log: then no link is printed.
    code = OneTimeCode(time.monotonic()) if token or (auth.signer.required and sys.stdout.isatty()) else None
    app = make_app(MonitorContext(hub, history, auth, routes, on_start=listener.start, code=code))

    def announce() -> None:
        url = _url(sock, auth.https)
        lines = [f"The monitor is at {url}"]
        if code:
            lines.append(f"Sign in with this link, once, within {CODE_S // 60} minutes: {url}login#{code.text}")
        if token:
            lines.append(f"Later, sign in with the token: {token}")
        print("\n".join(lines), flush=True)

    server = MonitorServer(app, cert=arguments.cert, key=arguments.key, on_started=announce, closing=hub.close)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)  # uvicorn sets its own only while it runs
    server.run([sock])


def _publisher(arguments: argparse.Namespace, mqtt: MqttConfig) -> GalleryPublisher:
    """Opens the keys at the start, so that the password is asked for in the terminal."""
    Repository(arguments.publish, {})  # raises if it is not a repository
    signers = load_keys([arguments.publish / "keys"], password())
    return GalleryPublisher(arguments.publish, signers, mqtt, arguments.site)


def _auth(arguments: argparse.Namespace) -> tuple[AuthSettings, str]:
    """Settings of the sign-in, and the token if it was made now."""
    try:
        loopback = ipaddress.ip_address(arguments.listen).is_loopback
    except ValueError as error:
        raise InputError(
            f"--listen: '{arguments.listen}' is not an address such as 127.0.0.1, 0.0.0.0 or ::"
        ) from error
    token, made = None, ""
    if arguments.token_file:
        token = read_token(arguments.token_file)
    elif not loopback or arguments.crops:
        token = made = secrets.token_urlsafe(24)
    if not loopback and not arguments.cert:
        log.warning("not encrypted: others on the network can read the page and the token; set --cert and --key")
    own = [] if loopback else [socket.gethostname(), f"{socket.gethostname()}.local"]
    names = frozenset(name.lower() for name in [*arguments.name, *own])
    cookie = f"threshold-monitor-{arguments.port}"
    return AuthSettings(SessionSigner(token), names, loopback, cookie, bool(arguments.cert)), made


def _url(sock: socket.socket, https: bool) -> str:
    """Address of the page, with the name of this machine instead of an unspecified address."""
    host, port = sock.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"{'https' if https else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"


def _listen(address: str, port: int) -> socket.socket:
    """A listening socket."""
    ipv6 = ":" in address
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, dualstack_ipv6=ipv6)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise InputError(f"{address} port {port}: cannot listen there ({why}); choose another --port") from error
