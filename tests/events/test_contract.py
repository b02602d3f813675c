"""Contract documents: made from the types, true for messages of a real door, and valid for other validators."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import contract
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jsonschema import Draft7Validator, Draft202012Validator
from mqtt_contract.asyncapi import asyncapi
from mqtt_contract.examples import EXAMPLES, Example, examples_of, signed, signer_and_key
from mqtt_contract.meanings import EXPIRY, MEANINGS
from mqtt_contract.schemas import fields_of, record_of, schema_of
from support import npm
from support.mqtt_brokers import DOOR, IDS, T0_NS, needs_mosquitto
from support.sample_records import FRONT, PICTURE, ReceivedMessage, receive_all_records
from support.signing_keys import KEY

from edge.core.config import DoorConfig
from edge.core.errors import ExpectationError
from edge.core.reasons import Reason
from edge.events.factory import system_event
from edge.events.reasons import REASONS_BY_KIND
from edge.events.schema import ACCESS_KINDS, Event, EventKind, encode
from edge.events.signing import DSSE_PAYLOAD_TYPES
from edge.events.topics import DELIVERY_TERMS, SNAPSHOT_DELIVERY, Channel, Topics
from edge.events.verifier import OPEN, load_key, verify_signature

ALL = [
    pytest.param(channel, example, id=f"{channel}: {example.title}")
    for channel in EXAMPLES
    for example in EXAMPLES[channel]
]


def validator(channel: Channel) -> Draft202012Validator:
    return Draft202012Validator(schema_of(channel), format_checker=Draft202012Validator.FORMAT_CHECKER)


def faults(channel: Channel, message: bytes) -> list[str]:
    return [error.message for error in validator(channel).iter_errors(json.loads(message))]


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> list[ReceivedMessage]:
    """All messages of a door that signs."""
    folder = tmp_path_factory.mktemp("everything")
    key = folder / "signing.key"
    key.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return receive_all_records(folder, str(key))


# The documents


def test_outdated_document_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contract, "DOCS", tmp_path)
    contract.main([])
    contract.main(["--check"])
    stale = tmp_path / "schemas" / "open.json"
    stale.write_text(stale.read_text().replace("1", "2"))
    with pytest.raises(ExpectationError, match=r"open\.json: out of date"):
        contract.main(["--check"])


def test_channel_without_an_example_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(EXAMPLES, Channel.OPEN)
    with pytest.raises(ExpectationError, match="no example of a message on …/open"):
        examples_of(Channel.OPEN)


@pytest.mark.parametrize("channel", list(Channel))
def test_every_field_has_a_meaning(channel: Channel) -> None:
    assert [field.name for field in fields_of(channel) if not field.meaning] == []


def test_every_kind_of_event_has_a_meaning() -> None:
    assert set(MEANINGS) == set(EventKind)


# The schemas


@pytest.mark.parametrize("channel", list(Channel))
def test_schemas_are_valid(channel: Channel) -> None:
    """By the meta-schema of JSON Schema 2020-12."""
    Draft202012Validator.check_schema(schema_of(channel))


@pytest.mark.parametrize(("channel", "example"), ALL)
def test_examples_are_valid(channel: Channel, example: Example) -> None:
    assert faults(channel, encode(example.record)) == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(kind, reason) for kind, reasons in REASONS_BY_KIND.items() if kind not in ACCESS_KINDS for reason in reasons],
)
def test_system_events_are_valid(kind: EventKind, reason: Reason) -> None:
    event = system_event(kind, reason, id=IDS.new(T0_NS // 10**6), at_ns=T0_NS, door=DOOR)
    assert faults(Channel.EVENTS, encode(event)) == []


def test_wrong_messages_are_invalid() -> None:
    opening = json.loads(encode(examples_of(Channel.OPEN)[0].record))
    wrong: list[dict[str, Any]] = [
        {"v": 2},
        {"at": "yesterday"},
        {"seq": -1},
        {"person": None},
        {
            "dsse": {
                "payload": "e30=",
                "payloadType": DSSE_PAYLOAD_TYPES[Channel.EVENTS],
                "signatures": [{"keyid": "", "sig": ""}],
            }
        },
        {"dsse": {"payload": "e30=", "payloadType": DSSE_PAYLOAD_TYPES[Channel.OPEN], "signatures": []}},
    ]
    assert all(faults(Channel.OPEN, json.dumps(opening | change).encode()) for change in wrong)
    del opening["expires_at"]
    assert faults(Channel.OPEN, json.dumps(opening).encode()) == ["'expires_at' is a required property"]


def test_signed_example_matches_its_key() -> None:
    _, pem = signer_and_key()
    assert verify_signature(signed(Channel.OPEN), load_key(pem.encode()), OPEN)["person"]["id"] == "ada-lovelace"


def test_distances_have_different_descriptions() -> None:
    said = {field.name: field.meaning for field in fields_of(Channel.EVENTS) if field.name.endswith("_sq")}
    assert set(said) == {"distance_sq", "threshold_sq", "runner_up_sq"}
    assert len(set(said.values())) == 3
    assert "stricter" in said["threshold_sq"]


def test_examples_look_like_real_messages() -> None:
    """A gallery version is a SHA-256, and numbers need more than 32 bits."""
    event = examples_of(Channel.EVENTS)[0].record
    assert isinstance(event, Event)
    assert event.seq > 2**32
    assert event.gallery is not None
    assert re.fullmatch(r"[0-9a-f]{64}", event.gallery.version)


def test_configuration_tables_on_the_page_exist() -> None:
    page = (contract.DOCS / "reference/mqtt.md").read_text()
    known = {field.encode_name for field in msgspec.structs.fields(DoorConfig)}
    assert set(re.findall(r"`\[(\w+)\]", page)) <= known


# What a door really sends


@needs_mosquitto
def test_messages_of_a_door_match_their_schemas(received: list[ReceivedMessage]) -> None:
    """Valid, and without fields that the schema does not have."""
    channels = set()
    for message in received:
        found = Topics.parse(message.topic)
        if found is None:
            continue
        _, channel = found
        channels.add(channel)
        assert faults(channel, message.payload) == []
        known = {field.name.split(".")[0] for field in fields_of(channel)}
        assert set(json.loads(message.payload)) <= known
    assert channels == set(Channel)


@needs_mosquitto
def test_signed_and_unsigned_channels(received: list[ReceivedMessage]) -> None:
    for message in received:
        found = Topics.parse(message.topic)
        if found is not None and found[1] in DSSE_PAYLOAD_TYPES:
            assert verify_signature(message.payload, KEY.public_key(), DSSE_PAYLOAD_TYPES[found[1]])["v"] == 1
        else:
            assert b"dsse" not in message.payload


@needs_mosquitto
def test_qos_retain_flag_and_expiry(received: list[ReceivedMessage]) -> None:
    """As documented for each topic."""
    for message in received:
        found = Topics.parse(message.topic)
        terms = SNAPSHOT_DELIVERY if found is None else DELIVERY_TERMS[found[1]]
        assert (message.qos, message.retained) == (terms.qos, terms.retained), message.topic
        assert (message.expiry_s is not None) == (message.topic.split("/")[3] in EXPIRY), message.topic
    pictures = [message.payload for message in received if FRONT.split_snapshot(message.topic)]
    assert pictures == [PICTURE]


# AsyncAPI


def test_every_topic_and_record_is_in_the_asyncapi_document() -> None:
    document = asyncapi()
    assert set(document["channels"]) == {*Channel, "snapshot", "repo"}
    assert document["channels"]["open"]["address"] == "threshold/{site}/{door}/open"
    assert document["operations"]["send-status"]["bindings"]["mqtt"] == {
        "qos": 1,
        "retain": True,
        "bindingVersion": "0.2.0",
    }


def test_examples_are_valid_in_the_asyncapi_document() -> None:
    """AsyncAPI 3.0 reads schemas as JSON Schema draft 7."""
    document = asyncapi()
    for message in document["components"]["messages"].values():
        check = Draft7Validator(message["payload"] | {"components": document["components"]})
        for example in message.get("examples", []):
            assert [error.message for error in check.iter_errors(example["payload"])] == []
            assert list(check.iter_errors(example["payload"] | {"v": 2}))


@pytest.mark.parametrize("channel", list(DSSE_PAYLOAD_TYPES))
def test_signed_message_is_valid_in_the_asyncapi_document(channel: Channel) -> None:
    """Each message has a payload type of its own."""
    document = asyncapi()
    payload = document["components"]["messages"][record_of(channel)]["payload"]
    check = Draft7Validator(payload | {"components": document["components"]})
    message = json.loads(signed(channel))
    assert [error.message for error in check.iter_errors(message)] == []
    message["dsse"]["payloadType"] = "another"
    assert list(check.iter_errors(message))


def test_page_begins_with_a_subscription_an_event_and_the_topics() -> None:
    page = contract.files()["reference/mqtt.md"]
    parts = [page.index(part) for part in ("mosquitto_sub", '"kind": "door-open"', "| topic |", "## `…/events`")]
    assert parts == sorted(parts)
    assert page.count('"kind": "door-open"') == 1


def test_page_marks_fields_that_may_be_missing() -> None:
    """Fields added after the first version, and the signature."""
    missing = {field.name for field in fields_of(Channel.EVENTS) if not field.required}
    assert missing == {"dropped", "liveness", "detail", "dsse"}
    page = contract.files()["reference/mqtt.md"]
    assert "| `reason` | a code listed below | yes |" in page
    assert "| `detail` | text or null | no |" in page


@pytest.mark.slow
@pytest.mark.network
def test_asyncapi_parser_accepts_the_document(tmp_path: Path) -> None:
    """The published parser with all its rules, and the JSON Schema in it."""
    folder = npm.packages("@asyncapi/parser@3")
    shutil.copy(Path(__file__).parents[1] / "data" / "asyncapi.mjs", folder)

    def objections(document: str) -> list[str]:
        path = tmp_path / "asyncapi.json"
        path.write_text(document)
        command = ["node", "asyncapi.mjs", str(path)]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        return said.splitlines()

    document = contract.DOCS.joinpath("asyncapi.json").read_text()
    assert objections(document) == []
    assert objections(document.replace('"qos": 1', '"qos": 3'))
