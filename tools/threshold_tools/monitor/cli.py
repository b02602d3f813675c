"""One page for all doors: who is there, what happens, what is wrong, who runs which release.

    threshold monitor                                       http://127.0.0.1:8450, the broker on this machine
    threshold monitor --history monitor.sqlite              remembers; the broker keeps events during its absence
    threshold monitor --people PHOTOS                       with the review of the people folder
    threshold monitor --crops FACES --people PHOTOS --publish REPO --site home
                                                            stores faces of unknown visitors, to be enrolled
    threshold monitor --listen 0.0.0.0 --token-file TOKEN   for the network; the token lets people in

Only this machine can look unless --listen says otherwise. With that, and wherever faces of visitors are kept, a
token is needed: from --token-file, or made and printed. The password of the keys in REPO comes from
THRESHOLD_KEY_PASSWORD, or is asked for.
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
from threshold_tools.monitor.sessions import SessionSigner, read_token
from threshold_tools.monitor.unknown_routes import unknown_routes
from threshold_tools.release.keys import load_keys, password
from threshold_tools.release.repository import Repository

PORT = 8450
log = logging.getLogger("monitor")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, metavar="door.toml", help="take broker and login from here")
    source.add_argument("--broker", default=MqttConfig().url, metavar="URL", help="(default: %(default)s)")
    parser.add_argument("--insecure", action="store_true", help="allow plain mqtt:// to another host")
    parser.add_argument("--site", metavar="S", help="only this site (default: all)")
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="(default: %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="0: any that is free (default: %(default)s)")
    parser.add_argument("--name", action="append", default=[], metavar="HOST", help="a further name of this machine")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="its first line lets people in")
    parser.add_argument("--cert", type=Path, metavar="PEM", help="use https with this certificate")
    parser.add_argument("--key", type=Path, metavar="PEM", help="and its private key")
    parser.add_argument("--history", type=Path, metavar="FILE", help="remember events and health (SQLite)")
    parser.add_argument("--keep-days", type=float, default=30.0, metavar="N", help="(default: %(default)g)")
    parser.add_argument("--keep-rows", type=int, default=500_000, metavar="N", help="events (default: %(default)s)")
    parser.add_argument(
        "--keep-health-rows",
        type=int,
        default=2_000_000,
        metavar="N",
        help="health readings, one a minute and door (default: %(default)s)",
    )
    parser.add_argument("--people", type=Path, metavar="PHOTOS", help="review this people folder")
    parser.add_argument("--crops", type=Path, metavar="DIR", help="keep faces of unknown visitors here, to be enrolled")
    parser.add_argument("--keep-crops-days", type=float, default=7.0, metavar="N", help="(default: %(default)g)")
    parser.add_argument("--publish", type=Path, metavar="REPO", help="sign and publish who is enrolled, as sync does")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and serve until a signal.

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
        parser.error("--cert and --key go together")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    given = MqttConfig(url=arguments.broker, insecure=arguments.insecure)
    mqtt = read_config(arguments.config).mqtt if arguments.config else given
    resolve_endpoint(mqtt)  # an address that cannot be used is an error now, instead of being tried for ever
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
    known = {row.n: row for row in [*history.last_of_each_door(), *history.events(RING)]}
    hub = Hub(history.last_number(), known.values())
    routes: list[BaseRoute] = []
    on_face = reviewer = None
    if arguments.people:
        reviewer = PeopleReviewer(arguments.people, publisher)
        routes += people_routes(reviewer)
    if arguments.crops:
        store = stack.enter_context(FaceStore(arguments.crops, arguments.keep_crops_days))
        on_face = store.add
        enroller = UnknownEnroller(reviewer, store, history, publisher) if reviewer else None
        routes += unknown_routes(store, enroller, history)
    session = f"monitor-{history.name}" if arguments.history else None
    listener = Listener(mqtt, Topics(arguments.site or "+", "+"), hub, history, session=session, on_face=on_face)
    stack.callback(listener.close)
    app = make_app(MonitorContext(hub, history, auth, routes, on_start=listener.start))

    def announce() -> None:
        host, port = sock.getsockname()[:2]
        url = f"{'https' if auth.https else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
        print(f"the fleet is at {url}" + (f" with the token {token}" if token else ""), flush=True)

    server = MonitorServer(app, cert=arguments.cert, key=arguments.key, on_started=announce, closing=hub.close)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)  # also before it runs, and for the signal that it raises at its end
    server.run([sock])


def _publisher(arguments: argparse.Namespace, mqtt: MqttConfig) -> GalleryPublisher:
    """Opens the keys at the start, while somebody is there to enter the password."""
    Repository(arguments.publish, {})  # fails if it is none
    signers = load_keys([arguments.publish / "keys"], password())
    return GalleryPublisher(arguments.publish, signers, mqtt, arguments.site)


def _auth(arguments: argparse.Namespace) -> tuple[AuthSettings, str]:
    """Who is let in, and the token if it was made now."""
    try:
        loopback = ipaddress.ip_address(arguments.listen).is_loopback
    except ValueError as error:
        raise InputError(f"--listen: '{arguments.listen}' is no address such as 127.0.0.1, 0.0.0.0 or ::") from error
    token, made = None, ""
    if arguments.token_file:
        token = read_token(arguments.token_file)
    elif not loopback or arguments.crops:
        token = made = secrets.token_urlsafe(24)
    if not loopback and not arguments.cert:
        log.warning("not encrypted: others on the network can read the page and the token; use --cert and --key")
    own = [] if loopback else [socket.gethostname(), f"{socket.gethostname()}.local"]
    names = frozenset(name.lower() for name in [*arguments.name, *own])
    cookie = f"threshold-monitor-{arguments.port}"
    return AuthSettings(SessionSigner(token), names, loopback, cookie, bool(arguments.cert)), made


def _listen(address: str, port: int) -> socket.socket:
    """A socket that accepts connections."""
    ipv6 = ":" in address
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, dualstack_ipv6=ipv6)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise InputError(f"{address} port {port}: cannot be listened on ({why}); see --port") from error
