#!/usr/bin/env python3
"""One page for all doors: who is there, what happens, what is wrong, who runs which release.

    monitor.py                                        http://127.0.0.1:8450, the broker on this machine
    monitor.py --history monitor.sqlite               remembers; the broker keeps events while the monitor is away
    monitor.py --people PHOTOS                        with the review of the people folder
    monitor.py --crops FACES --people PHOTOS --publish REPO --site home
                                                      keeps faces of unknown visitors for some days, to be named
    monitor.py --listen 0.0.0.0 --token-file TOKEN    for the network; whoever has the token may look

Only this machine can look unless --listen says otherwise. With that, and wherever faces of visitors are kept, a
token is needed: from --token-file, or made and printed. The password of the keys in REPO comes from
THRESHOLD_KEY_PASSWORD, or is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import ipaddress
import logging
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.cli_support import PrintableFormatter, run_main
from edge.core.config import MqttConfig, read_config
from edge.core.errors import InputError
from edge.events.topics import Topics
from edge.mqtt.broker_endpoint import resolve_endpoint

if TYPE_CHECKING:
    from threshold_tools.monitor.publishing import GalleryPublisher
    from threshold_tools.monitor.security import AuthSettings

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
    parser.add_argument("--cert", type=Path, metavar="PEM", help="speak https with this certificate")
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
    parser.add_argument("--crops", type=Path, metavar="DIR", help="keep faces of unknown visitors here, to be named")
    parser.add_argument("--keep-crops-days", type=float, default=7.0, metavar="N", help="(default: %(default)g)")
    parser.add_argument("--publish", type=Path, metavar="REPO", help="sign and publish who is named (tools/sync.py)")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until told to stop."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if not 0 <= arguments.port < 65536:
        parser.error("--port must be 0 to 65535")
    kept = (arguments.keep_days, arguments.keep_crops_days, arguments.keep_rows, arguments.keep_health_rows)
    if not all(each > 0 for each in kept):
        parser.error("--keep-days, --keep-crops-days, --keep-rows and --keep-health-rows must be positive")
    if arguments.publish and not (arguments.crops and arguments.people and arguments.site):
        parser.error("--publish needs --crops, --people and --site")
    if bool(arguments.cert) != bool(arguments.key):
        parser.error("--cert and --key go together")
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"this needs {', '.join(missing)}; run in Threshold's folder: "
            "pip install --require-hashes --only-binary :all: -r requirements/desktop.txt"
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if arguments.config:
        mqtt = read_config(arguments.config).mqtt
    else:
        mqtt = MqttConfig(url=arguments.broker, insecure=arguments.insecure)
    resolve_endpoint(mqtt)  # what cannot be used is said now, not tried for ever
    if arguments.people is not None and not arguments.people.is_dir():
        raise InputError(f"{arguments.people}: no such folder")
    with contextlib.ExitStack() as stack:
        _serve(arguments, mqtt, stop, stack)
    return 0


def _serve(arguments: argparse.Namespace, mqtt: MqttConfig, stop: threading.Event, stack: contextlib.ExitStack) -> None:
    from threshold_tools.monitor import people_routes, unknown_routes
    from threshold_tools.monitor.app import MonitorContext, make_app
    from threshold_tools.monitor.enrol_unknown import UnknownEnroller
    from threshold_tools.monitor.face_store import FaceStore
    from threshold_tools.monitor.history import History, Retention
    from threshold_tools.monitor.hub import RING, Hub
    from threshold_tools.monitor.listener import Listener
    from threshold_tools.monitor.people import PeopleReviewer
    from threshold_tools.monitor.server import serve

    publishing = _publishing(arguments, mqtt) if arguments.publish else None
    rules, token = _rules(arguments)
    sock = stack.enter_context(_bound(arguments.listen, arguments.port))
    path = arguments.history or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "monitor.sqlite"
    bounds = Retention(arguments.keep_days, arguments.keep_rows, arguments.keep_health_rows)
    history = stack.enter_context(History(path, bounds, now_ms=time.time_ns() // 1_000_000))
    known = {row.n: row for row in [*history.last_of_each_door(), *history.events(RING)]}
    hub = Hub(history.last_number(), known.values())
    session = f"monitor-{history.name}" if arguments.history else None
    crops = stack.enter_context(FaceStore(arguments.crops, arguments.keep_crops_days)) if arguments.crops else None
    on_face = crops.add if crops else None
    listener = Listener(mqtt, Topics(arguments.site or "+", "+"), hub, history, session=session, on_face=on_face)
    stack.callback(listener.close)
    reviewer = PeopleReviewer(arguments.people, publishing) if arguments.people else None
    more = []
    if crops:
        namer = (
            UnknownEnroller(arguments.people, crops, publishing, history.add_note, reviewer.start) if reviewer else None
        )
        more.append((unknown_routes.PLACE, unknown_routes.unknown_routes(crops, namer, reviewer, history)))
    if reviewer:
        more.append((people_routes.PLACE, people_routes.people_routes(reviewer)))
    app = make_app(MonitorContext(hub, history, rules, more, on_start=listener.start))
    with serve(app, sock, cert=arguments.cert, key=arguments.key, stop=stop, closing=hub.close):
        host, port = sock.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        url = f"{'https' if rules.https else 'http'}://{shown}:{port}/"
        print(f"the fleet is at {url}" + (f" with the token {token}" if token else ""), flush=True)
        stop.wait()


def _publishing(arguments: argparse.Namespace, mqtt: MqttConfig) -> GalleryPublisher:
    """The keys are opened now, while somebody is there to give the password."""
    from threshold_tools.monitor.publishing import GalleryPublisher
    from threshold_tools.release.keys import load_keys, password
    from threshold_tools.release.repository import Repository

    Repository(arguments.publish, {})  # says if it is none
    signers = load_keys([arguments.publish / "keys"], password())
    return GalleryPublisher(arguments.publish, signers, mqtt, arguments.site)


def _rules(arguments: argparse.Namespace) -> tuple[AuthSettings, str]:
    """Who is let in, and the token where it was made now."""
    from threshold_tools.monitor.security import AuthSettings
    from threshold_tools.monitor.sessions import SessionSigner, read_token

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
        log.warning("not encrypted: whoever is on the way can read the page and the token; --cert and --key mend that")
    here = [] if loopback else [socket.gethostname(), f"{socket.gethostname()}.local"]
    names = frozenset(name.lower() for name in [*arguments.name, *here])
    cookie = f"threshold-monitor-{arguments.port}"
    return AuthSettings(SessionSigner(token), names, loopback, cookie, bool(arguments.cert)), made


def _bound(address: str, port: int) -> socket.socket:
    """A socket that is bound.

    Raises:
        InputError: it cannot be.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise InputError(f"{address} port {port}: cannot be listened on ({error.strerror}); see --port") from error
    return sock


if __name__ == "__main__":
    run_main(main)
