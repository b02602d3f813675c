"""JSON Schemas (2020-12) of each channel, made from the types that doors encode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from edge.core.reasons import Reason
from edge.events.reasons import CHALLENGE_FAILURES, REASONS_BY_KIND, RELEASE_REASONS, STATUS_REASONS, reason_sentence
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
    """A signature of the envelope."""

    keyid: Annotated[str, Meta(description="key hint; do not rely on it")]
    sig: Annotated[str, _BASE64, Meta(description="signature of type and payload (Ed25519, PAE of DSSE), base64")]


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """DSSE 1.0 envelope with the signed message, only if the door signs."""

    payload: Annotated[str, _BASE64, Meta(description="signed bytes, base64")]
    payload_type: Annotated[str, Meta(description="type of the message, which the signature covers, too")]
    signatures: Annotated[list[Signature], Meta(min_length=1, description="signatures; one valid one is enough")]


def record_of(channel: Channel) -> str:
    """Name of the type that a channel carries, such as Event."""
    return _name(schemas()[channel])


def _name(schema: Schema) -> str:
    reference: str = schema["$ref"]
    return reference.rpartition("/")[2]


def definitions(channel: Channel) -> dict[str, Schema]:
    """Schemas of all types of a channel, by name; they refer to each other as #/$defs/NAME."""
    defined = {name: _tidy(schema) for name, schema in schemas()[channel]["$defs"].items()}
    if "Reason" in defined:
        defined["Reason"] = _listed(defined["Reason"], {code: reason_sentence(code) for code in REASONS[channel]})
    if "ChallengeFailure" in defined:
        defined["ChallengeFailure"] = _listed(defined["ChallengeFailure"], CHALLENGE_FAILURES)
    if channel in DSSE_PAYLOAD_TYPES:
        defined |= {name: _tidy(schema) for name, schema in msgspec.json.schema(Envelope)["$defs"].items()}
        kind = defined["Envelope"]["properties"]["payloadType"] | {"const": DSSE_PAYLOAD_TYPES[channel]}
        defined["Envelope"]["properties"]["payloadType"] = kind
        defined[record_of(channel)]["properties"]["dsse"] = {"$ref": "#/$defs/Envelope"}
    return defined


def schema_of(channel: Channel) -> Schema:
    """Self-contained schema of a channel."""
    return {
        "$schema": _DIALECT,
        "$id": f"urn:threshold:mqtt:v{VERSION}:{channel}",
        "$ref": f"#/$defs/{record_of(channel)}",
        "$defs": definitions(channel),
    }


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message, in words."""

    name: str  # path, such as `person.id` or `stages.*.runs`
    type: str
    required: bool  # within its object
    meaning: str  # "": none is given


def fields_of(channel: Channel) -> Iterator[Field]:
    """All fields of a channel, the fields of nested objects after their object."""
    defined = definitions(channel)
    yield from _fields(defined[record_of(channel)], defined, "")


def _fields(owner: Schema, defined: dict[str, Schema], prefix: str) -> Iterator[Field]:
    for name, schema in owner["properties"].items():
        required = name in owner.get("required", ())
        yield Field(prefix + name, _words(schema, defined), required, _meaning(schema, defined))
        for suffix, inner in _objects(schema, defined):
            yield from _fields(inner, defined, f"{prefix}{name}{suffix}.")


def _listed(enum: Schema, meanings: Mapping[Any, str]) -> Schema:
    """The schema of an enum with a meaning for each of these members."""
    codes = [{"const": code.value, "description": meaning} for code, meaning in meanings.items()]
    return {key: value for key, value in enum.items() if key != "enum"} | {"type": "string", "oneOf": codes}


def _alternatives(schema: Schema) -> list[Schema]:
    return [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]


def _resolved(schema: Schema, defined: dict[str, Schema]) -> Schema:
    return defined[_name(schema)] if "$ref" in schema else schema


def _objects(schema: Schema, defined: dict[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """The objects within a field, each with the suffix that its path gets."""
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
        return ", ".join(f"`{each}`" for each in schema["enum"]) if few else "a kind listed below"
    if "oneOf" in schema:
        return "a code listed below"
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
            return re.sub(r"^[A-Z](?=[a-z ])", lambda first: first[0].lower(), meaning.removesuffix("."))
    return ""


def _tidy(schema: Any) -> Any:
    """The schema with every description on one line."""
    if isinstance(schema, dict):
        return {
            key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _tidy(value)
            for key, value in schema.items()
        }
    return [_tidy(each) for each in schema] if isinstance(schema, list) else schema
