/** The table "Answers to bad input", a test for each row, named after it. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { bytes, HELLO, LARGE_HELLO, SSL_REQUEST } from "../core/data_plane/preface/samples.ts";
import { curl } from "../support/curl.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { sClient } from "../support/openssl.ts";
import { psql } from "../support/postgres.ts";
import { type Address, freePort } from "../support/processes.ts";
import { SshLikeClient } from "../support/ssh_like.ts";
import { startUnreachable } from "../support/unreachable.ts";
import { until } from "../support/until.ts";
import { alertIn, exchange, exchangeText, postgresError } from "../support/wire.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";
import { metric, untilMetric } from "./metrics.ts";
import { staticRoutes } from "../support/static_routes.ts";

const ignore = !can("openssl", "curl", "psql");

function addressOf(gateway: TestGateway): Address {
  return { hostname: "127.0.0.1", port: gateway.port() };
}

function row(what: string, then: string, fn: () => Promise<void>): void {
  Deno.test({ name: `${what}: ${then}`, ignore, fn });
}

row(
  "TLS without SNI, or a name that nobody routes",
  "alert unrecognized_name (112), counted, logged once per name and minute",
  async () => {
    await using gateway = await TestGateway.start({
      yaml: staticRoutes({ sni: "known.example.com", to: "127.0.0.1:1" }, {
        protocol: "other",
        to: "127.0.0.1:1",
      }),
    });
    const address = addressOf(gateway);
    assert.equal((await sClient(address, { serverName: null })).alert, 112);
    for (const serverName of ["stray.example.com", "STRAY.example.com", "other.example.com"]) {
      for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
        const { alert, log } = await sClient(address, { serverName, version });
        assert.equal(alert, 112, log);
      }
    }
    await untilMetric(gateway, 6, "rejected_total", { reason: "unknown_name" });
    await untilMetric(gateway, 1, "rejected_total", { reason: "no_server_name" });
    await until(() => refusals(gateway).length >= 3, { what: "the log lines" });
    assert.deepEqual(refusals(gateway), [
      ["no_server_name", undefined],
      ["unknown_name", "stray.example.com"],
      ["unknown_name", "other.example.com"],
    ]);
  },
);

function refusals(gateway: TestGateway): unknown[][] {
  return gateway.events.filter(({ event }) => event === "connection_refused")
    .map(({ result, sni }) => [result, sni]);
}

row("no bytes within prefaceTimeout", "closed, counted as preface_timeout", async () => {
  await using gateway = await TestGateway.start({ yaml: `limits: { prefaceTimeout: 150ms }\nplugins: {}\n` });
  const begin = performance.now();
  assert.equal((await exchange(gateway)).length, 0);
  const took = performance.now() - begin;
  assert.ok(took > 100 && took < 1500, `closed after ${took} ms`);
  await untilMetric(gateway, 1, "rejected_total", { reason: "preface_timeout" });
});

row(
  "something that no plugin takes",
  "a short line of plain text where the protocol allows it, then close",
  async () => {
    await using gateway = await TestGateway.start({ yaml: staticRoutes() });
    const line = "No service here takes this connection";
    assert.equal(await exchangeText(gateway, "EHLO there\r\n"), `${line}\r\n`);
    assert.equal(await exchangeText(gateway, "SSH-2.0-OpenSSH_9.2\r\n"), `${line}\r\n`);
    assert.equal(await exchangeText(gateway, Uint8Array.of(0x80, 0xff, 0, 1, 2)), `${line}\r\n`);
    const { status, text } = await curl("http://demo.test/", { connectTo: addressOf(gateway) });
    assert.deepEqual([status, text], [404, `${line}\n`]);
    await untilMetric(gateway, 4, "rejected_total", { reason: "no_route" });
  },
);

row(
  "PostgreSQL without TLS",
  "error packet 28000: this gateway routes by TLS server name; use sslmode=require",
  async () => {
    const route = { sni: "db.example.com", protocol: "postgres", to: "127.0.0.1:1" } as const;
    await using gateway = await TestGateway.start({ yaml: staticRoutes(route) });
    const address = addressOf(gateway);
    const options = { address, host: "db.example.com", sslMode: "disable" } as const;
    const { code, stderr } = await psql("SELECT 1", options);
    assert.equal(code, 2);
    assert.match(stderr, /FATAL: {2}This gateway routes by TLS server name; use sslmode=require\n/);
    const startup = bytes([0, 0, 0, 17, 0, 3, 0, 0], "user\0me\0", 0);
    const { S, V, C } = postgresError(await exchange(gateway, startup));
    assert.deepEqual([S, V, C], ["FATAL", "FATAL", "28000"]);
  },
);

row(
  "PROXY header from a source that is not trusted, or malformed",
  "refused, counted as proxy_protocol_refused",
  async () => {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `listeners:
  - { address: "127.0.0.1:0" }
  - { address: "[::1]:0", proxyProtocol: { from: ["::1/128"] } }
${
        staticRoutes({ protocol: "http", to: echo.target, proxyProtocol: "v1" }, {
          protocol: "other",
          to: echo.target,
        })
      }`,
    });
    const trusting = { connect: () => Deno.connect({ hostname: "::1", port: gateway.port(1) }) };
    const request = "GET / HTTP/1.0\r\n\r\n";
    const good = "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n";
    using client = await trusting.connect();
    await writeAll(client, new TextEncoder().encode(good + request));
    await client.closeWrite();
    assert.equal(
      new TextDecoder().decode(await readToEnd(client)),
      good + request,
      "a good one gets through",
    );
    for (
      const [from, header] of [
        [gateway, good],
        [trusting, "PROXY TCP4 203.0.113.999 192.0.2.1 56324 443\r\n"],
        [trusting, "PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\n"],
      ] as const
    ) {
      assert.match(await exchangeText(from, header + request), /^A PROXY header is not accepted here\r\n$/);
    }
    await untilMetric(gateway, 3, "rejected_total", { reason: "proxy_protocol_refused" });
    assert.equal(echo.accepted, 1);
  },
);

row(
  "target refuses, times out",
  "HTTP 502/504 also within terminated TLS; TLS before the handshake: alert internal_error; closed, counted per target",
  async () => {
    const refusing = `127.0.0.1:${freePort()}`;
    await using silent = await startUnreachable();
    await using certificate = await certificateFiles("*.ended.example.com");
    for (
      const { target, status, reason } of [
        { target: refusing, status: 502, reason: "connect_failed" },
        { target: silent.target, status: 504, reason: "connect_timeout" },
      ]
    ) {
      await using gateway = await TestGateway.start({
        yaml: `${certificate.yaml}\nlimits: { connectTimeout: 200ms }\n${
          staticRoutes(
            { protocol: "http", to: target },
            { sni: "app.ended.example.com", terminate: true, to: target },
            { sni: "passed.example.com", to: target },
            { sni: "db.example.com", protocol: "postgres", to: target },
          )
        }`,
      });
      const connectTo = addressOf(gateway);
      const plain = await curl("http://demo.test/", { connectTo });
      assert.equal(plain.status, status, plain.log);
      const within = await curl("https://app.ended.example.com/", { connectTo, ca: certificate.ca });
      assert.equal(within.status, status, within.log);
      const passed = await sClient(connectTo, { serverName: "passed.example.com" });
      assert.equal(passed.alert, 80, passed.log);
      const { stderr } = await psql("SELECT 1", { address: connectTo, host: "db.example.com" });
      assert.match(stderr, /alert internal error/);
      await untilMetric(gateway, 4, "rejected_total", { reason });
      await untilMetric(gateway, 4, "static_target_failures_total", { target });
    }
  },
);

row("over a limit", "refused at once with the limit's name", async () => {
  for (
    const [limit, name] of [
      ["maxConnections: 1", "max_connections"],
      ["maxConnectionsPerSource: 1", "max_connections_per_source"],
      ["maxAcceptRatePerSource: 1", "max_accept_rate_per_source"],
    ] as const
  ) {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `limits: { ${limit} }\n${staticRoutes({ protocol: "ssh", to: echo.target })}`,
    });
    using first = await (await SshLikeClient.connect(gateway.port())).greeted();
    const begin = performance.now();
    // A second may have begun between the two: then the next one is over the rate.
    await until(
      async () => (await exchange(gateway, "")).length === 0 && await metric(gateway, ...refused(name)) > 0,
      {
        what: `${name} to be broken`,
      },
    );
    assert.ok(performance.now() - begin < 3000);
    const line = await gateway.logged("connection_refused", ({ result }) => result === name);
    assert.equal(line.source, "127.0.0.1");
    await first.echo("the first one goes on");
  }
  await using gateway = await TestGateway.start({
    yaml: `limits: { maxPrefaceBytes: 4KiB }\n${staticRoutes()}`,
  });
  assert.equal(alertIn(await exchange(gateway, LARGE_HELLO)), 50);
  await untilMetric(gateway, 1, ...refused("preface_too_large"));
});

function refused(reason: string): ["rejected_total", { reason: string }] {
  return ["rejected_total", { reason }];
}

row(
  "a plugin crashes",
  "its worker is restarted with backoff; connections that are being relayed go on",
  async () => {
    await using echo = startEcho();
    const module = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;
    await using gateway = await TestGateway.start({
      yaml: `plugins: { troubled: { to: "${echo.target}", trouble: "closes itself" } }`,
      declarations: { troubled: { module, isolation: "worker", permissions: {} } },
      times: { pingMs: 100, firstBackoffMs: 100 },
    });
    using relayed = await (await SshLikeClient.connect(gateway.port())).greeted();
    await exchange(gateway, "this brings trouble\r\n");
    const died = await gateway.logged("worker_died");
    assert.equal(died.worker, "plugin:troubled");
    await relayed.echo("still here");
    const unit = gateway.supervisor.pluginUnits.get("troubled");
    await until(() => unit?.worker.up && unit.worker.restarts === 1, { what: "the restart" });
    using again = await (await SshLikeClient.connect(gateway.port())).greeted();
    await again.echo("back again");
    await relayed.echo("and still the same connection");
    await untilMetric(gateway, 1, "plugin_restarts_total", { plugin: "troubled" });
  },
);

Deno.test({
  name: "the client behind an SSLRequest of PostgreSQL gets its alert in TLS",
  ignore,
  async fn() {
    await using gateway = await TestGateway.start({ yaml: staticRoutes() });
    using client = await gateway.connect();
    await writeAll(client, SSL_REQUEST);
    const answer = new Uint8Array(1);
    await client.read(answer);
    assert.equal(answer[0], "S".charCodeAt(0));
    await writeAll(client, HELLO);
    assert.equal(alertIn(await readToEnd(client)), 112);
  },
});
