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


def admitted(message):
    """The id of the opening and whom it lets in; anything raised keeps the lock shut."""
    said = json.loads(message.payload)
    if KEY:
        envelope = said["dsse"]
        body = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        KEY.verify(signature, b"DSSEv1 %d %b %d %b" % (len(KIND), KIND, len(body), body))
        said = json.loads(body)  # only this was signed
    left_s = datetime.fromisoformat(said["expires_at"]).timestamp() - time.time()
    faults = {
        "retained": message.retain,
        "of another door": said["door"] != TOPIC.split("/")[2],
        "not fresh": not 0 < left_s < 10,
        "seen before": said["id"] in opened,
    }
    if any(faults.values()):
        raise ValueError([fault for fault, found in faults.items() if found])
    return str(said["id"]), str(said["person"]["id"])


def on_message(client, _, message):
    try:
        number, person = admitted(message)
        opened.append(number)
        with open(f"{OPENED}.new", "w") as file:  # remembered before it opens
            file.write("\n".join(opened[-1000:]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{OPENED}.new", OPENED)
    except Exception as why:
        print("stays shut:", repr(why), flush=True)
    else:
        print("opens for", person, flush=True)  # here: the relay, for some seconds


opened = OPENED.read_text().split() if OPENED.exists() else []
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)  # client.tls_set(…), client.username_pw_set(…)
client.on_connect = lambda client, *_: client.subscribe(TOPIC, qos=1)
client.on_subscribe = lambda *_: print("listens", flush=True)
client.on_message = on_message
host, _, port = HOST.partition(":")
client.connect(host, int(port or 1883))
client.loop_forever()
