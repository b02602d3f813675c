"""Test every parser of external input with a million damaged inputs.

    python tests/fuzz/run.py --inputs 1000000 --seed 1
    python tests/fuzz/run.py --only door-toml --seed 1 --index 4711     # one input; --save FILE stores it

Each parser runs in a separate, monitored process. An input is a finding if it crashes the parser, raises an
undocumented error, or exceeds the limit of time (one second of processor time by default) or memory: see
tests/fuzz/target.py. Equal seeds give equal inputs. Exit code 1: there are findings.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS.parent))
sys.path.insert(0, str(TESTS.parent / "tools"))
sys.path.insert(0, str(TESTS))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import msgspec  # noqa: E402

from fuzz.target import Target, accepts, nth_input, scratch_parent  # noqa: E402
from fuzz.watch import Finding, Part, Tally, measure, watched  # noqa: E402

MB = 1024 * 1024


def shared_out(targets: list[Target], inputs: int) -> dict[str, int]:
    """Return the number of inputs of each target: by its share, at least ten."""
    total = sum(target.share for target in targets)
    return {target.name: max(round(inputs * target.share / total), 10) for target in targets}


def run_target(target: Target, inputs: int, seed: int) -> Tally:
    """Run all inputs of one target; a process that dies is replaced."""
    tally = Tally(target.name)
    began = time.monotonic()
    while tally.inputs < inputs and len(tally.findings) < 20:
        part = _in_process(target, tally.inputs, inputs, seed)
        tally.add(part)
        if not part.inputs:  # the process does not start
            break
    tally.wall_s = time.monotonic() - began
    if tally.growth_bytes > target.memory_mb * MB:
        tally.findings.append(Finding(-1, "memory", f"grew by {tally.growth_bytes // MB} MB"))
    return tally


def _in_process(target: Target, first: int, inputs: int, seed: int) -> Part:
    with tempfile.TemporaryDirectory(prefix="threshold-fuzz-", dir=scratch_parent()) as name:
        folder = Path(name)
        words = [sys.executable, __file__, "--work", name, "--only", target.name, "--seed", str(seed)]
        words += ["--index", str(first), "--inputs", str(inputs)]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(words, stdout=output, stderr=output)
        return watched(process, folder, first, target.longest_s)


def work(target: Target, folder: Path, first: int, inputs: int, seed: int) -> None:
    """Run inputs `first` to `inputs - 1` in this process."""
    scratch = folder / "scratch"
    scratch.mkdir()
    parse, seeds = target.make(scratch), target.seeds()
    for content in seeds * 3:
        parse(content)
    for index in range(min(200, inputs)):  # let caches fill before memory is measured
        try:
            accepts(target, parse, nth_input(target, seeds, seed, index))
        except Exception:
            break
    measure(
        folder,
        first,
        inputs,
        target.longest_s,
        lambda index: accepts(target, parse, nth_input(target, seeds, seed, index)),
    )


def again(target: Target, seed: int, index: int, save: Path | None) -> int:
    """Run one input and show its traceback."""
    content = nth_input(target, target.seeds(), seed, index)
    print(f"{len(content)} bytes: {content[:300]!r}")
    if save is not None:
        save.write_bytes(content)
    with tempfile.TemporaryDirectory(dir=scratch_parent()) as name:
        scratch = Path(name) / "scratch"
        scratch.mkdir()
        print("accepted" if accepts(target, target.make(scratch), content) else "refused")
    return 0


def table(tallies: list[Tally]) -> str:
    """Return a table with one line for each target."""
    names = ("inputs", "per s", "accepted", "refused", "worst ms", "growth MB")
    head = f"{'target':15}" + "".join(f"{name:>10}" for name in names) + "  found"
    lines = [
        f"{each.name:15}{each.inputs:10}{each.inputs / each.wall_s:10.0f}{each.accepted:10}{each.refused:10}"
        f"{each.worst_ns / 1e6:10.1f}{each.growth_bytes / MB:10.1f}  {len(each.findings) or '-'}"
        for each in tallies
    ]
    total = sum(each.inputs for each in tallies)
    seconds = sum(each.cpu_s for each in tallies)
    return "\n".join([head, *lines, f"{total} inputs, {seconds:.0f} s of processor time"])


def main() -> int:
    """Run the command line."""
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="COUNT", help="total (default: a million)")
    parser.add_argument("--seed", type=int, default=1, metavar="NUMBER")
    parser.add_argument("--only", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--index", type=int, metavar="NUMBER", help="with --only: run this input only")
    parser.add_argument("--save", type=Path, metavar="FILE", help="with --index: write the input to this file")
    parser.add_argument("--json", action="store_true", help="print the table as a JSON array")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    targets = [TARGETS[arguments.only]] if arguments.only else list(TARGETS.values())
    if arguments.work is not None:
        work(targets[0], arguments.work, arguments.index, arguments.inputs, arguments.seed)
        return 0
    if arguments.index is not None:
        return again(targets[0], arguments.seed, arguments.index, arguments.save)
    tallies = []
    for target in targets:
        tally = run_target(target, shared_out(targets, arguments.inputs)[target.name], arguments.seed)
        tallies.append(tally)
        for found in tally.findings:
            again_by = f"  --only {target.name} --seed {arguments.seed} --index {found.index}"
            print(f"{target.name}: {found.kind}: {found.text}{again_by}", file=sys.stderr, flush=True)
    print(msgspec.json.encode(tallies).decode() if arguments.json else table(tallies))
    return 1 if any(tally.findings for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
