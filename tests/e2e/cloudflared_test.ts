import assert from "node:assert/strict";
import { type ByteStream, closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { startAccessEdge } from "../support/access_edge.ts";
import { createCertificate } from "../support/certificates.ts";
import {
  type Behaviour,
  freeRange,
  hasStandIn,
  installRealCloudflared,
  installStandIn,
  type StandIn,
} from "../support/cloudflared.ts";
import { readToEnd } from "../support/echo.ts";
import { TestGateway, type TestGatewayOptions } from "../support/gateway.ts";
import { type PemPair, writePem } from "../support/openssl.ts";
import { psql, startPostgres } from "../support/postgres.ts";
import { hostPort, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { alertIn } from "../support/wire.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { can } from "./can.ts";
import { metric } from "./metrics.ts";

const ignore = !(can() && hasStandIn());
const NAME = "db.customer.example.com";
const HOST = "cft-db-customer.example.com";

interface Setup extends AsyncDisposable {
  readonly gateway: TestGateway;
  readonly standIn: StandIn;
}

/** A gateway whose cloudflared is the stand-in. Its disposal checks that no process is left. */
async function setUp(
  behaviour: Behaviour = {},
  { yaml = "", more = "", ...options }: Partial<TestGatewayOptions> & { more?: string } = {},
): Promise<Setup> {
  const standIn = await installStandIn(behaviour);
  const section =
    `plugins: { cloudflared: { command: "${standIn.path}", names: ["*.example.com", "*.customer.example.com"], ports: ${freeRange()}, ${more} } }`;
  const gateway = await TestGateway.start({ ...options, yaml: `${yaml}\n${section}` });
  return {
    gateway,
    standIn,
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]();
      assert.deepEqual(standIn.alive, [], "processes were left behind");
      await standIn[Symbol.asyncDispose]();
    },
  };
}

function helloFor(name: string): Uint8Array {
  return inRecords(helloMessage({ extensions: [serverName(name)] }));
}

/** Sends a ClientHello to a service that sends back what it gets. */
async function echoHello(gateway: TestGateway, name: string): Promise<void> {
  const client = await gateway.connect();
  try {
    await echo(client, helloFor(name));
  } finally {
    closeQuietly(client);
  }
}

/** Sends these bytes, and reads them again. */
async function echo(stream: ByteStream, sent: Uint8Array): Promise<void> {
  const writing = writeAll(stream, sent);
  const back = new Uint8Array(sent.length);
  for (let at = 0; at < back.length;) {
    at += await stream.read(back.subarray(at)) ?? assert.fail(`Ended after ${at} bytes`);
  }
  await writing;
  assert.deepEqual(back, sent);
}

