#!/usr/bin/env python3
"""Let a door run for long while everything fails now and then, and check what it promises, whatever befalls it.

  kills   door and broker are killed (SIGKILL) at random while events flow: the real daemon, made-up sight
  hours   simulated hours with visitors and faults at random, a day in minutes: the real daemon and the real models, in
          a world that stops, fills and jumps: broker killed and frozen, disk full, camera lost, frozen and black,
          clock set, releases arriving

The promises: no event lost, their order kept, copies recognisable, numbers rising; no opening late, twice, retained,
or before its event is stored; memory, file handles and threads flat. Exit code 1 and a line each for those broken,
with the seed that repeats what chance did here; what the operating system did, no seed repeats.

It needs mosquitto. Mosquitto acknowledges before it stores, so it is killed only while somebody listens: what a broker
loses that nobody listens to is not the door's to keep.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from soaking.hours import HoursReport, hours_run
from soaking.kills import KillReport, kill_run

from edge.core.cli_support import run_main

PERIODS = 24
MOST_GROWTH = 0.02


class Report(msgspec.Struct, frozen=True):
    """Both runs; None: not asked for."""

    kills: KillReport | None
    hours: HoursReport | None

    @property
    def broken(self) -> list[str]:
        """A line for every promise broken."""
        runs = [each for each in (self.kills, self.hours) if each is not None]
        return [f"{breach.promise}: {breach.how} (seed {each.seed})" for each in runs for breach in each.breaches]


def show(report: Report) -> str:
    """What happened, for people."""
    lines = []
    if (kills := report.kills) is not None:
        lines += [
            f"{kills.door_kills} kills of the door and {kills.broker_kills} of the broker in {kills.seconds:.0f} s",
            f"  {kills.stored} events stored, {kills.arrived} arrived, {kills.copies} copies",
            f"  {kills.door_opens} decisions to open: {kills.openings} arrived, the tightest "
            f"{kills.least_margin_ms:.0f} ms before its end; {kills.expired} told as expired",
        ]
    if (hours := report.hours) is not None:
        lines += [
            f"{hours.hours:g} simulated hours in {hours.seconds:.0f} s",
            "  faults: " + ", ".join(f"{count} {what}" for what, count in hours.faults.items()),
            "  events: " + ", ".join(f"{count} {what}" for what, count in hours.kinds.items()),
            f"  {hours.stored} events stored, {hours.arrived} arrived, {hours.copies} copies",
            f"  {hours.openings} openings, the tightest {hours.least_margin_ms:.0f} ms before its end",
            f"  after the warm-up, {hours.flatness.readings} readings: {hours.flatness.memory_mb:.1f} MB, growth "
            f"{hours.flatness.growth:.2%}; file handles {_range(hours.flatness.handles)}, threads "
            f"{_range(hours.flatness.threads)}",
        ]
    return "\n".join([*lines, "every promise was kept" if not report.broken else "broken:", *report.broken])


def _range(found: tuple[int, int]) -> str:
    return str(found[0]) if found[0] == found[1] else f"{found[0]} to {found[1]}"


def main(words: Sequence[str] | None = None) -> int:
    """Parse the command line and let it run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0, metavar="H", help="simulated; 0: none (default: 24)")
    parser.add_argument(
        "--kills", type=int, default=200, metavar="N", help="of door and broker; 0: none (default: 200)"
    )
    parser.add_argument("--events", type=int, default=2000, metavar="N", help="while they are killed (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    arguments = parser.parse_args(words)
    if min(arguments.hours, arguments.kills, arguments.seed) < 0 or arguments.events < 1:
        parser.error("--hours, --kills and --seed must not be negative, --events at least 1")
    if not arguments.kills and not arguments.hours:
        parser.error("without kills and hours nothing is shown")

    def told(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    kills = hours = None
    with tempfile.TemporaryDirectory(prefix="threshold-soak-") as folder:
        if arguments.kills:
            kills = kill_run(
                Path(folder) / "kills", kills=arguments.kills, events=arguments.events, seed=arguments.seed, told=told
            )
        if arguments.hours:
            hours = hours_run(
                Path(folder) / "hours",
                hours=arguments.hours,
                periods=PERIODS,
                seed=arguments.seed,
                most_growth=MOST_GROWTH,
                told=told,
            )
    report = Report(kills, hours)
    print(msgspec.json.encode(report).decode() if arguments.json else show(report))
    return 1 if report.broken else 0


if __name__ == "__main__":
    run_main(main)
