"""The contract as a page of the documentation, Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import Template

from edge.events.reasons import REASONS_BY_KIND, reason_sentence
from edge.events.schema import VERSION, EventKind, encode
from edge.events.signing import DSSE_PAYLOAD_TYPES
from edge.events.topics import (
    DELIVERY_TERMS,
    REPO_DELIVERY,
    SNAPSHOT_DELIVERY,
    Channel,
    DeliveryTerms,
    Topics,
    repo_topic,
)
from mqtt_contract.examples import examples_of, seal_and_key, signed
from mqtt_contract.meanings import EXPIRY, MEANINGS
from mqtt_contract.schemas import definitions, fields_of, record_of

_TEMPLATE = Path(__file__).parent / "page.template"


def page() -> str:
    """The whole page: the template, filled."""
    _, key = seal_and_key()
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        version=VERSION,
        topics="".join(_row(*topic) for topic in _topics()),
        channels="\n".join(_section(channel) for channel in Channel),
        picture=_snapshot(),
        file=_repository(),
        signed="".join(f"| `…/{channel}` | `{kind}` |\n" for channel, kind in DSSE_PAYLOAD_TYPES.items()),
        opening=_json(signed(Channel.OPEN)),
        key=key,
    )


def _topics() -> Iterator[tuple[str, DeliveryTerms, str, str]]:
    for channel in Channel:
        yield (
            f"[`…/{channel}`](#{channel})",
            DELIVERY_TERMS[channel],
            EXPIRY.get(channel, "never"),
            definitions(channel)[record_of(channel)]["description"].partition(". ")[0],
        )
    yield f"[`{_snapshot()}`](#snapshot)", SNAPSHOT_DELIVERY, EXPIRY["snapshot"], "The face of an event, JPEG"
    yield f"[`{_repository()}`](#repo)", REPO_DELIVERY, "never", "The site's signed repository"


def _row(topic: str, terms: DeliveryTerms, expiry: str, said: str) -> str:
    retained = "yes" if terms.retained else "no"
    return f"| {topic} | {terms.qos} | {retained} | {expiry} | {said.rstrip('.')} |\n"


def _section(channel: Channel) -> str:
    said = definitions(channel)[record_of(channel)]["description"]
    rows = [f"| `{name}` | {kind} | {meaning} |\n" for name, kind, meaning in fields_of(channel)]
    kinds = _kinds() if any(name == "kind" for name, _, _ in fields_of(channel)) else ""
    examples = "".join(
        f"\n{example.title[:1].upper()}{example.title[1:]}:\n\n{_json(encode(example.record))}"
        for example in examples_of(channel)
    )
    return (
        f"## `…/{channel}` {{ #{channel} }}\n\n{said} JSON Schema: [{channel}.json](../schemas/{channel}.json).\n\n"
        f"| field | type | meaning |\n| --- | --- | --- |\n{''.join(rows)}{kinds}{examples}"
    )


def _kinds() -> str:
    rows = [f"| `{kind}` | {MEANINGS[kind]} |\n" for kind in EventKind]
    codes = [
        f"| `{kind}` | `{code}` | {reason_sentence(code)} |\n"
        for kind, reasons in REASONS_BY_KIND.items()
        for code in reasons
    ]
    return (
        f"\n| kind | what has happened |\n| --- | --- |\n{''.join(rows)}"
        f"\n| kind | `reason` | meaning |\n| --- | --- | --- |\n{''.join(codes)}"
    )


def _snapshot() -> str:
    return "…/" + Topics("", "").snapshot("<event id>").removeprefix("threshold///")


def _repository() -> str:
    return repo_topic("<site>", "<file>")


def _json(message: bytes) -> str:
    """Indented for people; a door sends it without spaces."""
    return f"```json\n{json.dumps(json.loads(message), indent=2, ensure_ascii=False)}\n```\n"
