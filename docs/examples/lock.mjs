// Example lock: opens once for each fresh open command of its door. node lock.mjs HOST TOPIC OPENED.txt [DOOR.signing.pub]
import { createPublicKey, verify } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import mqtt from "mqtt";

const [host, topic, file, pem] = process.argv.slice(2);
const key = pem === undefined ? undefined : createPublicKey(readFileSync(pem)); // an empty file name is an error
const kind = "application/vnd.threshold.open.v1+json";
const maxUnreadBytes = 256 * 1024; // of one packet and what arrives in the same read; an open command is much shorter
const opened = existsSync(file) ? readFileSync(file, "utf8").split("\n") : [];

/** The open command in a payload; with a key, the signed content after verification. */
function verified(payload) {
  const command = JSON.parse(payload);
  if (!key) return command;
  const body = Buffer.from(command.dsse.payload, "base64");
  const signed = Buffer.concat([Buffer.from(`DSSEv1 ${kind.length} ${kind} ${body.length} `), body]);
  if (!verify(null, signed, key, Buffer.from(command.dsse.signatures[0].sig, "base64"))) throw Error("wrong signature");
  return JSON.parse(body);
}

/** Store a mark of a handled command on disk, before the lock opens. */
function remember(mark) {
  opened.push(mark);
  writeFileSync(`${file}.new`, opened.slice(-1000).join("\n"), { flush: true });
  renameSync(`${file}.new`, file);
}

/** Id of the person to admit; any exception keeps the lock shut. */
function admitted(payload, packet) {
  const command = verified(payload);
  if (command.door !== topic.split("/")[2]) throw Error("command of another door");
  const left_s = (Date.parse(command.expires_at) - Date.now()) / 1000;
  const fresh = 0 < left_s && left_s < 10 && !packet.retain;
  // seq rises, so a command that was held back is rejected after a later one, regardless of the clock.
  const newest = Math.max(0, ...opened.filter((each) => /^\d+$/.test(each)).map(Number));
  if (key && !Number.isSafeInteger(command.seq)) throw Error("seq is not a whole number");
  const seen = key ? command.seq <= newest : opened.includes(String(command.id)); // unsigned: anybody could send a high seq
  if (seen) throw Error("seen before, or older than one seen before");
  if (key || fresh) remember(String(key ? command.seq : command.id));
  if (!fresh) throw Error(packet.retain ? "retained" : "not fresh");
  return String(command.person.id);
}

const client = mqtt.connect(`mqtt://${host}`); // or mqtts://, with { username, password, ca } as the broker requires
let unread = 0; // bytes since the last whole packet
client.on("packetreceive", () => (unread = 0));
client.on("connect", () => {
  client.stream.on("data", (bytes) => (unread += bytes.length) > maxUnreadBytes && client.stream.destroy());
  client.subscribe(topic, { qos: 1 }, () => console.log("listens"));
});
client.on("message", (_, payload, packet) => {
  try {
    console.log("opens for", admitted(payload, packet)); // switch the relay here, for some seconds
  } catch (why) {
    console.log("stays shut:", String(why));
  }
});
