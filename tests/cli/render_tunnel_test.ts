import assert from "node:assert/strict";
import { renderTunnel, requestLine, type Screen } from "../../cli/render_tunnel.ts";
import { LiveView, type TerminalPort } from "../../cli/live_view.ts";
import { TunnelState } from "../../cli/tunnel_state.ts";
import type { RequestSeen } from "../../plugins/ws-agent/agent/events.ts";
import { until } from "../support/until.ts";

const SCREEN: Screen = { columns: 80, rows: 24, color: false };
const NOON = new Date(2026, 0, 2, 12, 0, 1).getTime();

function state(protocol: "http" | "tcp" = "http"): TunnelState {
  const target = { host: "localhost", port: 3000, tls: false };
  return new TunnelState(
    { name: "demo", protocol, target, proxyProtocol: "off" },
    "wss://gateway.example/tunnel/v1",
  );
}

function request(more: Partial<RequestSeen> = {}): RequestSeen {
  return {
    kind: "request",
    service: "demo",
    time: NOON,
    method: "GET",
    path: "/",
    status: 200,
    ms: 12,
    ...more,
  };
}

const PUBLIC = {
  kind: "public",
  service: "demo",
  protocol: "http",
  url: "https://demo.example",
  target: "127.0.0.1:3000",
} as const;

Deno.test("where requests are shown stands below where they lead", () => {
  const tunnel = state();
  tunnel.inspector = "http://127.0.0.1:4040";
  const lines = renderTunnel(tunnel, SCREEN);
  assert.equal(
    lines[lines.findIndex((line) => line.startsWith("Leads to")) + 1],
    "Inspector    http://127.0.0.1:4040",
  );
});

Deno.test("a tunnel that stands shows address, target, gateway, round trip and requests", () => {
  const tunnel = state();
  tunnel.apply({ kind: "connected", connection: 0, gateway: "" }, NOON);
  tunnel.apply(PUBLIC, NOON);
  tunnel.apply(request({ path: "/a", status: 404, ms: 3.14 }), NOON);
  tunnel.status = {
    connected: 2,
    connections: 2,
    roundTripMs: 7.2,
    streams: 1,
    streamsTotal: 5,
    bytesIn: 0,
    bytesOut: 0,
  };
  assert.deepEqual(renderTunnel(tunnel, { ...SCREEN, columns: 60 }), [
    "Postern                                       Ctrl-C ends it",
    "",
    "State        online",
    "Address      https://demo.example",
    "Leads to     127.0.0.1:3000",
    "Gateway      wss://gateway.example/tunnel/v1 (2 of 2 connec…",
    "Round trip   7.2 ms",
    "Connections  1 open, 5 in all",
    "",
    "Requests     1",
    "12:00:01  GET     /a                           404    3.1 ms",
  ]);
});

Deno.test("the states that a tunnel goes through", () => {
  const tunnel = state();
  const shown = () => renderTunnel(tunnel, { ...SCREEN, columns: 200 })[2]?.slice(13);
  assert.equal(shown(), "connecting");
  tunnel.apply({ kind: "connected", connection: 0, gateway: "" }, NOON);
  tunnel.apply(
    {
      kind: "refused",
      service: "demo",
      word: "held",
      reason: '"demo" is held by another agent',
      isFinal: false,
      retryMs: 1234,
    },
    NOON,
  );
  assert.equal(shown(), 'refused: "demo" is held by another agent; trying again in 1.2 s');
  tunnel.apply({ kind: "connected", connection: 1, gateway: "" }, NOON);
  tunnel.apply(PUBLIC, NOON);
  assert.equal(shown(), "online");
  const lost = { kind: "disconnected", reason: "It broke", wasConnected: true, retryMs: 30_000 } as const;
  tunnel.apply({ ...lost, connection: 0 }, NOON);
  assert.equal(shown(), "online", "there is another connection");
  tunnel.apply({ ...lost, connection: 1 }, NOON);
  assert.equal(shown(), "reconnecting: It broke; trying again in 30 s");
  tunnel.apply({ kind: "connected", connection: 1, gateway: "" }, NOON);
  assert.equal(shown(), "online");
});

