"""Signs messages: adds the key `dsse` to the JSON of the channels in `DSSE_PAYLOAD_TYPES`.

Its value is a DSSE 1.0 envelope (https://github.com/secure-systems-lab/dsse). The envelope holds the exact bytes of the
message without that key, in base64, and an Ed25519 signature over these bytes and their type. So an event cannot be
used as an open command. The plain fields stay, so that consumers may ignore the signature, and the locks of a site can
start to verify one by one. `edge/events/verifier.py` verifies.
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
    """Return the payload as it is, for a door without a signing key."""
    return payload


def load_signer(config: MqttConfig) -> Signer:
    """Load the door's signing key.

    Returns:
        A function from a channel and a JSON object to the payload to publish: signed if the channel has a payload type
        and the door a key, otherwise unchanged.

    Raises:
        ConfigError: `signing_key` is not the PEM file of an Ed25519 private key without a password.
    """
    if not config.signing_key:
        return no_signature
    # Imported only if the door signs, because the imports take time.
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
            f"[mqtt] signing_key: {config.signing_key} is not a PEM private key without a password; {remedy}"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"[mqtt] signing_key: {config.signing_key} is not an Ed25519 key; {remedy}")
    signer = CryptoSigner(key)

    def sign(channel: Channel, payload: bytes) -> bytes:
        if channel not in DSSE_PAYLOAD_TYPES:
            return payload
        envelope = Envelope(payload, DSSE_PAYLOAD_TYPES[channel], {})
        envelope.sign(signer)
        return payload[:-1] + b',"dsse":' + msgspec.json.encode(envelope.to_dict()) + b"}"

    return sign
