import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, writeAll } from "../../core/byte_stream.ts";
import type { AgentNetwork } from "../../plugins/ws-agent/agent/network.ts";
import { encodeControl } from "../../plugins/ws-agent/control/codec.ts";
import type { ControlMessage } from "../../plugins/ws-agent/control/messages.ts";
import { ControlReader } from "../../plugins/ws-agent/control/reader.ts";
import { encodeStreamHeader } from "../../plugins/ws-agent/stream_header.ts";
import { answerUpgrade } from "../../plugins/ws-agent/websocket/answer_upgrade.ts";
import { WebSocketBytes } from "../../plugins/ws-agent/websocket/web_socket_bytes.ts";
import { openYamux, type YamuxSession, type YamuxStream } from "../../plugins/ws-agent/yamux/mod.ts";
import { service, settingsFor, startAgent } from "../plugins/ws-agent/agent/fake_gateway.ts";
import { clientIdOf } from "../support/test_agent.ts";
import { pipe, type PipeEnd } from "../support/pipe.ts";
import { until } from "../support/until.ts";
import { fuzz, type Random } from "./fuzz.ts";

const GATEWAY_PORT = 9, TARGET_PORT = 10;
const SERVICE_ID = clientIdOf(5);

/** How far a gateway goes along before it sends what it likes. */
const LAYERS = [
  "instead of an answer",
  "as frames",
  "as yamux",
  "as messages",
  "as messages, once it is in",
  "in a stream",
] as const;
type Layer = (typeof LAYERS)[number];

const MESSAGES: readonly ControlMessage[] = [
  { type: "authOk", tunnelId: clientIdOf(1) },
  { type: "authFail", reason: "bad_token: \x1b[31mNo" },
  { type: "authFail", reason: "blocked: later" },
  { type: "serviceRegistered", serviceId: SERVICE_ID, name: "a", url: "https://a.example.com" },
  {
    type: "serviceRegistered",
    serviceId: clientIdOf(6),
    name: "\x1b]0;x\x07",
    url: "javascript:alert(1)",
    remotePort: 22,
  },
  { type: "registerFail", reason: "held: no" },
  { type: "registerOk", serviceId: SERVICE_ID },
  { type: "heartbeat", time: 0 },
  { type: "heartbeatAck", time: 1 },
  {
    type: "connect",
    serviceId: SERVICE_ID,
    connectionId: clientIdOf(7),
    clientAddress: "169.254.169.254:80",
  },
  { type: "registerService", name: "x", protocol: "tcp", target: "169.254.169.254:80" },
  { type: "auth", token: "give me yours", clientId: clientIdOf(8) },
  { type: "unregister", serviceId: SERVICE_ID },
  { type: "disconnect", reason: "superseded: x" },
  { type: "disconnect", reason: "going_away: x" },
];

function seeds(): Uint8Array[] {
  const text = (value: string) => new TextEncoder().encode(value);
  const messages = MESSAGES.map(encodeControl);
  const header = encodeStreamHeader({
    source: { address: "203.0.113.9", port: 4711 },
    destination: { address: "198.51.100.1", port: 443 },
    connectionId: "c-1",
    serviceId: SERVICE_ID,
  });
  return [
    ...messages,
    Uint8Array.of(...messages.flatMap((bytes) => [...bytes])),
    Uint8Array.of(...header, ...text("GET http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\n\r\n")),
    header,
    text("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"),
    text("HTTP/1.1 503 Busy\r\nRetry-After: 99999999999\r\nContent-Type: text/plain\r\n\r\n\x1b[2Jlater\n"),
    text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    Uint8Array.of(0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), // a frame of 2⁶⁴ - 1 bytes
    Uint8Array.of(0x88, 0x02, 0x03, 0xe8),
    Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0), // data, SYN, stream 2
    Uint8Array.of(0, 1, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff), // window update
    Uint8Array.of(0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1), // ping
    Uint8Array.of(0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), // go away
  ];
}

