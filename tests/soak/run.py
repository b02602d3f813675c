"""Run a door under faults for a long time and check its invariants.

  kills   kills (SIGKILL) of door and broker at random while events flow: the real daemon with fake vision
  hours   simulated hours with random visitors and faults, a day in minutes: the real daemon and the real models.
          Faults: broker killed and frozen, disk full, camera lost, frozen and black, clock set, releases arriving

Invariants of events: none is lost, the order is kept, copies are recognisable, numbers rise. Invariants of open
commands: none is late, repeated, retained, or sent before its event is stored. Memory, file handles and threads stay
constant.

Exit code 1 and a line for each violation, with the seed that repeats the random draws of the run (not those of the
operating system).

Needs mosquitto. It acknowledges before it stores, so it is killed only while a listener is connected: a loss without a
listener would not be an error of the door.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edge.core.cli_support import run_main
from soak.kill_run import KillReport, kill_run
from soak.long_run import LongRunReport, long_run

PERIODS = 24
MAX_GROWTH = 0.02


class SoakReport(msgspec.Struct, frozen=True):
    """Both runs; None: not requested."""

    kills: KillReport | None
    hours: LongRunReport | None

    @property
    def violations(self) -> list[str]:
        """One line for each violation."""
        runs = [each for each in (self.kills, self.hours) if each is not None]
        return [f"{one.invariant}: {one.detail} (seed {each.seed})" for each in runs for one in each.violations]


def render(report: SoakReport) -> str:
    """Return the report as text."""
    lines = []
    if (kills := report.kills) is not None:
        lines += [
            f"{kills.door_kills} kills of the door and {kills.broker_kills} of the broker in {kills.seconds:.0f} s",
            f"  {kills.stored} events stored, {kills.arrived} arrived, {kills.copies} copies",
            f"  {kills.door_opens} decisions to open: {kills.opens} commands arrived, the latest "
            f"{kills.min_margin_ms:.0f} ms before it expired; {kills.expired} reported as expired",
        ]
    if (hours := report.hours) is not None:
        lines += [
            f"{hours.hours:g} simulated hours in {hours.seconds:.0f} s",
            "  faults: " + ", ".join(f"{count} {what}" for what, count in hours.faults.items()),
            "  events: " + ", ".join(f"{count} {what}" for what, count in hours.kinds.items()),
            f"  {hours.stored} events stored, {hours.arrived} arrived, {hours.copies} copies",
            f"  {hours.opens} open commands, the latest {hours.min_margin_ms:.0f} ms before it expired",
            f"  after the warm-up, {hours.trend.readings} readings: {hours.trend.memory_mb:.1f} MB, growth "
            f"{hours.trend.growth:.2%}; file handles {_range(hours.trend.handles)}, threads "
            f"{_range(hours.trend.threads)}",
        ]
    return "\n".join([*lines, "every invariant held" if not report.violations else "violated:", *report.violations])


def _range(found: tuple[int, int]) -> str:
    return str(found[0]) if found[0] == found[1] else f"{found[0]} to {found[1]}"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0, metavar="HOURS", help="simulated; 0: none (default: 24)")
    parser.add_argument(
        "--kills", type=int, default=200, metavar="N", help="kills of door and broker; 0: none (default: 200)"
    )
    parser.add_argument("--events", type=int, default=2000, metavar="N", help="events during the kills (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of every random draw (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    arguments = parser.parse_args(words)
    if min(arguments.hours, arguments.kills, arguments.seed) < 0 or arguments.events < 1:
        parser.error("--hours, --kills and --seed must not be negative, --events at least 1")
    if not arguments.kills and not arguments.hours:
        parser.error("nothing to do: set --kills or --hours")

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    kills = hours = None
    with tempfile.TemporaryDirectory(prefix="threshold-soak-") as folder:
        if arguments.kills:
            kills = kill_run(
                Path(folder) / "kills",
                kills=arguments.kills,
                events=arguments.events,
                seed=arguments.seed,
                progress=progress,
            )
        if arguments.hours:
            hours = long_run(
                Path(folder) / "hours",
                hours=arguments.hours,
                periods=PERIODS,
                seed=arguments.seed,
                max_growth=MAX_GROWTH,
                progress=progress,
            )
    report = SoakReport(kills, hours)
    print(msgspec.json.encode(report).decode() if arguments.json else render(report))
    return 1 if report.violations else 0


if __name__ == "__main__":
    run_main(main)