/** A service with TLS of its own that sends back what it gets. */
function startTlsEcho({ certificate: cert, key }: PemPair): AsyncDisposable & { readonly target: string } {
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  const serving = (async () => {
    for await (const conn of listener) {
      const buffer = new Uint8Array(64 * 1024);
      try {
        for (let n; (n = await conn.read(buffer)) !== null;) await writeAll(conn, buffer.subarray(0, n));
      } catch {
        // A WebSocket that ends takes TLS with it, without a word.
      }
      closeQuietly(conn);
    }
  })();
  return {
    target: `127.0.0.1:${(listener.addr as Deno.NetAddr).port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
    },
  };
}

Deno.test({
  name: "cloudflared: a TLS client is brought by its SNI through a tunnel that is started for it",
  ignore,
  async fn() {
    const certificate = await createCertificate(NAME);
    await using backend = startTlsEcho(certificate);
    await using setup = await setUp({ backend: backend.target });
    using tcp = await setup.gateway.connect();
    using tls = await Deno.startTls(tcp, { hostname: NAME, caCerts: [certificate.ca] });
    await echo(tls, new TextEncoder().encode("ping"));
    closeQuietly(tls);
    const [start] = setup.standIn.starts;
    assert.deepEqual(start?.args, [
      ...["access", "tcp", "--hostname", HOST, "--url", `localhost:${start?.port}`],
    ]);
    const closed = await setup.gateway.logged("connection_closed");
    assert.equal(closed["target"], `127.0.0.1:${start?.port}`);
  },
});

Deno.test({
  name: "cloudflared: psql works through a tunnel, from its SSLRequest on",
  ignore: ignore || !can("initdb", "postgres", "psql"),
  async fn() {
    const tls = await createCertificate(NAME);
    await using server = await startPostgres({ tls });
    await using setup = await setUp({ backend: hostPort(server.address) });
    await using folder = await temporaryFolder();
    const options = {
      address: { hostname: "127.0.0.1", port: setup.gateway.port() },
      host: NAME,
      sslMode: "verify-full",
      caFile: await writePem(folder.path, "ca", tls.ca),
    } as const;
    const ssl = await psql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", options);
    assert.deepEqual([ssl.code, ssl.rows], [0, ["t"]], ssl.stderr);
    const big = await psql("SELECT repeat('y', 8000000)", options);
    assert.equal(big.rows[0], "y".repeat(8_000_000), big.stderr);
    assert.equal(setup.standIn.starts.length, 1);
  },
});

Deno.test({
  name:
    "cloudflared: the PROXY header that the client's load balancer sent goes through the tunnel as it came",
  ignore,
  async fn() {
    const yaml = `listeners: [{ address: "127.0.0.1:0", proxyProtocol: { from: ["127.0.0.0/8"] } }]`;
    await using setup = await setUp({}, { yaml });
    using client = await setup.gateway.connect();
    const header = new TextEncoder().encode("PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n");
    const sent = new Uint8Array([...header, ...helloFor(NAME)]);
    await writeAll(client, sent);
    await client.closeWrite();
    assert.deepEqual(await readToEnd(client), sent, "the stand-in sends back what it got");
  },
});

Deno.test({
  name: "cloudflared: 500 clients at once for 50 names start 50 processes, no more",
  ignore,
  async fn() {
    await using setup = await setUp({}, { more: "startupTimeout: 60s", threads: 2 });
    const { gateway, standIn } = setup;
    const names = Array.from({ length: 50 }, (_, i) => `n${i}.example.com`);
    await Promise.all(Array.from({ length: 500 }, (_, i) => echoHello(gateway, names[i % 50] ?? "")));
    assert.equal(standIn.starts.length, 50);
    assert.deepEqual(
      new Set(standIn.starts.map(({ hostname }) => hostname)),
      new Set(names.map((n) => `cft-${n}`)),
    );
    assert.equal(standIn.alive.length, 50);
    assert.equal(await metric(gateway, "cloudflared_processes", { state: "ready" }), 50);
  },
});

Deno.test({
  name: "cloudflared: a name that is nobody's starts nothing, and is refused as any other",
  ignore,
  async fn() {
    await using setup = await setUp();
    using client = await setup.gateway.connect();
    await writeAll(client, helloFor("db.example.org"));
    assert.equal(alertIn(await readToEnd(client)), 112);
    assert.equal(setup.standIn.starts.length, 0);
  },
});

Deno.test({
  name: "cloudflared: a client that leaves while its tunnel starts is let go, and counts for nothing",
  ignore,
  async fn() {
    await using setup = await setUp({ startMs: 1000 }, { more: "idleTimeout: 50ms" });
    const { gateway, standIn } = setup;
    const client = await gateway.connect();
    await writeAll(client, helloFor(NAME));
    await until(() => standIn.starts.length === 1, { what: "a start" });
    client.close();
    await gateway.logged("cloudflared_started");
    const stopping = await gateway.logged("cloudflared_stopping");
    assert.equal(stopping["why"], "idle");
  },
});

Deno.test({
  name:
    "cloudflared: a program that fails every connection: the log and the metrics say why, and it is not restarted",
  ignore,
  async fn() {
    const line = `2026-08-20T10:54:27Z ERR failed to connect to origin error="websocket: bad handshake"`;
    await using setup = await setUp({ drop: true, take: true, each: [line] });
    const { gateway, standIn } = setup;
    const answers: (number | undefined)[] = [];
    await until(async () => {
      using client = await gateway.connect();
      await writeAll(client, helloFor(NAME));
      answers.push(alertIn(await readToEnd(client)));
      return gateway.events.some(({ event }) => event === "cloudflared_failed");
    }, { what: "the breaker to open" });
    assert.ok(answers.every((alert) => alert === 80), `alerts ${answers}`);
    using client = await gateway.connect();
    await writeAll(client, helloFor(NAME));
    assert.equal(alertIn(await readToEnd(client)), 80);
    const refused = await gateway.logged(
      "connection_refused",
      (one) => String(one["detail"] ?? one["reason"]).includes("bad handshake"),
    );
    assert.match(JSON.stringify(refused), /The edge refuses the tunnel/);
    assert.ok(await metric(gateway, "cloudflared_failures_total", { reason: "edge_refused" }) >= 3);
    assert.equal(standIn.starts.length, 1);
  },
});

Deno.test({
  name: "cloudflared: a program that is not in the PATH is named, and the gateway goes on",
  ignore,
  async fn() {
    await using gateway = await TestGateway.start({
      yaml: `plugins: { cloudflared: { command: no-such-program-anywhere, names: ["*"] } }`,
    });
    using client = await gateway.connect();
    await writeAll(client, helloFor(NAME));
    assert.equal(alertIn(await readToEnd(client)), 80);
    const failed = await gateway.logged("cloudflared_failed");
    assert.equal(failed["cause"], "program_missing", JSON.stringify(failed));
  },
});

Deno.test({
  name: "cloudflared: its worker may run that one program and reach 127.0.0.1, and nothing else",
  ignore,
  async fn() {
    await using setup = await setUp();
    const response = await fetch(`${setup.gateway.adminUrl}/api/v1/plugins`);
    const text = await response.text();
    assert.match(text, new RegExp(`"run":\\["${setup.standIn.path}"\\]`), text);
    assert.match(text, /"net":\["127\.0\.0\.1"\]/);
    assert.match(text, /"env":false/);
    assert.match(text, /"read":false/);
  },
});

Deno.test({
  name: "cloudflared: the real program carries bytes through an Access edge, and shows it the service token",
  ignore: ignore || !can("cloudflared"),
  async fn() {
    const certificate = await createCertificate(NAME);
    await using backend = startTlsEcho(certificate);
    await using edge = await startAccessEdge(backend.target);
    await using folder = await temporaryFolder();
    const ca = await writePem(folder.path, "ca", edge.ca);
    await using program = await installRealCloudflared({ SSL_CERT_FILE: ca });
    await using gateway = await TestGateway.start({
      yaml: `plugins: { cloudflared: { command: "${program.path}", names: ["*"], hostname: "${edge.url}",
        ports: ${freeRange()}, serviceToken: { id: planted-id.access, secret: planted-secret } } }`,
    });
    using tcp = await gateway.connect();
    using tls = await Deno.startTls(tcp, { hostname: NAME, caCerts: [certificate.ca] });
    const random = crypto.getRandomValues(new Uint8Array(60_000));
    for (let i = 0; i < 20; i++) await echo(tls, random);
    closeQuietly(tls);
    assert.equal(edge.requests[0]?.get("cf-access-client-secret"), "planted-secret");
    assert.doesNotMatch(JSON.stringify(gateway.events), /planted/);
  },
});

for (const [answer, cause] of [["login", "bad_service_token"], ["forbidden", "edge_refused"]] as const) {
  Deno.test({
    name: `cloudflared: the real program before an Access edge that answers ${answer}: ${cause}`,
    ignore: ignore || !can("cloudflared"),
    async fn() {
      await using edge = await startAccessEdge("127.0.0.1:1");
      edge.answer = answer;
      await using folder = await temporaryFolder();
      const ca = await writePem(folder.path, "ca", edge.ca);
      await using program = await installRealCloudflared({ SSL_CERT_FILE: ca });
      await using gateway = await TestGateway.start({
        yaml: `plugins: { cloudflared: { command: "${program.path}", names: ["*"], hostname: "${edge.url}",
          ports: ${freeRange()}, serviceToken: { id: an-id.access, secret: a-secret } } }`,
      });
      await until(async () => {
        using client = await gateway.connect();
        await writeAll(client, helloFor(NAME));
        assert.equal(alertIn(await readToEnd(client)), 80);
        return gateway.events.some(({ event }) => event === "cloudflared_failed");
      }, { what: "the breaker to open" });
      const failed = await gateway.logged("cloudflared_failed");
      assert.equal(failed["cause"], cause, JSON.stringify(failed));
    },
  });
}
