"""The contract as an AsyncAPI 3.0 document (https://www.asyncapi.com/docs/reference/specification/v3.0.0)."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from edge.events.schema import VERSION, encode
from edge.events.topics import (
    DELIVERY_TERMS,
    REPO_DELIVERY,
    SNAPSHOT_DELIVERY,
    Channel,
    DeliveryTerms,
    Topics,
    repo_topic,
)
from mqtt_contract.examples import examples_of
from mqtt_contract.meanings import EXPIRY
from mqtt_contract.schemas import Schema, definitions, record_of

_BINDING = "0.2.0"  # of AsyncAPI's binding to MQTT
_DIFFERING = ("Reason", "Envelope")
_DOOR = Topics("{site}", "{door}")
_JPEG: Schema = {"type": "string", "contentMediaType": "image/jpeg", "description": "A JPEG file."}
_FILE: Schema = {"description": "A file of a TUF repository, at most 128 KiB."}


def asyncapi() -> Schema:
    """The document; its application is the door, which sends messages and receives the repository."""
    schemas: Schema = {"Picture": _JPEG, "RepositoryFile": _FILE}
    channels: Schema = {}
    operations: Schema = {}
    messages: Schema = {}
    for channel in Channel:
        name, defined = record_of(channel), _moved(_renamed(definitions(channel), record_of(channel)))
        schemas |= defined
        examples = [
            {"name": f"{channel}{number}", "summary": example.title, "payload": _plain(example.record)}
            for number, example in enumerate(examples_of(channel), start=1)
        ]
        messages[name] = _message(name, defined[name]["description"]) | {"examples": examples}
        channels[channel] = _channel(_DOOR.topic_for(channel), ["site", "door"], name)
        operations[f"send-{channel}"] = _operation("send", channel, name, DELIVERY_TERMS[channel])
    picture = "The face of an event, sent after the event if `[snapshots] kinds` contains its kind."
    messages["Picture"] = _message("Picture", picture) | {"contentType": "image/jpeg"}
    channels["snapshot"] = _channel(_DOOR.snapshot("{event}"), ["site", "door", "event"], "Picture")
    operations["send-snapshot"] = _operation("send", "snapshot", "Picture", SNAPSHOT_DELIVERY)
    signed = "A file of the signed repository of people, rules and models. Every door verifies it."
    messages["RepositoryFile"] = _message("RepositoryFile", signed) | {"contentType": "application/octet-stream"}
    channels["repo"] = _channel(repo_topic("{site}", "{file}"), ["site", "file"], "RepositoryFile")
    operations["receive-repo"] = _operation("receive", "repo", "RepositoryFile", REPO_DELIVERY)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Threshold",
            "version": f"{VERSION}.0.0",
            "description": "Messages of a door with face recognition, from the point of view of the door.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "broker.example.org:8883",
                "protocol": "secure-mqtt",
                "protocolVersion": "5",
                "description": "Any MQTT 5 or 3.1.1 broker; `[mqtt] url` of door.toml.",
                "security": [{"$ref": "#/components/securitySchemes/certificate"}],
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "securitySchemes": {
                "certificate": {"type": "X509", "description": "One certificate per door; a password is possible, too."}
            },
            "parameters": {
                "site": {"description": "Name of the site; its doors share one repository."},
                "door": {"description": "Name of the door, unique within its site; never `repo`."},
                "event": {"description": "`id` of the event that the picture shows."},
                "file": {"description": "Name of the file, such as `timestamp.json`."},
            },
            "messages": messages,
            "schemas": schemas,
        },
    }


def _channel(address: str, parameters: list[str], message: str) -> Schema:
    return {
        "address": address,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters},
    }


def _message(name: str, description: str) -> Schema:
    payload = {"$ref": f"#/components/schemas/{name}"}
    return {"name": name, "title": name, "description": description, "payload": payload}


def _operation(action: str, channel: str, message: str, terms: DeliveryTerms) -> Schema:
    mqtt: Schema = {"qos": terms.qos, "retain": terms.retained, "bindingVersion": _BINDING}
    if channel in EXPIRY:
        mqtt["messageExpiryInterval"] = {
            "type": "integer",
            "minimum": 1,
            "description": f"Seconds; the message expires {EXPIRY[channel]}.",
        }
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
        "bindings": {"mqtt": mqtt},
    }


def _plain(record: object) -> Any:
    """The message as a decoded JSON value."""
    return msgspec.json.decode(encode(record))  # type: ignore[arg-type]


def _renamed(defined: dict[str, Schema], record: str) -> dict[str, Schema]:
    """The schemas of a channel; those that differ between channels get the name of the message in front."""
    text = json.dumps(defined)
    for name in _DIFFERING:
        text = text.replace(f'"#/$defs/{name}"', f'"#/$defs/{record}{name}"')
    return {f"{record}{name}" if name in _DIFFERING else name: one for name, one in json.loads(text).items()}


def _moved(schema: Any) -> Any:
    """The schema with references to the place of schemas in AsyncAPI. Keys next to a reference would be ignored."""
    if isinstance(schema, list):
        return [_moved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" not in schema:
        return {key: _moved(value) for key, value in schema.items()}
    reference = {"$ref": schema["$ref"].replace("#/$defs/", "#/components/schemas/")}
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return {"allOf": [reference], **beside} if beside else reference
