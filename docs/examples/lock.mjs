// A lock that opens once for each fresh message of its door: node lock.mjs HOST TOPIC OPENED.txt [DOOR.signing.pub]
import { createPublicKey, verify } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import mqtt from "mqtt";

const [host, topic, file, pem] = process.argv.slice(2);
const key = pem && createPublicKey(readFileSync(pem));
const kind = "application/vnd.threshold.open.v1+json";
const opened = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];

/** The id of the opening and whom it lets in; anything thrown keeps the lock shut. */
function admitted(payload, packet) {
  let said = JSON.parse(payload);
  if (key) {
    const body = Buffer.from(said.dsse.payload, "base64");
    const signed = Buffer.concat([Buffer.from(`DSSEv1 ${kind.length} ${kind} ${body.length} `), body]);
    if (!verify(null, signed, key, Buffer.from(said.dsse.signatures[0].sig, "base64"))) throw Error("forged");
    said = JSON.parse(body); // only this was signed
  }
  const left_s = (Date.parse(said.expires_at) - Date.now()) / 1000;
  if (packet.retain) throw Error("retained");
  if (said.door !== topic.split("/")[2]) throw Error("of another door");
  if (!(0 < left_s && left_s < 10)) throw Error("not fresh");
  if (opened.includes(String(said.id))) throw Error("seen before");
  return [String(said.id), String(said.person.id)];
}

const client = mqtt.connect(`mqtt://${host}`); // mqtts://, { username, password, ca } as the broker asks
client.on("connect", () => client.subscribe(topic, { qos: 1 }, () => console.log("listens")));
client.on("message", (_, payload, packet) => {
  try {
    const [id, person] = admitted(payload, packet);
    opened.push(id);
    writeFileSync(`${file}.new`, opened.slice(-1000).join("\n"), { flush: true }); // remembered before it opens
    renameSync(`${file}.new`, file);
    console.log("opens for", person); // here: the relay, for some seconds
  } catch (why) {
    console.log("stays shut:", String(why));
  }
});
