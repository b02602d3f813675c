"""A lock that opens once for each fresh message of its door: lock.py HOST TOPIC OPENED.txt [DOOR.signing.pub]"""

import base64
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

HOST, TOPIC, OPENED = sys.argv[1], sys.argv[2], Path(sys.argv[3])
KEY = load_pem_public_key(Path(sys.argv[4]).read_bytes()) if len(sys.argv) > 4 else None
KIND = b"application/vnd.threshold.open.v1+json"
MOST_BYTES = 8192  # of one packet; an opening is much shorter


class Client(mqtt.Client):
    def _sock_recv(self, bufsize):  # paho asks for the whole rest of a packet, so this is its length
        if bufsize > MOST_BYTES:
            raise ConnectionError("the broker sends more than an opening")
        return super()._sock_recv(bufsize)


def verified(payload):
    """What the door says; with a key, what it has signed."""
    said = json.loads(payload)
    if KEY:
        envelope = said["dsse"]
        body = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        KEY.verify(signature, b"DSSEv1 %d %b %d %b" % (len(KIND), KIND, len(body), body))
        said = json.loads(body)
    return said


def remember(mark):
    """On disk before the lock opens."""
    opened.append(mark)
    with open(f"{OPENED}.new", "w") as file:
        file.write("\n".join(opened[-1000:]))
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{OPENED}.new", OPENED)


def admitted(message):
    """Whom the message lets in; anything raised keeps the lock shut."""
    said = verified(message.payload)
    if said["door"] != TOPIC.split("/")[2]:
        raise ValueError("of another door")
    left_s = datetime.fromisoformat(said["expires_at"]).timestamp() - time.time()
    fresh = 0 < left_s < 10 and not message.retain
    if KEY:  # a door's numbers rise: one kept back is refused after a later one, whatever the clock shows by then
        mark, newest = str(int(said["seq"])), max((int(each) for each in opened if each.isdigit()), default=0)
        seen = int(mark) <= newest
    else:  # anybody could send a high number
        mark = str(said["id"])
        seen = mark in opened
    if seen:
        raise ValueError("seen before, or older than one that was")
    if KEY or fresh:
        remember(mark)
    if not fresh:
        raise ValueError("retained" if message.retain else "not fresh")
    return str(said["person"]["id"])


def on_message(client, _, message):
    try:
        person = admitted(message)
    except Exception as why:
        print("stays shut:", repr(why), flush=True)
    else:
        print("opens for", person, flush=True)  # here: the relay, for some seconds


opened = OPENED.read_text().split() if OPENED.exists() else []
client = Client(mqtt.CallbackAPIVersion.VERSION2)  # client.tls_set(…), client.username_pw_set(…)
client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
client.on_subscribe = lambda *_: print("listens", flush=True)
client.on_message = on_message
host, _, port = HOST.partition(":")
client.connect(host, int(port or 1883))
client.loop_forever()
