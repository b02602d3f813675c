"""JSON Schemas (2020-12) of what each channel carries, made from the types that the door itself encodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from edge.core.reasons import Reason
from edge.events.reasons import REASONS_BY_KIND, RELEASE_REASONS, STATUS_REASONS, reason_sentence
from edge.events.schema import VERSION, schemas
from edge.events.signing import DSSE_PAYLOAD_TYPES
from edge.events.topics import Channel

Schema: TypeAlias = dict[str, Any]  # JSON Schema is JSON
# Codes of `reason` by channel.
REASONS: dict[Channel, tuple[Reason, ...]] = {
    Channel.EVENTS: (*(code for codes in REASONS_BY_KIND.values() for code in codes), Reason.OTHER),
    Channel.STATUS: STATUS_REASONS,
    Channel.RELEASE: RELEASE_REASONS,
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BASE64 = Meta(pattern=r"^[A-Za-z0-9+/]*={0,2}$", extra_json_schema={"contentEncoding": "base64"})


class Signature(msgspec.Struct, frozen=True):
    """One signature of the envelope."""

    keyid: Annotated[str, Meta(description="a hint which key it was; do not rely on it")]
    sig: Annotated[str, _BASE64, Meta(description="Ed25519, over the type and the payload (DSSE's PAE), base64")]


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """A DSSE 1.0 envelope, where the door signs: the same message again, with a signature."""

    payload: Annotated[str, _BASE64, Meta(description="the exact bytes that were signed, base64")]
    payload_type: Annotated[str, Meta(description="what was signed, so that an event is no opening")]
    signatures: Annotated[list[Signature], Meta(min_length=1, description="one is enough")]


def record_of(channel: Channel) -> str:
    """The name of what a channel carries, such as Event."""
    return _name(schemas()[channel])


def _name(schema: Schema) -> str:
    reference: str = schema["$ref"]
    return reference.rpartition("/")[2]


def definitions(channel: Channel) -> dict[str, Schema]:
    """The schema of every type that a channel carries, by name; they refer to each other as #/$defs/NAME."""
    defined = {name: _tidy(schema) for name, schema in schemas()[channel]["$defs"].items()}
    if "Reason" in defined:
        defined["Reason"] = _listed(defined["Reason"], REASONS[channel])
    if channel in DSSE_PAYLOAD_TYPES:
        defined |= {name: _tidy(schema) for name, schema in msgspec.json.schema(Envelope)["$defs"].items()}
        kind = defined["Envelope"]["properties"]["payloadType"] | {"const": DSSE_PAYLOAD_TYPES[channel]}
        defined["Envelope"]["properties"]["payloadType"] = kind
        defined[record_of(channel)]["properties"]["dsse"] = {"$ref": "#/$defs/Envelope"}
    return defined


def schema_of(channel: Channel) -> Schema:
    """A schema that stands alone."""
    return {
        "$schema": _DIALECT,
        "$id": f"urn:threshold:mqtt:v{VERSION}:{channel}",
        "$ref": f"#/$defs/{record_of(channel)}",
        "$defs": definitions(channel),
    }


def fields_of(channel: Channel) -> Iterator[tuple[str, str, str]]:
    """Every field: its name (`person.id`, `stages.*.runs`), its type in words, its meaning ("" where none is given)."""
    defined = definitions(channel)
    yield from _fields(defined[record_of(channel)], defined, "")


def _fields(owner: Schema, defined: dict[str, Schema], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, schema in owner["properties"].items():
        yield prefix + name, _words(schema, defined), _meaning(schema, defined)
        for suffix, inner in _objects(schema, defined):
            yield from _fields(inner, defined, f"{prefix}{name}{suffix}.")


def _listed(enum: Schema, reasons: Iterable[Reason]) -> Schema:
    """The schema of an enum with the codes of one channel, each with its meaning."""
    codes = [{"const": code.value, "description": reason_sentence(code)} for code in reasons]
    return {key: value for key, value in enum.items() if key != "enum"} | {"type": "string", "oneOf": codes}


def _alternatives(schema: Schema) -> list[Schema]:
    return [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]


def _resolved(schema: Schema, defined: dict[str, Schema]) -> Schema:
    return defined[_name(schema)] if "$ref" in schema else schema


def _objects(schema: Schema, defined: dict[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """The objects with fields of their own within a field, and how a path says so."""
    for each in _alternatives(schema):
        here = _resolved(each, defined)
        if "properties" in here:
            yield "", here
        elif isinstance(here.get("additionalProperties"), dict):
            yield from ((f".*{deeper}", inner) for deeper, inner in _objects(here["additionalProperties"], defined))
        elif "items" in here:
            yield from ((f"[]{deeper}", inner) for deeper, inner in _objects(here["items"], defined))


def _words(schema: Schema, defined: dict[str, Schema]) -> str:
    named = [_resolved(each, defined) for each in _alternatives(schema)]
    words = [_type(each, defined) for each in named]
    return " or ".join(words + ["null"] * any(each.get("type") == "null" for each in schema.get("anyOf", [])))


def _type(schema: Schema, defined: dict[str, Schema]) -> str:
    if "enum" in schema:
        few = len(schema["enum"]) <= 6
        return ", ".join(f"`{each}`" for each in schema["enum"]) if few else "one of those below"
    if "oneOf" in schema:
        return "a code of those below"
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_words(schema['items'], defined)}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"name to {_words(schema['additionalProperties'], defined)}"
    if schema.get("format") == "date-time":
        return "time"
    limits = [f"{sign} {schema[key]:g}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    names = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true or false"}
    return " ".join([names.get(schema["type"], "object"), ", ".join(limits)]).strip()


def _meaning(schema: Schema, defined: dict[str, Schema]) -> str:
    for each in (schema, *_alternatives(schema)):
        meaning: str = each.get("description") or _resolved(each, defined).get("description", "")
        if meaning:
            return re.sub(r"\.$", "", meaning)
    return ""


def _tidy(schema: Any) -> Any:
    """Docstrings without their line breaks."""
    if isinstance(schema, dict):
        return {
            key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _tidy(value)
            for key, value in schema.items()
        }
    return [_tidy(each) for each in schema] if isinstance(schema, list) else schema
