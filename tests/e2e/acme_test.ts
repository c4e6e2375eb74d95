/**
 * Certificates from a real ACME directory, pebble, which rejects one nonce in five: by HTTP and by DNS, for routes and for live
 * tunnels, waited for, renewed, kept over a restart, and while the directory is down.
 */
import assert from "node:assert/strict";
import { closeQuietly } from "../../core/byte_stream.ts";
import type { CertificateRow } from "../../core/data_plane/snapshot.ts";
import { createToken, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { createAuthority } from "../support/certificates.ts";
import { TestGateway } from "../support/gateway.ts";
import { HttpClient } from "../support/http_client.ts";
import { writePem } from "../support/openssl.ts";
import { type Pebble, PEBBLE_PROGRAMS, startPebble } from "../support/pebble.ts";
import { freePort, temporaryFolder } from "../support/processes.ts";
import { http, RunningAgent } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const ENDPOINT = "tunnel.example.localhost";
const WAIT_MS = 30_000;

/** Takes lego's requests, and programs the DNS that pebble asks. */
function startWebhook(dns: string) {
  const calls: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const { fqdn, value } = await request.json();
    calls.push(`${pathname} ${fqdn} ${request.headers.get("authorization") ?? ""}`.trim());
    const [action, body] = pathname === "/hook/present"
      ? ["set-txt", { host: fqdn, value }]
      : ["clear-txt", { host: fqdn }];
    return await fetch(`${dns}/${action}`, { method: "POST", body: JSON.stringify(body) });
  });
  return {
    calls,
    url: `http://user:pass%20word@127.0.0.1:${server.addr.port}/hook`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A gateway with routes and tunnels, and everything that it needs. */
class Place implements AsyncDisposable {
  readonly httpPort = freePort();
  readonly token = createToken();
  readonly #stack = new AsyncDisposableStack();
  /** Of the certificates in files. */
  ca = "";
  folder = "";
  pebble!: Pebble;
  webhook!: ReturnType<typeof startWebhook>;
  gateway!: TestGateway;
  backend!: Deno.HttpServer<Deno.NetAddr>;

  static async make(): Promise<Place> {
    const place = new Place();
    const stack = place.#stack;
    place.folder = stack.use(await temporaryFolder()).path;
    place.pebble = stack.use(await startPebble({ httpPort: place.httpPort }));
    place.webhook = stack.use(startWebhook(place.pebble.dns));
    place.backend = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response("hello"),
    );
    stack.defer(() => place.backend.shutdown());
    const authority = await createAuthority();
    place.ca = authority.certificate;
    const { certificate, key } = await authority.issue({ names: [ENDPOINT, "*.files.example.com"] });
    await writePem(place.folder, "ca", authority.certificate);
    await writePem(place.folder, "server", certificate);
    await writePem(place.folder, "server-key", key);
    const tokens = [{
      id: "alice",
      sha256: digestOf(place.token).toHex(),
      created: "2026-01-01",
      allow: { hostnames: ["shop.example.org"] },
    }];
    await Deno.writeTextFile(`${place.folder}/tokens.yaml`, JSON.stringify(tokens));
    return place;
  }

  get cache(): string {
    return `${this.folder}/cache`;
  }

  options(routes: readonly string[], acme: object = {}, threads = 2) {
    const { folder, httpPort, pebble, webhook, backend } = this;
    const config = {
      listeners: [{ address: "127.0.0.1:0" }, { address: `127.0.0.1:${httpPort}`, kind: "http" }],
      tls: {
        certificates: [{ cert: `${folder}/server.pem`, key: `${folder}/server-key.pem` }],
        acme: {
          email: "ops@example.com",
          directory: pebble.directory,
          ca: pebble.ca,
          cache: this.cache,
          challenges: ["http-01", "dns-01"],
          dns01: { webhook: webhook.url, propagation: "0" },
          ...acme,
        },
      },
      plugins: {
        static: {
          routes: routes.map((sni) => ({ sni, terminate: true, to: `127.0.0.1:${backend.addr.port}` })),
        },
        "mtls-postgres": {
          domain: "connect.example.com",
          issuer: "example.com",
          caCertificates: [`${folder}/ca.pem`],
          database: { host: "127.0.0.1", port: 1, user: "u", password: "p", name: "n" },
        },
        "ws-agent": { domain: "tunnels.example.com", endpoint: ENDPOINT, tokens: `${folder}/tokens.yaml` },
      },
    };
    return {
      threads,
      yaml: Object.entries(config).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join(""),
    };
  }

  /** An agent that has `hostname`. It ends with the place. */
  async agent(hostname: string): Promise<void> {
    const target = `127.0.0.1:${this.backend.addr.port}`;
    const agent = new RunningAgent({
      gateway: { secure: true, host: ENDPOINT, port: this.gateway.port(0), path: "/tunnel/v1" },
      name: "agent",
      tls: { extraCa: this.ca, insecure: false },
      connections: 1,
      reconnect: { minMs: 20, maxMs: 250 },
      credentials: { token: this.token },
      services: [{ ...http(hostname.split(".")[0] ?? "", target), hostname }],
    });
    this.#stack.use(agent);
    await agent.ready();
  }

  /** What an https client gets that trusts `ca` alone. */
  async get(hostname: string, ca: string): Promise<string> {
    const conn = await this.gateway.connect(0);
    const tls = await Deno.startTls(conn, { hostname, caCerts: [ca], alpnProtocols: ["http/1.1"] });
    try {
      await tls.handshake();
      using client = new HttpClient(tls, hostname);
      return (await client.request()).text;
    } catch (error) {
      closeQuietly(tls);
      throw error;
    }
  }

  row(name: string): CertificateRow | undefined {
    return this.gateway.supervisor.certificates.find(({ names, source }) =>
      source === "acme" && names.includes(name)
    );
  }

  /** Waits for a row that `matches`. */
  async rowThat(name: string, matches: (row: CertificateRow) => boolean): Promise<CertificateRow> {
    return await until(() => {
      const row = this.row(name);
      return row !== undefined && matches(row) && row;
    }, { what: () => `${name}: ${JSON.stringify(this.row(name))}`, deadlineMs: WAIT_MS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway?.[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }
}

Deno.test({
  name:
    "names of routes and tunnels get their certificates from a real ACME directory, renewed and over a restart",
  ignore: !can(...PEBBLE_PROGRAMS),
  async fn(t) {
    await using place = await Place.make();
    const { pebble } = place;
    const routes = ["app.example.com", "*.wild.example.com", "x.files.example.com"];
    place.gateway = await TestGateway.start(place.options(routes));
    const root = await pebble.root();

    await t.step("a plugin that must prove itself at the start has its certificate by then", () => {
      assert.deepEqual(place.row("*.connect.example.com")?.state, "valid");
      const proofs = place.gateway.events.filter(({ event }) => event === "mutual_tls_proved");
      assert.equal(proofs.length, 2);
    });

    await t.step("clients that come first wait for the certificates, each for its own", async () => {
      const names = ["app.example.com", "a.wild.example.com", "app.example.com", "b.wild.example.com"];
      assert.deepEqual(
        await Promise.all(names.map((name) => place.get(name, root))),
        names.map(() => "hello"),
      );
      const kinds = place.gateway.events.filter(({ event }) => event === "acme_order")
        .map((event) => `${event["name"]} ${event["challenge"]}`).sort();
      assert.deepEqual(kinds, [
        "*.connect.example.com dns-01",
        "*.tunnels.example.com dns-01",
        "*.wild.example.com dns-01",
        "app.example.com http-01",
      ]);
      assert.deepEqual(place.webhook.calls.filter((call) => call.includes("wild")), [
        `/hook/present _acme-challenge.wild.example.com. Basic ${btoa("user:pass word")}`,
        `/hook/cleanup _acme-challenge.wild.example.com. Basic ${btoa("user:pass word")}`,
      ]);
    });

    await t.step("a live tunnel's name of its own gets one, too", async () => {
      await place.agent("shop.example.org");
      assert.equal(await place.get("shop.example.org", root), "hello");
    });

    await t.step("a certificate from files wins, and a stray name never reaches the directory", async () => {
      assert.equal(await place.get("x.files.example.com", place.ca), "hello");
      const strays = ["stray.example.org", "y.app.example.com", "www.shop.example.org"];
      for (const name of strays) await assert.rejects(place.get(name, root), /UnrecognisedName/i, name);
      assert.equal(pebble.orders(), 5);
      assert.ok(pebble.output().includes("http://shop.example.org:"), "it would say so");
      assert.equal(strays.some((name) => pebble.output().includes(name)), false);
    });

    await t.step("status and metrics tell of them, and nothing tells a key", async () => {
      const admin = place.gateway.adminUrl;
      const { certificates } = await (await fetch(`${admin}/api/v1/status`)).json();
      const told = certificates.map((row: CertificateRow) => `${row.names} ${row.source} ${row.state}`)
        .sort();
      assert.deepEqual(told, [
        "*.connect.example.com acme valid",
        "*.tunnels.example.com acme valid",
        "*.wild.example.com acme valid",
        "app.example.com acme valid",
        "shop.example.org acme valid",
        `${ENDPOINT},*.files.example.com files valid`,
      ]);
      const metrics = await (await fetch(`${admin}/metrics`)).text();
      assert.match(metrics, /^postern_certificates\{source="acme",state="valid"\} 5$/m);
      assert.match(metrics, /^postern_acme_orders_total\{result="issued"\} 5$/m);
      assert.match(
        metrics,
        /^postern_certificate_expiry_timestamp_seconds\{name="app.example.com",source="acme"\} \d+$/m,
      );
      const secret = await secretsIn(place.cache);
      assert.equal(secret.length, 6);
      const log = JSON.stringify(place.gateway.events);
      for (const one of secret) assert.equal(log.includes(one), false);
      assert.equal(/pass word|pass%20word/.test(log), false);
    });

    await t.step("a reload brings new names and another address, and drops what no route has", async () => {
      const reloaded = place.options(["new.example.com", ...routes.slice(1)], { email: "other@example.com" });
      assert.deepEqual(await place.gateway.reload(reloaded), []);
      assert.equal(await place.get("new.example.com", root), "hello");
      assert.equal((await place.rowThat("app.example.com", () => true)).nextAttempt, undefined);
      const elsewhere = place.options(routes, { directory: "https://127.0.0.1:1/dir" });
      assert.deepEqual(await place.gateway.reload(elsewhere), ["tls.acme (other permissions)"]);
    });

    await place.gateway[Symbol.asyncDispose]();
    await pebble.stop();
    place.gateway = await TestGateway.start(
      place.options([...routes, "late.example.com", "later.example.com"], {}, 1),
    );

    await t.step("after a restart the cache has them, while the directory is down", async () => {
      assert.equal(await place.get("app.example.com", root), "hello");
      assert.equal(await place.get("a.wild.example.com", root), "hello");
      const row = await place.rowThat("late.example.com", ({ state }) => state === "failed");
      assert.match(row.error ?? "", /^Cannot ask 127\.0\.0\.1:\d+/);
      await assert.rejects(place.get("late.example.com", root), /UnrecognisedName/i);
    });

    await t.step(
      "it is asked again by itself, and a new account is made where the old one is forgotten",
      async () => {
        await pebble.start({ validitySeconds: 6 });
        await place.rowThat("late.example.com", ({ state }) => state === "valid");
        assert.equal(await place.get("late.example.com", await pebble.root()), "hello");
        await place.rowThat("later.example.com", ({ state }) => state === "valid");
        await place.gateway.logged("acme_account_created");
        assert.equal(place.gateway.events.filter(({ event }) => event === "acme_account_created").length, 1);
      },
    );

    await t.step("while a renewal fails the old one stays, and status says why", async () => {
      const shortRoot = await pebble.root();
      await pebble.stop();
      const { state } = await place.rowThat("late.example.com", ({ error }) => error !== undefined);
      assert.equal(state, "valid");
      assert.equal(await place.get("late.example.com", shortRoot), "hello");
      const { notAfter } = place.row("late.example.com") ?? {};
      await pebble.start({ validitySeconds: 60 });
      await place.rowThat("late.example.com", (row) => row.notAfter !== notAfter && row.error === undefined);
      assert.equal(await place.get("late.example.com", await pebble.root()), "hello");
      const { names } = place.row("app.example.com") ?? {};
      assert.deepEqual(names, ["app.example.com"]);
    });
  },
});

/** The innards of every private key below a folder; everything there is for its owner only. */
async function secretsIn(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    const { mode = 0 } = await Deno.stat(path);
    assert.equal((mode ?? 0) & 0o077, 0, path);
    if (isDirectory) found.push(...await secretsIn(path));
    else {
      const key = /PRIVATE KEY-----(?:\\n|\n)([A-Za-z0-9+/]+)/.exec(await Deno.readTextFile(path))?.[1];
      if (key !== undefined) found.push(key);
    }
  }
  return found;
}
