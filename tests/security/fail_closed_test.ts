/** No name, a broken hello, a hello over the limit: close. It never becomes anything that another route takes. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import {
  bytes,
  extension,
  HELLO,
  helloMessage,
  type HelloParts,
  inRecords,
  LARGE_HELLO,
  serverName,
  sized,
  SSL_REQUEST,
  uint16Bytes,
} from "../core/data_plane/preface/samples.ts";
import { Random } from "../fuzz/fuzz.ts";
import { readToEnd } from "../support/echo.ts";
import type { TestPlane } from "../support/plane.ts";
import type { Route } from "../support/static_routes.ts";
import { alertIn, isHangUp } from "../support/wire.ts";
import { type Recorder, startRecorder, staticPlane } from "./static_plane.ts";

const UNRECOGNIZED_NAME = 112, DECODE_ERROR = 50;

/** A service with a name, and one that takes all that is not TLS: what is refused must not end up there. */
async function withCatchAll(
  named: Recorder,
  catchAll: Recorder,
  options: Parameters<typeof staticPlane>[1] = {},
): Promise<TestPlane> {
  const routes: Route[] = [
    { sni: "db.example.com", to: named.target },
    { protocol: "http", to: catchAll.target },
    { protocol: "ssh", to: catchAll.target },
    { protocol: "other", to: catchAll.target },
  ];
  return await staticPlane(routes, options);
}

/** Sends, says FIN, and gives all that comes back. */
async function ask(gateway: TestPlane, data: Uint8Array): Promise<Uint8Array> {
  const client = await gateway.connect();
  try {
    await writeAll(client, data);
    await client.closeWrite();
    return await readToEnd(client);
  } catch (error) {
    if (isHangUp(error)) return new Uint8Array();
    throw error;
  } finally {
    closeQuietly(client);
  }
}

function hello(parts: HelloParts): Uint8Array {
  return inRecords(helloMessage(parts));
}

function named(name: string | Uint8Array): HelloParts {
  return { extensions: [serverName(name)] };
}

const MESSAGE = helloMessage(named("db.example.com"));
const sni = (list: Uint8Array) => hello({ extensions: [extension(0, list)] });

const refused: readonly { name: string; sent: Uint8Array; alert: number }[] = [
  { name: "no extensions at all", sent: hello({}), alert: UNRECOGNIZED_NAME },
  {
    name: "extensions, and no name among them",
    sent: hello({ extensions: [extension(43, bytes(2, 3, 4))] }),
    alert: UNRECOGNIZED_NAME,
  },
  { name: "a name that nobody has", sent: hello(named("db.example.net")), alert: UNRECOGNIZED_NAME },
  {
    name: "a name below one that somebody has",
    sent: hello(named("x.db.example.com")),
    alert: UNRECOGNIZED_NAME,
  },
  { name: "an empty list of names", sent: sni(sized(2, bytes())), alert: DECODE_ERROR },
  { name: "an empty name extension", sent: sni(bytes()), alert: DECODE_ERROR },
  {
    name: "two names",
    sent: sni(sized(2, bytes(0, sized(2, bytes("db.example.com")), 0, sized(2, bytes("a.test"))))),
    alert: DECODE_ERROR,
  },
  {
    name: "a name of another kind",
    sent: sni(sized(2, bytes(1, sized(2, bytes("db.example.com"))))),
    alert: DECODE_ERROR,
  },
  {
    name: "a name longer than its list",
    sent: sni(bytes(uint16Bytes(5), 0, sized(2, bytes("db.example.com")))),
    alert: DECODE_ERROR,
  },
  {
    name: "the name extension twice",
    sent: hello({ extensions: [serverName("db.example.com"), serverName("db.example.com")] }),
    alert: DECODE_ERROR,
  },
  {
    name: "bytes behind the extensions",
    sent: inRecords(bytes(1, sized(3, bytes(MESSAGE.subarray(4), 0)))),
    alert: DECODE_ERROR,
  },
  {
    name: "an extension that overruns",
    sent: hello({ extensions: [bytes(uint16Bytes(0), uint16Bytes(99), 1)] }),
    alert: DECODE_ERROR,
  },
  { name: "another handshake message", sent: inRecords(bytes(2, MESSAGE.subarray(1))), alert: DECODE_ERROR },
  { name: "SSL 3's predecessor", sent: bytes(22, 2, 0, sized(2, MESSAGE)), alert: DECODE_ERROR },
  { name: "an empty record", sent: bytes(22, 3, 1, 0, 0, HELLO), alert: DECODE_ERROR },
  {
    name: "a record over 16 KiB",
    sent: bytes(22, 3, 1, 0x40, 0x01, new Uint8Array(0x4001)),
    alert: DECODE_ERROR,
  },
  {
    name: "an alert in the middle of the hello",
    sent: bytes(inRecords(MESSAGE, 10).subarray(0, 15), 21, 3, 1, 0, 2, 2, 0),
    alert: DECODE_ERROR,
  },
  {
    name: "plain HTTP in the middle of the hello",
    sent: bytes(HELLO.subarray(0, 3), "GET / HTTP/1.1\r\n\r\n"),
    alert: DECODE_ERROR,
  },
  {
    name: "an SSL 2 hello",
    sent: Uint8Array.fromHex("802e0100020015000000100100800300800700c0060040020080040080"),
    alert: DECODE_ERROR,
  },
  {
    name: "an SSL 2 hello for TLS 1.2",
    sent: Uint8Array.fromHex("802e01030300150000001001008003"),
    alert: DECODE_ERROR,
  },
  {
    name: "a hello that announces 16 MiB",
    sent: bytes(22, 3, 1, 0, 40, 1, 255, 255, 255, new Uint8Array(36)),
    alert: DECODE_ERROR,
  },
];