Deno.test("an address is there as a whole however narrow the terminal is", () => {
  const tunnel = state();
  const url = "https://demo.tunnels.of-a-long-name.example.com:8443";
  tunnel.apply({ ...PUBLIC, url }, NOON);
  assert.deepEqual(renderTunnel(tunnel, { ...SCREEN, columns: 40 }).slice(3, 6), [
    "Address      https://demo.tunnels.of-a-l",
    "             ong-name.example.com:8443",
    "Leads to     127.0.0.1:3000",
  ]);
});

Deno.test("a method of any length stands apart from the path", () => {
  const tunnel = state();
  for (const method of ["DELETE", "OPTIONS", "PROPFIND", "VERSION-CONTROL-OF-IT"]) {
    tunnel.apply(request({ method, path: "/a" }), NOON);
  }
  const lines = renderTunnel(tunnel, SCREEN).filter((line) => line.startsWith("12:00:01"));
  assert.deepEqual(lines.map((line) => line.slice(10, 28).trimEnd()), [
    "DELETE  /a",
    "OPTIONS /a",
    "PROPFIND /a",
    "VERSION-CONTROL… /",
  ]);
});

const HOSTILE = [
  "/\x1b]0;owned\x07",
  "/\x1b[2J\x1b[H",
  "/\u009b31m",
  "/a\r\nState        hacked",
  "/\u202eevil",
  "/\0\b\x7f",
  "/" + "x".repeat(100_000),
];

for (const text of HOSTILE) {
  Deno.test(`${JSON.stringify(text.slice(0, 20))} from a stranger does nothing to a terminal`, () => {
    const tunnel = state();
    tunnel.apply({ ...PUBLIC, url: text }, NOON);
    tunnel.apply({ kind: "disconnected", connection: 0, reason: text, wasConnected: true, retryMs: 1 }, NOON);
    tunnel.apply(
      { kind: "target_failed", service: "demo", target: "t", reason: text, connection: "c" },
      NOON,
    );
    tunnel.apply(request({ path: text, method: text }), NOON);
    const lines = [...renderTunnel(tunnel, SCREEN), requestLine(request({ path: text, method: text }))];
    for (const line of lines) {
      assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
      assert.ok(line.length < 400);
    }
    for (const line of renderTunnel(tunnel, SCREEN)) assert.ok(line.length <= SCREEN.columns, line);
  });
}

Deno.test("whatever the size of the terminal, there are no more lines than rows, and none is too long", () => {
  const tunnel = state();
  for (let i = 0; i < 500; i++) tunnel.apply(request({ path: `/${i}` }), NOON);
  for (let i = 0; i < 9; i++) tunnel.notice(`notice ${i}`, NOON);
  for (const rows of [1, 2, 5, 10, 13, 14, 24, 300]) {
    for (const columns of [1, 5, 13, 20, 40, 80, 300]) {
      const lines = renderTunnel(tunnel, { rows, columns, color: false });
      assert.ok(lines.length <= rows);
      for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
    }
  }
  assert.match(renderTunnel(tunnel, SCREEN).at(-1) ?? "", /\/499 /, "the newest request comes last");
});

Deno.test("a tcp tunnel has no requests to show", () => {
  assert.ok(!renderTunnel(state("tcp"), SCREEN).some((line) => line.includes("Requests")));
});

Deno.test("a live view draws over what is there, anew when the size has changed, and gives the terminal back", async () => {
  const written: string[] = [];
  let columns = 80;
  let resize = () => {};
  const terminal: TerminalPort = {
    write: (text) => written.push(text),
    size: () => ({ columns, rows: 24 }),
    onResize: (changed) => (resize = changed, () => void (resize = () => {})),
  };
  {
    using view = new LiveView((size) => ["one", `${size.columns} columns`], terminal);
    assert.deepEqual(written, ["\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[Hone\x1b[K\r\n80 columns\x1b[K\x1b[J"]);
    view.changed();
    columns = 40;
    resize();
    await until(() => written.length === 3, { what: "a redraw" });
    assert.equal(written[2], "\x1b[Hone\x1b[K\r\n40 columns\x1b[K\x1b[J");
  }
  assert.equal(written.at(-1), "\x1b[?7h\x1b[?25h\x1b[?1049l");
});
