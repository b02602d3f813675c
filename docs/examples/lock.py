"""Example lock: opens once for each fresh open command of its door. lock.py HOST TOPIC OPENED.txt [DOOR.signing.pub]"""

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
MAX_PACKET_BYTES = 8192  # an open command is much shorter


class Client(mqtt.Client):
    def _sock_recv(self, bufsize):  # paho requests the whole rest of a packet: its length
        if bufsize > MAX_PACKET_BYTES:
            raise ConnectionError(f"packet of {bufsize} bytes from the broker; at most {MAX_PACKET_BYTES} are accepted")
        return super()._sock_recv(bufsize)


def verified(payload):
    """The open command in a payload; with KEY, the signed content after verification."""
    command = json.loads(payload)
    if KEY:
        envelope = command["dsse"]
        body = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        KEY.verify(signature, b"DSSEv1 %d %b %d %b" % (len(KIND), KIND, len(body), body))
        command = json.loads(body)
    return command


def remember(mark):
    """Store a mark of a handled command on disk, before the lock opens."""
    opened.append(mark)
    with open(f"{OPENED}.new", "w") as file:
        file.write("\n".join(opened[-1000:]))
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{OPENED}.new", OPENED)


def admitted(message):
    """Id of the person to admit; any exception keeps the lock shut."""
    command = verified(message.payload)
    if command["door"] != TOPIC.split("/")[2]:
        raise ValueError("command of another door")
    left_s = datetime.fromisoformat(command["expires_at"]).timestamp() - time.time()
    fresh = 0 < left_s < 10 and not message.retain
    if KEY:  # seq rises, so a command that was held back is rejected after a later one, regardless of the clock
        mark, newest = str(int(command["seq"])), max((int(each) for each in opened if each.isdigit()), default=0)
        seen = int(mark) <= newest
    else:  # unsigned: anybody could send a high seq
        mark = str(command["id"])
        seen = mark in opened
    if seen:
        raise ValueError("seen before, or older than one seen before")
    if KEY or fresh:
        remember(mark)
    if not fresh:
        raise ValueError("retained" if message.retain else "not fresh")
    return str(command["person"]["id"])


def on_message(client, _, message):
    try:
        person = admitted(message)
    except Exception as why:
        print("stays shut:", repr(why), flush=True)
    else:
        print("opens for", person, flush=True)  # switch the relay here, for some seconds


opened = OPENED.read_text().split() if OPENED.exists() else []
client = Client(mqtt.CallbackAPIVersion.VERSION2)  # client.tls_set(…), client.username_pw_set(…)
client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
client.on_subscribe = lambda *_: print("listens", flush=True)
client.on_message = on_message
host, _, port = HOST.partition(":")
client.connect(host, int(port or 1883))
client.loop_forever()
