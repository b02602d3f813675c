"""Write docs/reference/mqtt.md, docs/asyncapi.json and docs/schemas from the types that doors encode.

.venv/bin/python docs/generators/contract.py            # after a change of edge/events/schema.py or topics.py
.venv/bin/python docs/generators/contract.py --check    # exit code 1 if a file is out of date
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from generated_files import write_or_check
from mqtt_contract.asyncapi import asyncapi
from mqtt_contract.page import page
from mqtt_contract.schemas import Schema, schema_of

from edge.core.cli_support import run_main
from edge.events.topics import Channel

DOCS = Path(__file__).parent.parent


def files() -> dict[str, str]:
    """Content of every document by its path in docs/."""
    schemas = {f"schemas/{channel}.json": _pretty(schema_of(channel)) for channel in Channel}
    return {"reference/mqtt.md": page(), "asyncapi.json": _pretty(asyncapi()), **schemas}


def _pretty(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        ExpectationError: --check, and a file is out of date.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    given = parser.parse_args(arguments)
    found = {DOCS / name: content for name, content in files().items()}
    write_or_check(found, check=given.check, program="docs/generators/contract.py")


if __name__ == "__main__":
    run_main(main)
