import assert from "node:assert/strict";
import fc from "fast-check";
import {
  decodeControl,
  encodeControl,
  MAX_MESSAGE_BYTES,
} from "../../../../plugins/ws-agent/control/codec.ts";
import { ControlFault } from "../../../../plugins/ws-agent/control/fault.ts";
import type { ControlMessage, ServiceProtocol } from "../../../../plugins/ws-agent/control/messages.ts";
import { A, A_HEX, B_HEX, bytesOf, SAMPLES } from "./samples.ts";

for (const { hex, message } of SAMPLES) {
  Deno.test(`${message.type} is ${hex.slice(0, 40)}`, () => {
    const bytes = bytesOf(hex);
    assert.equal(encodeControl(message).toHex(), bytes.toHex());
    assert.deepEqual(decodeControl(bytes), message);
  });
  Deno.test(`decodeControl() refuses ${message.type} at every cut, and with a byte more`, () => {
    const bytes = bytesOf(hex);
    for (let cut = 0; cut < bytes.length; cut++) {
      assert.throws(() => decodeControl(bytes.subarray(0, cut)), { name: "ControlFault", code: "truncated" });
      const inside = bytes.slice(0, cut);
      if (cut < 5) continue;
      new DataView(inside.buffer).setUint32(1, cut - 5); // as if it were whole
      assert.throws(() => decodeControl(inside), { name: "ControlFault", code: "malformed" }, `cut ${cut}`);
    }
    const longer = Uint8Array.of(...bytes, 0);
    assert.throws(() => decodeControl(longer), { name: "ControlFault", code: "malformed" });
    new DataView(longer.buffer).setUint32(1, longer.length - 5);
    assert.throws(() => decodeControl(longer), { name: "ControlFault", code: "malformed" });
  });
}

Deno.test("every type has a sample", () => {
  assert.equal(new Set(SAMPLES.map(({ message }) => message.type)).size, 19);
});

const json = (text: string) => {
  const payload = new TextEncoder().encode(text);
  return `${payload.length.toString(16).padStart(8, "0")} ${payload.toHex()}`;
};

const BAD: readonly [what: string, hex: string, code: string, message?: RegExp][] = [
  ["an unknown type", "50 00000000", "unknown_type"],
  ["type 0", "00 00000000", "unknown_type"],
  ["a payload over the limit", "03 0000fffc", "too_long"],
  ["a payload of 4 GiB", "03 ffffffff", "too_long"],
  ["a token that is no UTF-8", `01 00000013 0001 ff ${A_HEX}`, "malformed"],
  ["a token cut inside a character", `01 00000013 0001 c3 ${A_HEX}`, "malformed"],
  ["a surrogate in UTF-8", "03 00000005 0003 eda080", "malformed"],
  ["a protocol that is not known", "10 00000009 03 737368 02 0016 08ae", "malformed"],
  ["a time over 2⁵³", "30 00000008 0020000000000000", "malformed"],
  ["the greatest time", "30 00000008 ffffffffffffffff", "malformed"],
  ["a reason that overruns", `22 00000016 ${B_HEX} 0005 646f776e`, "malformed"],
  ["no JSON", `13 ${json("{")}`, "malformed", /no JSON/],
  ["an empty payload", "13 00000000", "malformed", /no JSON/],
  ["a byte order mark", `13 ${json('\ufeff{"name":"a","protocol":"tcp"}')}`, "malformed", /no JSON/],
  ["JSON that is no UTF-8", "13 00000001 ff", "malformed"],
  ["null", `13 ${json("null")}`, "malformed", /shape/],
  ["a list", `13 ${json("[]")}`, "malformed", /shape/],
  ["no name", `13 ${json('{"protocol":"tcp"}')}`, "malformed", /name/],
  ["an empty name", `13 ${json('{"name":"","protocol":"tcp"}')}`, "malformed", /name/],
  ["a name over 255", `13 ${json(`{"name":"${"x".repeat(256)}","protocol":"tcp"}`)}`, "malformed", /name/],
  ["an unknown protocol", `13 ${json('{"name":"a","protocol":"sctp"}')}`, "malformed", /protocol/],
  ["a null hostname", `13 ${json('{"name":"a","protocol":"tcp","hostname":null}')}`, "malformed", /hostname/],
  ["port 65536", `13 ${json('{"name":"a","protocol":"tcp","remotePort":65536}')}`, "malformed", /remotePort/],
  ["port -1", `13 ${json('{"name":"a","protocol":"tcp","remotePort":-1}')}`, "malformed", /remotePort/],
  ["port 1.5", `13 ${json('{"name":"a","protocol":"tcp","remotePort":1.5}')}`, "malformed", /remotePort/],
  [
    "a port in quotes",
    `13 ${json('{"name":"a","protocol":"tcp","remotePort":"1"}')}`,
    "malformed",
    /remotePort/,
  ],
  ["private: 1", `13 ${json('{"name":"a","protocol":"tcp","private":1}')}`, "malformed", /private/],
  [
    "more than 8 KiB of JSON",
    `13 ${json(`{"name":"a","protocol":"tcp","x":"${"y".repeat(8192)}"}`)}`,
    "malformed",
    /8192/,
  ],
  ["deep JSON", `13 ${json("[".repeat(8000))}`, "malformed", /no JSON/],
  [
    "a service id that is none",
    `14 ${json('{"serviceId":"1","name":"a","url":"x"}')}`,
    "malformed",
    /serviceId/,
  ],
  [
    "an upper-case id",
    `14 ${json(`{"serviceId":"${A.toUpperCase()}","name":"a","url":"x"}`)}`,
    "malformed",
    /serviceId/,
  ],
  ["no url", `14 ${json(`{"serviceId":"${A}","name":"a"}`)}`, "malformed", /url/],
  [
    "a url over 1024",
    `14 ${json(`{"serviceId":"${A}","name":"a","url":"${"x".repeat(1025)}"}`)}`,
    "malformed",
    /url/,
  ],
];

