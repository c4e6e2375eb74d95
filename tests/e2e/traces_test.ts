/** Traces as a collector gets them, from a gateway in a process of its own: the runtime exports them, and only where it was asked to. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { createToken, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { openTraces } from "../../core/data_plane/traces.ts";
import { createAuthority } from "../support/certificates.ts";
import { startEcho } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { writePem } from "../support/openssl.ts";
import { denoEnvironment, freePort, startProgram, temporaryFolder } from "../support/processes.ts";
import { ECHOED, sayHello } from "../support/ssh_like.ts";
import { DOMAIN, ENDPOINT, http, RunningAgent } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
}

/** A collector for OTLP by HTTP and JSON, as far as spans of ours go. */
class Collector implements AsyncDisposable {
  readonly spans: Span[] = [];
  /** All that came, for what must not be in it. */
  raw = "";
  readonly #server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const text = await request.text();
    if (new URL(request.url).pathname === "/v1/traces") this.#take(text);
    return Response.json({});
  });

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** The span of this name under `parent`, or of a trace of its own; waits for it. */
  async span(name: string, matches: (span: Span) => boolean): Promise<Span> {
    return await until(() => this.spans.find((span) => span.name === name && matches(span)), {
      what: () => `a span "${name}" among ${this.spans.map((span) => span.name)}`,
      deadlineMs: 15_000,
    });
  }

  #take(text: string): void {
    this.raw += text;
    // deno-lint-ignore no-explicit-any -- the shape is the specification's, and the test breaks when it is another
    for (const { scopeSpans } of JSON.parse(text).resourceSpans as any[]) {
      for (const { scope, spans } of scopeSpans) {
        if (scope.name !== "postern") continue;
        for (const { attributes, status, ...span } of spans) {
          const entries = attributes.map(({ key, value }: { key: string; value: object }) =>
            [key, Object.values(value)[0]] as const
          );
          this.spans.push({ ...span, attributes: Object.fromEntries(entries), failed: status.code === 2 });
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

Deno.test("without OTEL_DENO nothing is traced, and no library loaded", async () => {
  assert.equal(await openTraces(), undefined);
});

Deno.test({
  name:
    "OTEL_DENO=true: a span for each connection, with those of its steps, requests and tunnel streams below it",
  ignore: !can(),
  async fn() {
    await using collector = new Collector();
    await using echo = startEcho();
    await using service = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {} },
      () => new Response("hello"),
    );
    await using folder = await temporaryFolder();
    const authority = await createAuthority();
    const pair = await authority.issue({ names: [`*.${DOMAIN}`] });
    await writePem(folder.path, "server", pair.certificate);
    await writePem(folder.path, "server-key", pair.key);
    const token = createToken();
    const closed = freePort();
    await Deno.writeTextFile(
      `${folder.path}/tokens.yaml`,
      JSON.stringify([{ id: "alice", sha256: digestOf(token).toHex(), created: "2026-01-01" }]),
    );
    await Deno.writeTextFile(
      `${folder.path}/postern.yaml`,
      `listeners: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
tls: { certificates: [{ cert: ${folder.path}/server.pem, key: ${folder.path}/server-key.pem }] }
plugins:
  static:
    routes:
      - { protocol: ssh, to: "${echo.target}" }
      - { protocol: http, to: "127.0.0.1:${closed}" }
  ws-agent: { domain: ${DOMAIN}, tokens: tokens.yaml, ports: 20000-32000, portsAddress: 127.0.0.1 }
`,
    );
    await using gateway = await startProgram(Deno.execPath(), {
      args: ["run", "--no-prompt", "--no-check", "-A", main, "gateway", "--config", "postern.yaml"],
      env: {
        ...denoEnvironment(),
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_BSP_SCHEDULE_DELAY: "50",
      },
      cwd: folder.path,
    });
    const [, found] = await gateway.waitForOutput(/listen 127\.0\.0\.1:(\d+)/, { deadlineMs: 30_000 });
    const port = Number(found);

    assert.equal(await sayHello(port), ECHOED);
    const root = await collector.span(
      "connection",
      ({ attributes }) => attributes["postern.protocol"] === "ssh",
    );
    assert.equal(root.parentSpanId, "");
    const { attributes } = root;
    assert.deepEqual(
      ["plugin", "target", "bytes_in", "bytes_out", "result"].map((key) => attributes[`postern.${key}`]),
      ["static", echo.target, ECHOED.length, ECHOED.length, "ok"],
    );
    assert.equal(attributes["client.address"], "127.0.0.1");
    const below = (span: Span) => span.traceId === root.traceId && span.parentSpanId === root.spanId;
    const steps = await Promise.all(
      ["preface", "route", "connect", "relay"].map((name) => collector.span(name, below)),
    );
    const times = steps.map(({ startTimeUnixNano }) => BigInt(startTimeUnixNano));
    assert.deepEqual(times, times.toSorted((a, b) => a < b ? -1 : 1), "in the order of the path");
    for (const step of steps) {
      assert.ok(BigInt(step.startTimeUnixNano) >= BigInt(root.startTimeUnixNano), step.name);
      assert.ok(BigInt(step.endTimeUnixNano) <= BigInt(root.endTimeUnixNano), step.name);
    }

    await using agent = new RunningAgent({
      gateway: { secure: true, host: ENDPOINT, port, path: "/tunnel/v1" },
      name: "agent",
      tls: { extraCa: authority.certificate, insecure: false },
      connections: 1,
      reconnect: { minMs: 20, maxMs: 250 },
      credentials: { token },
      services: [http("app", `127.0.0.1:${service.addr.port}`)],
    });
    await agent.ready();
    const host = `app.${DOMAIN}`;
    const tls = await Deno.startTls(await Deno.connect({ hostname: "127.0.0.1", port }), {
      hostname: host,
      caCerts: [authority.certificate],
      alpnProtocols: ["http/1.1"],
    });
    {
      using client = new HttpClient(tls, host);
      const answer = await client.request({ path: "/orders?key=hush-hush" });
      assert.equal(answer.text, "hello");
    }
    const request = await collector.span("request", () => true);
    const publicRoot = await collector.span("connection", ({ spanId }) => spanId === request.parentSpanId);
    assert.equal(publicRoot.attributes["postern.sni"], host);
    assert.deepEqual(
      ["http.request.method", "url.path", "server.address"].map((key) => request.attributes[key]),
      ["GET", "/orders", host],
    );
    const stream = await collector.span(
      "tunnel stream",
      ({ parentSpanId }) => parentSpanId === publicRoot.spanId,
    );
    assert.equal(stream.attributes["postern.service"], "app");
    await collector.span("handshake", ({ parentSpanId }) => parentSpanId === publicRoot.spanId);
    await collector.span("handle", ({ parentSpanId }) => parentSpanId === publicRoot.spanId);

    const refused = await fetch(`http://127.0.0.1:${port}/`);
    await refused.body?.cancel();
    assert.equal(refused.status, 502);
    const failed = await collector.span("connect", (span) => span.failed);
    const lost = await collector.span("connection", ({ spanId }) => spanId === failed.parentSpanId);
    assert.deepEqual([lost.failed, lost.attributes["postern.result"]], [true, "connect_failed"]);

    assert.doesNotMatch(collector.raw, /hush-hush/, "queries hold secrets");
    assert.doesNotMatch(collector.raw, new RegExp(token));
  },
});
