// A lock that opens once for each fresh message of its door: node lock.mjs HOST TOPIC OPENED.txt [DOOR.signing.pub]
import { createPublicKey, verify } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import mqtt from "mqtt";

const [host, topic, file, pem] = process.argv.slice(2);
const key = pem === undefined ? undefined : createPublicKey(readFileSync(pem)); // an empty name is an error
const kind = "application/vnd.threshold.open.v1+json";
const mostBytes = 256 * 1024; // of one packet, and what comes with it in one read; an opening is much shorter
const opened = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];

/** What the door says; with a key, what it has signed. */
function verified(payload) {
  const said = JSON.parse(payload);
  if (!key) return said;
  const body = Buffer.from(said.dsse.payload, "base64");
  const signed = Buffer.concat([Buffer.from(`DSSEv1 ${kind.length} ${kind} ${body.length} `), body]);
  if (!verify(null, signed, key, Buffer.from(said.dsse.signatures[0].sig, "base64"))) throw Error("forged");
  return JSON.parse(body);
}

/** On disk before the lock opens. */
function remember(mark) {
  opened.push(mark);
  writeFileSync(`${file}.new`, opened.slice(-1000).join("\n"), { flush: true });
  renameSync(`${file}.new`, file);
}

/** Whom the message lets in; anything thrown keeps the lock shut. */
function admitted(payload, packet) {
  const said = verified(payload);
  if (said.door !== topic.split("/")[2]) throw Error("of another door");
  const left_s = (Date.parse(said.expires_at) - Date.now()) / 1000;
  const fresh = 0 < left_s && left_s < 10 && !packet.retain;
  // A door's numbers rise: one kept back is refused after a later one, whatever the clock shows by then.
  const newest = Math.max(0, ...opened.filter((each) => /^\d+$/.test(each)).map(Number));
  if (key && !Number.isSafeInteger(said.seq)) throw Error("no number");
  const seen = key ? said.seq <= newest : opened.includes(String(said.id)); // without: anybody could send a high number
  if (seen) throw Error("seen before, or older than one that was");
  if (key || fresh) remember(String(key ? said.seq : said.id));
  if (!fresh) throw Error(packet.retain ? "retained" : "not fresh");
  return String(said.person.id);
}

const client = mqtt.connect(`mqtt://${host}`); // mqtts://, { username, password, ca } as the broker asks
let unread = 0; // bytes since the last whole packet
client.on("packetreceive", () => (unread = 0));
client.on("connect", () => {
  client.stream.on("data", (bytes) => (unread += bytes.length) > mostBytes && client.stream.destroy());
  client.subscribe(topic, { qos: 1 }, () => console.log("listens"));
});
client.on("message", (_, payload, packet) => {
  try {
    console.log("opens for", admitted(payload, packet)); // here: the relay, for some seconds
  } catch (why) {
    console.log("stays shut:", String(why));
  }
});