for (const { name, sent, alert } of refused) {
  Deno.test(`TLS with ${name} is refused with alert ${alert}, also next to a catch-all`, async () => {
    await using service = startRecorder();
    await using catchAll = startRecorder();
    await using gateway = await withCatchAll(service, catchAll);
    assert.equal(alertIn(await ask(gateway, sent)), alert);
    assert.deepEqual([service.accepted, catchAll.accepted], [0, 0]);
  });
}

Deno.test("a hello over the limit is refused, also next to a catch-all", async () => {
  await using service = startRecorder();
  await using catchAll = startRecorder();
  await using gateway = await withCatchAll(service, catchAll, { limits: { maxPrefaceBytes: 16 * 1024 } });
  assert.equal(alertIn(await ask(gateway, LARGE_HELLO)), DECODE_ERROR);
  assert.deepEqual([service.accepted, catchAll.accepted], [0, 0]);
});

Deno.test("a hello that ends anywhere before its end reaches nobody", async () => {
  await using service = startRecorder();
  await using catchAll = startRecorder();
  await using gateway = await withCatchAll(service, catchAll);
  for (let cut = 1; cut < HELLO.length; cut++) {
    assert.equal((await ask(gateway, HELLO.subarray(0, cut))).length, 0, `cut at ${cut}`);
  }
  assert.deepEqual([service.accepted, catchAll.accepted], [0, 0]);
  assert.equal(gateway.counted("connections_total", { result: "client_closed" }), HELLO.length - 1);
});

Deno.test("a hello with any one bit turned is never taken for another protocol", async () => {
  await using service = startRecorder();
  await using catchAll = startRecorder();
  await using gateway = await withCatchAll(service, catchAll);
  for (let bit = 8; bit < HELLO.length * 8; bit++) { // of another first byte, it is another protocol
    const broken = HELLO.slice();
    broken[bit >> 3]! ^= 1 << (bit & 7);
    const before = service.accepted;
    const answer = await ask(gateway, broken);
    const reached = new TextDecoder().decode(answer) === "reached";
    assert.ok(reached || answer.length === 0 || alertIn(answer) !== undefined, `bit ${bit}`);
    assert.equal(service.accepted - before, reached ? 1 : 0);
  }
  assert.equal(catchAll.accepted, 0);
  assert.ok(service.received.every((one) => one.length === HELLO.length));
});

Deno.test("random bytes that begin as TLS does reach nobody", async () => {
  await using service = startRecorder();
  await using catchAll = startRecorder();
  await using gateway = await withCatchAll(service, catchAll);
  const seed = 20_240_229;
  const random = new Random(seed);
  for (let i = 0; i < 300; i++) {
    const begin = random.pick([[22], [22, 3], [22, 3, 1, 0], [22, 3, 3, 0, 80, 1, 0, 0]]);
    const sent = bytes(begin, random.bytes(random.below(200)));
    const answer = await ask(gateway, sent);
    assert.ok(answer.length === 0 || alertIn(answer) !== undefined, `seed ${seed}, ${sent.toHex()}`);
  }
  assert.deepEqual([service.accepted, catchAll.accepted], [0, 0]);
});

Deno.test("what follows an SSLRequest is TLS or nothing", async () => {
  await using service = startRecorder();
  await using catchAll = startRecorder();
  await using gateway = await withCatchAll(service, catchAll);
  const openings = {
    "plain HTTP": bytes("GET / HTTP/1.1\r\n\r\n"),
    "SSH": bytes("SSH-2.0-x\r\n"),
    "another SSLRequest": SSL_REQUEST,
    "a StartupMessage": Uint8Array.fromHex("0000001100030000757365720061000000"),
    "a PROXY header": bytes("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
  };
  for (const [name, opening] of Object.entries(openings)) {
    using client = await gateway.connect();
    await writeAll(client, SSL_REQUEST);
    await client.read(new Uint8Array(1));
    await writeAll(client, opening);
    assert.equal(alertIn(await readToEnd(client)), DECODE_ERROR, name);
  }
  assert.deepEqual([service.accepted, catchAll.accepted], [0, 0]);
});

Deno.test("a route for all of TLS without a name is nobody's by default: it takes what has no name only when it is there", async () => {
  await using service = startRecorder();
  await using gateway = await staticPlane([{ protocol: "tls", to: service.target }]);
  assert.equal(new TextDecoder().decode(await ask(gateway, hello({}))), "reached");
  assert.equal(
    alertIn(await ask(gateway, bytes(22, 3, 1, 0, 0, HELLO))),
    DECODE_ERROR,
    "broken stays broken",
  );
  assert.equal(service.accepted, 1);
});