for (const [what, hex, code, message = /./] of BAD) {
  Deno.test(`decodeControl() refuses ${what}`, () => {
    assert.throws(() => decodeControl(bytesOf(hex)), (error) => {
      assert.ok(error instanceof ControlFault, String(error));
      assert.equal(error.code, code);
      assert.equal(error.type, bytesOf(hex)[0]);
      assert.match(error.message, message);
      return true;
    });
  });
}

Deno.test("decodeControl() passes over keys that it does not know, and takes none of them on", () => {
  const text = '{"name":"a","protocol":"tcp","newer":{"x":[1]},"type":"auth","__proto__":{"private":true}}';
  const message = decodeControl(bytesOf(`13 ${json(text)}`));
  assert.deepEqual(message, { type: "registerService", name: "a", protocol: "tcp" });
  assert.ok(!("private" in message));
});

Deno.test("a fault quotes nothing of the message", () => {
  const secret = "s3cret";
  for (const payload of [`{"name":"${secret}","protocol":"${secret}","${secret}":1}`, `{"${secret}`]) {
    assert.throws(() => decodeControl(bytesOf(`13 ${json(payload)}`)), (error: Error) => {
      return !error.message.includes(secret) && error.cause === undefined;
    });
  }
});

Deno.test("the longest message has 65,536 bytes", () => {
  const token = "t".repeat(MAX_MESSAGE_BYTES - 5 - 2 - 16);
  const bytes = encodeControl({ type: "auth", token, clientId: A });
  assert.equal(bytes.length, 65_536);
  assert.deepEqual(decodeControl(bytes), { type: "auth", token, clientId: A });
  assert.throws(() => encodeControl({ type: "auth", token: `${token}t`, clientId: A }), RangeError);
});

const MISUSE: readonly ControlMessage[] = [
  { type: "authOk", tunnelId: "1" },
  { type: "authOk", tunnelId: A.toUpperCase() },
  { type: "authFail", reason: "x".repeat(65_536) },
  { type: "register", name: "é".repeat(128), protocol: "tcp", localPort: 1, remotePort: 0 },
  { type: "register", name: "a", protocol: "http" as "tcp", localPort: 1, remotePort: 0 },
  { type: "register", name: "a", protocol: "tcp", localPort: 65_536, remotePort: 0 },
  { type: "heartbeat", time: -1 },
  { type: "heartbeat", time: 0.5 },
  { type: "registerService", name: "", protocol: "tcp" },
  { type: "serviceRegistered", serviceId: A, name: "a", url: "" },
];

for (const message of MISUSE) {
  Deno.test(`encodeControl() refuses ${JSON.stringify(message).slice(0, 60)}`, () => {
    assert.throws(() => encodeControl(message), RangeError);
  });
}

const uuid = fc.uuid().map((id) => id.toLowerCase());
const text = (maxLength: number) =>
  fc.string({ unit: "binary", maxLength }).map((value) => value.toWellFormed());
const port = fc.integer({ min: 0, max: 65_535 });
const name = text(60).filter((value) => value !== "");
const protocol = fc.constantFrom<ServiceProtocol>("http", "tcp", "tls", "udp");

const anyMessage: fc.Arbitrary<ControlMessage> = fc.oneof(
  fc.record({ type: fc.constant("auth" as const), token: text(500), clientId: uuid }),
  fc.record({
    type: fc.constantFrom("authFail" as const, "registerFail" as const, "disconnect" as const),
    reason: text(500),
  }),
  fc.record({
    type: fc.constant("register" as const),
    name: text(60),
    protocol: fc.constantFrom("tcp" as const, "udp" as const),
    localPort: port,
    remotePort: port,
  }),
  fc.record(
    {
      type: fc.constant("registerService" as const),
      name,
      protocol,
      target: name,
      hostname: name,
      remotePort: port,
      private: fc.boolean(),
    },
    { requiredKeys: ["type", "name", "protocol"] },
  ),
  fc.record(
    { type: fc.constant("serviceRegistered" as const), serviceId: uuid, name, url: name, remotePort: port },
    { requiredKeys: ["type", "serviceId", "name", "url"] },
  ),
  fc.record({
    type: fc.constant("connect" as const),
    serviceId: uuid,
    connectionId: uuid,
    clientAddress: text(60),
  }),
  fc.record({ type: fc.constant("connectFail" as const), connectionId: uuid, reason: text(500) }),
  fc.record({ type: fc.constantFrom("heartbeat" as const, "heartbeatAck" as const), time: fc.maxSafeNat() }),
);

Deno.test("decodeControl() gives back what encodeControl() was given", () => {
  fc.assert(fc.property(anyMessage, (message) => {
    assert.deepEqual(decodeControl(encodeControl(message)), { ...message });
  }));
});
