"""A door's signature on what it says: one more key, `dsse`, in the JSON of the channels in `DSSE_PAYLOAD_TYPES`.

Its value is a DSSE envelope (https://github.com/secure-systems-lab/dsse, version 1.0): an Ed25519 signature over the
exact bytes of the message without that key, which the envelope holds in base64, and over their type, so that an event
is no opening. It stands beside the plain fields rather than around them: whoever does not care about signatures reads
the same contract as before, over MQTT 3.1.1 too, and the locks of a site can go over to checking one by one.
`edge/events/verifier.py` is the other side.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from edge.core.config import MqttConfig
from edge.core.credentials import secret_file
from edge.core.errors import ConfigError
from edge.events.topics import Channel

DSSE_PAYLOAD_TYPES = {
    Channel.OPEN: "application/vnd.threshold.open.v1+json",
    Channel.EVENTS: "application/vnd.threshold.event.v1+json",
    Channel.RELEASE: "application/vnd.threshold.release.v1+json",
    Channel.STATUS: "application/vnd.threshold.status.v1+json",
    Channel.HEALTH: "application/vnd.threshold.health.v1+json",
}

Signer = Callable[[Channel, bytes], bytes]


def no_signature(_channel: Channel, payload: bytes) -> bytes:
    """The payload as it is: the seal of a door without a signing key."""
    return payload


def load_signer(config: MqttConfig) -> Signer:
    """What every payload of a door goes through just before it is published.

    Returns:
        A function from a channel and the JSON object for it to what is sent: signed where the channel has a payload
        type and the door a key, otherwise unchanged.

    Raises:
        ConfigError: `signing_key` is not the PEM file of an Ed25519 private key without a password.
    """
    if not config.signing_key:
        return no_signature
    # Only here: a door that does not sign shall not wait for these imports.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    path = secret_file(config.signing_key, "[mqtt] signing_key")
    remedy = "make one with  openssl genpkey -algorithm ed25519"
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm, OSError) as error:
        raise ConfigError(
            f"[mqtt] signing_key: {config.signing_key} is no PEM private key without a password; {remedy}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"[mqtt] signing_key: {config.signing_key} is no Ed25519 key; {remedy}")
    signer = CryptoSigner(key)

    def seal(channel: Channel, payload: bytes) -> bytes:
        if channel not in DSSE_PAYLOAD_TYPES:
            return payload
        envelope = Envelope(payload, DSSE_PAYLOAD_TYPES[channel], {})
        envelope.sign(signer)
        return payload[:-1] + b',"dsse":' + msgspec.json.encode(envelope.to_dict()) + b"}"

    return seal
