"""The contract as a Markdown page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import Template

from edge.core.reasons import Reason
from edge.events.reasons import CHALLENGE_FAILURES, REASONS_BY_KIND, reason_sentence
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
from mqtt_contract.examples import examples_of, signed, signer_and_key
from mqtt_contract.meanings import EXPIRY, MEANINGS
from mqtt_contract.schemas import REASONS, definitions, fields_of, record_of

_TEMPLATE = Path(__file__).parent / "page.template"


def page() -> str:
    """The filled template."""
    _, key = signer_and_key()
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        version=VERSION,
        first=_json(encode(examples_of(Channel.EVENTS)[0].record)),
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
            definitions(channel)[record_of(channel)]["description"].partition(". ")[0].rstrip("."),
        )
    yield f"[`{_snapshot()}`](#snapshot)", SNAPSHOT_DELIVERY, EXPIRY["snapshot"], "The face of an event, as JPEG"
    yield f"[`{_repository()}`](#repo)", REPO_DELIVERY, "never", "The signed repository of people, rules and models"


def _row(topic: str, terms: DeliveryTerms, expiry: str, content: str) -> str:
    return f"| {topic} | {content} | {terms.qos} | {'yes' if terms.retained else 'no'} | {expiry} |\n"


def _section(channel: Channel) -> str:
    description = definitions(channel)[record_of(channel)]["description"]
    rows = [
        f"| `{field.name}` | {field.type} | {'yes' if field.required else 'no'} | {field.meaning} |\n"
        for field in fields_of(channel)
        if not field.name.startswith("dsse.")
    ]
    kinds = _kinds() if channel is Channel.EVENTS else _reasons(channel)
    examples = "".join(
        f"\n{example.title[:1].upper()}{example.title[1:]}:\n\n{_json(encode(example.record))}"
        for example in examples_of(channel)[channel is Channel.EVENTS :]  # the first event is at the top of the page
    )
    schema = f"[{channel}.json](../schemas/{channel}.json)"
    return (
        f"## `…/{channel}` {{ #{channel} }}\n\n{description} JSON Schema: {schema}.\n\n"
        f"| field | type | required | meaning |\n| --- | --- | --- | --- |\n{''.join(rows)}{kinds}{examples}"
    )


def _kinds() -> str:
    rows = [f"| `{kind}` | {MEANINGS[kind]} |\n" for kind in EventKind]
    codes = [
        f"| `{kind}` | `{code}` | {reason_sentence(code)} |\n"
        for kind, reasons in REASONS_BY_KIND.items()
        for code in reasons
    ]
    codes.append(f"| any | `{Reason.OTHER}` | {reason_sentence(Reason.OTHER)} |\n")
    return (
        f"\n| kind | meaning |\n| --- | --- |\n{''.join(rows)}"
        f"\n| kind | `reason` | meaning, and what to do |\n| --- | --- | --- |\n{''.join(codes)}"
    )


def _reasons(channel: Channel) -> str:
    """Table of the reason codes of a channel; "" if its messages have no reason."""
    rows = [f"| `{code}` | {reason_sentence(code)} |\n" for code in REASONS.get(channel, ())]
    if channel is Channel.CHALLENGE:
        rows = [f"| `{json.dumps(code)}` | {meaning} |\n" for code, meaning in CHALLENGE_FAILURES.items()]
    heading = "meaning" if channel is Channel.CHALLENGE else "meaning, and what to do"
    return f"\n| `reason` | {heading} |\n| --- | --- |\n{''.join(rows)}" if rows else ""


def _snapshot() -> str:
    return "…/" + Topics("", "").snapshot("<event id>").removeprefix("threshold///")


def _repository() -> str:
    return repo_topic("<site>", "<file>")


def _json(message: bytes) -> str:
    """One key per line; a door sends the message without spaces."""
    lines = [f'  "{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in json.loads(message).items()]
    return "```json\n{\n" + ",\n".join(lines) + "\n}\n```\n"
