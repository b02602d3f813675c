"""The command `threshold sync status`: the release of each door, as a table or JSON."""

from __future__ import annotations

import argparse
import sys

import msgspec
from tqdm import tqdm

from edge.core.cli_support import counted, escape_untrusted
from edge.core.terminal import Style, Terminal
from threshold_tools.release.options import mqtt_config, print_note
from threshold_tools.release.signatures import read_keys
from threshold_tools.release.site_status import SiteStatus, status


def show_status(arguments: argparse.Namespace) -> int:
    """Run `threshold sync status`; returns 1 unless all doors run the newest release."""
    keys = read_keys(arguments.door_keys) if arguments.door_keys else None
    with tqdm(desc="doors up to date", disable=None if arguments.wait else True, leave=False) as bar:

        def show(site: SiteStatus) -> None:
            bar.total, bar.n = len(site.doors), sum(door.ok for door in site.doors)
            bar.refresh()

        mqtt = mqtt_config(arguments)
        site = status(mqtt, arguments.site, None, arguments.wait, arguments.expect, keys, show)
    if arguments.json:
        print(escape_untrusted(msgspec.json.encode(site.doors).decode(), None))
    else:
        _print_status(site, arguments.site)
    if not site.reporting:
        print_note(f"no door of site '{arguments.site}' has reported to {arguments.broker}; check --site and --broker")
    return 0 if site.complete else 1


def _print_status(site: SiteStatus, name: str) -> None:
    terminal = Terminal(sys.stdout)
    terminal.print(f"site {name}: newest release {site.newest if site.newest is not None else 'unknown'}")
    for door in site.doors:
        mark = terminal.styled("ok  ", Style.GOOD) if door.ok else terminal.styled("WAIT", Style.ERROR)
        number = "-" if door.release is None else str(door.release)
        reason = escape_untrusted(door.reason) + (f" (report {door.signature})" if door.signature else "")
        away = " (offline)" if door.online is False else ""
        terminal.print(
            f"{mark}  {escape_untrusted(door.door):20} {number:>6}  {door.applied_at or '-':24}  {reason}{away}"
        )
    missing = [escape_untrusted(door.door) for door in site.doors if not door.ok]
    doors = counted(len(site.doors), "door")
    terminal.print(f"{doors} known, {site.reporting} reporting, {len(site.doors) - len(missing)} up to date")
    if missing:
        terminal.print(f"not up to date: {', '.join(missing)}")
