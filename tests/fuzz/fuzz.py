"""Coverage-guided fuzzing of one parser with Atheris (`pip install atheris`).

    python tests/fuzz/fuzz.py policy-toml -runs=100000
    python tests/fuzz/fuzz.py gallery -max_total_time=600 CORPUS

All other options and arguments are libFuzzer's. Fuzzing stops at the first input that raises an undocumented error,
takes longer than the target's limit or more memory than its bound, and writes this input to a file. Only Python code
guides the search; C code (msgspec, OpenCV, SQLite) is tested without guidance.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS.parent))
sys.path.insert(0, str(TESTS.parent / "tools"))
sys.path.insert(0, str(TESTS))

import atheris  # noqa: E402

with atheris.instrument_imports(include=["edge", "threshold_tools", "tomllib", "tuf"]):
    from fuzz.mutate import mutated
    from fuzz.target import accepts, scratch_parent
    from fuzz.targets import TARGETS


def main() -> None:
    """Run the command line; does not return."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"{__doc__}\nTARGET is one of {', '.join(TARGETS)}")
    target = TARGETS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory(prefix="threshold-fuzz-", dir=scratch_parent()) as name:
        scratch, corpus = Path(name) / "scratch", Path(name) / "corpus"
        scratch.mkdir()
        corpus.mkdir()
        seeds = target.seeds()
        for number, content in enumerate(seeds):
            (corpus / f"{number}").write_bytes(content)
        parse = target.make(scratch)

        def mutate(data: bytes, max_size: int, seed: int) -> bytes:
            random = Random(seed)
            if random.random() < 0.5:
                return bytes(atheris.Mutate(data, max_size))
            changed = mutated([data, *seeds], random, target.words)
            if target.repair is not None and random.random() < 0.5:
                changed = target.repair(changed)
            return changed[:max_size]

        options = [f"-timeout={max(round(target.longest_s), 1)}", "-rss_limit_mb=4096", "-max_len=65536"]
        words = [sys.argv[0], *options, *sys.argv[1:], str(corpus)]
        atheris.Setup(words, lambda data: accepts(target, parse, data) and None, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