/** Answers an agent up to a layer, and sends `input` there. */
async function misbehave(transport: ByteStream, layer: Layer, input: Uint8Array): Promise<void> {
  const key = /Sec-WebSocket-Key: (\S+)/.exec(await readHead(transport))?.[1] ?? "";
  if (layer === "instead of an answer") return await writeAll(transport, input);
  const fields: Readonly<Record<string, string>> = {
    "host": "gateway.example",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": key,
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "postern.v1",
  };
  const request = { method: "GET", target: "/", version: "HTTP/1.1", header: (name: string) => fields[name] };
  await writeAll(transport, answerUpgrade(request, ["postern.v1"]).response);
  if (layer === "as frames") return await writeAll(transport, input);
  const bytes = new WebSocketBytes(transport, { role: "server" });
  if (layer === "as yamux") return await writeAll(bytes, input);
  const opened = Promise.withResolvers<YamuxStream>();
  opened.promise.catch(() => {});
  const yamux = openYamux(bytes, { role: "server", onStream: opened.resolve, pingIntervalMs: 0 });
  void yamux.ended.then(() => opened.reject(new Error("ended")));
  const control = await opened.promise;
  await speak(yamux, control, layer, input).catch(() => {}); // it may have been ended by now
  await Promise.race([yamux.ping().catch(() => {}), yamux.ended]); // all of it has arrived
}

/** The layers that are streams. */
async function speak(
  yamux: YamuxSession,
  control: YamuxStream,
  layer: Layer,
  input: Uint8Array,
): Promise<void> {
  const reader = new ControlReader(control);
  await reader.read();
  if (layer === "as messages") return await writeAll(control, input);
  await writeAll(control, encodeControl({ type: "authOk", tunnelId: clientIdOf(1) }));
  if (layer === "as messages, once it is in") return await writeAll(control, input);
  await reader.read();
  await writeAll(
    control,
    encodeControl({ type: "serviceRegistered", serviceId: SERVICE_ID, name: "a", url: "https://a" }),
  );
  const stream = yamux.open();
  await writeAll(stream, input);
  await stream.closeWrite();
}

async function readHead(stream: ByteStream): Promise<string> {
  const buffer = new Uint8Array(4096);
  for (let head = "";;) {
    const read = await stream.read(buffer);
    if (read === null || head.includes("\r\n\r\n")) return head;
    head += new TextDecoder().decode(buffer.subarray(0, read));
    if (head.includes("\r\n\r\n")) return head;
  }
}

/** Whatever a gateway says, the agent dials its own target and nothing else, goes on or ends, and keeps nothing. */
async function check(input: Uint8Array, random: Random): Promise<void> {
  const layer = random.pick(LAYERS);
  const connections: { readonly here: PipeEnd; readonly there: PipeEnd }[] = [];
  const dialed = new Set<string>();
  const ends: ByteStream[] = [];
  const network: AgentNetwork = {
    connect({ host, port }) {
      dialed.add(`${host}:${port}`);
      const [here, there] = pipe();
      ends.push(there);
      if (port === GATEWAY_PORT) connections.push({ here, there });
      return Promise.resolve(Object.assign(here, { remoteAddress: host }));
    },
    openDatagrams: () => {
      throw new Error("no datagrams here");
    },
    lookUp: () => Promise.reject(new Error("no names here")),
    startTls: () => Promise.reject(new Error("no TLS here")),
  };
  const settings = settingsFor({ port: GATEWAY_PORT }, [
    service("a", TARGET_PORT, { target: { host: "10.0.0.1", port: TARGET_PORT, tls: false } }),
  ], {
    reconnect: { minMs: 60_000, maxMs: 60_000 },
    credentials: { token: "planted-token-4711" },
  });
  {
    await using running = startAgent(settings, { network, watchRequests: true });
    const { here, there } = await until(() => connections[0], { what: "the agent" });
    await misbehave(there, layer, input).catch(() => {}); // it may have been ended by now
    await there.closeWrite().catch(() => {});
    // It must notice the end, whatever came before.
    await until(() => here.closed && running.agent.status.connected === 0, {
      what: () => `the end, ${layer}`,
    });
    assert.doesNotMatch(JSON.stringify(running.events), /planted-token/);
    assert.ok(running.events.length < 20, JSON.stringify(running.events).slice(0, 1000));
  }
  for (const end of ends) closeQuietly(end);
  for (const place of dialed) {
    assert.ok(place === `127.0.0.1:${GATEWAY_PORT}` || place === `10.0.0.1:${TARGET_PORT}`, place);
  }
}

/** Each input is a gateway of its own, and an agent that connects to it. */
const COST = 60;

fuzz("what a gateway sends", seeds, check, COST);
