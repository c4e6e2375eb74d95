import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { createAuthority, createCertificate, type MadeCertificate } from "../support/certificates.ts";
import { TestGateway } from "../support/gateway.ts";
import { sClient, writePem } from "../support/openssl.ts";
import { type Postgres, psql, startPostgres } from "../support/postgres.ts";
import { type Address, hostPort, temporaryFolder } from "../support/processes.ts";
import { can } from "./can.ts";
import { certificateFiles } from "./certificate_files.ts";
import { staticRoutes } from "../support/static_routes.ts";

const ignore = !can("initdb", "postgres", "psql", "openssl");
const NAME = "db.example.com";

let server: Postgres;
let tls: MadeCertificate & { readonly ca: string };

Deno.test.beforeAll(async () => {
  if (ignore) return;
  tls = await createCertificate(NAME);
  server = await startPostgres({ tls });
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

/** Passes PostgreSQL's TLS through, by name. */
async function passing(): Promise<TestGateway> {
  const route = { sni: NAME, protocol: "postgres", to: hostPort(server.address) } as const;
  return await TestGateway.start({ yaml: staticRoutes(route) });
}

function addressOf(gateway: TestGateway): Address {
  return { hostname: "127.0.0.1", port: gateway.port() };
}

Deno.test({
  name: "psql gets through with sslmode=require, and its TLS is PostgreSQL's own",
  ignore,
  async fn() {
    await using gateway = await passing();
    const options = { address: addressOf(gateway), host: NAME };
    const ssl = await psql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", options);
    assert.deepEqual([ssl.code, ssl.rows], [0, ["t"]], ssl.stderr);
    const login = { ...options, user: server.passwordUser };
    const user = await psql("SELECT current_user", { ...login, password: server.password });
    assert.deepEqual(user.rows, [server.passwordUser], user.stderr);
    const wrong = await psql("SELECT 1", { ...login, password: "wrong" });
    assert.match(wrong.stderr, /password authentication failed/, "SCRAM is bound to the channel end to end");
  },
});

Deno.test({
  name: "psql gets through with sslmode=verify-full: the certificate is the server's own",
  ignore,
  async fn() {
    await using gateway = await passing();
    await using folder = await temporaryFolder();
    const verified = {
      address: addressOf(gateway),
      sslMode: "verify-full",
      parameters: { channel_binding: "require" },
      user: server.passwordUser,
      password: server.password,
    } as const;
    const caFile = await writePem(folder.path, "ca", tls.ca);
    const good = await psql("SELECT 1", { ...verified, host: NAME, caFile });
    assert.deepEqual([good.code, good.rows], [0, ["1"]], good.stderr);
    const stranger = await writePem(folder.path, "stranger", (await createAuthority("Other CA")).certificate);
    const bad = await psql("SELECT 1", { ...verified, host: NAME, caFile: stranger });
    assert.match(bad.stderr, /certificate verify failed/);
  },
});

Deno.test({
  name: "psql gets and sends a lot through the gateway, every byte of it",
  ignore,
  async fn() {
    await using gateway = await passing();
    const options = { address: addressOf(gateway), host: NAME };
    const rows = "SELECT n, md5(n::text) FROM generate_series(1, 200000) n";
    const big = await psql(rows, options);
    assert.equal(big.rows.length, 200_000, big.stderr);
    for (const n of [1, 100_000, 200_000]) {
      const md5 = createHash("md5").update(String(n)).digest("hex");
      assert.equal(big.rows[n - 1], `${n}|${md5}`);
    }
    const sent = "x".repeat(100_000);
    const echoed = await psql(`SELECT length('${sent}'), repeat('y', 8000000)`, options);
    assert.equal(echoed.rows[0], `100000|${"y".repeat(8_000_000)}`);
  },
});

Deno.test({
  name: "several psql at once do not disturb each other",
  ignore,
  async fn() {
    await using gateway = await passing();
    const options = { address: addressOf(gateway), host: NAME };
    const all = Array.from({ length: 6 }, async (_, i) => {
      const { rows, stderr } = await psql(`SELECT pg_sleep(0.05), repeat('${i}', 300000)`, options);
      assert.equal(rows[0], `|${String(i).repeat(300_000)}`, stderr);
    });
    await Promise.all(all);
  },
});

Deno.test({
  name: "psql with GSS encryption on offer, as libpq does by itself, gets through all the same",
  ignore,
  async fn() {
    await using gateway = await passing();
    using client = await gateway.connect();
    await writeAll(client, Uint8Array.fromHex("0000000804d21630"));
    const answer = new Uint8Array(8);
    assert.deepEqual([await client.read(answer), answer[0]], [1, "N".charCodeAt(0)]);
    closeQuietly(client);
    const options = { address: addressOf(gateway), host: NAME, parameters: { gssencmode: "prefer" } };
    const { rows, stderr } = await psql("SELECT 1", options);
    assert.deepEqual(rows, ["1"], stderr);
  },
});

Deno.test({
  name: "psql with another name is told that nobody has it",
  ignore,
  async fn() {
    await using gateway = await passing();
    const { code, stderr } = await psql("SELECT 1", { address: addressOf(gateway), host: "no.example.com" });
    assert.equal(code, 2);
    assert.match(stderr, /unrecognized name/);
  },
});

Deno.test({
  name: "psql is told in TLS when PostgreSQL hangs up on the SSLRequest, here for a PROXY header before it",
  ignore,
  async fn() {
    const to = hostPort(server.address);
    const route = { sni: NAME, protocol: "postgres", to, proxyProtocol: "v2" } as const;
    await using gateway = await TestGateway.start({ yaml: staticRoutes(route) });
    const { code, stderr } = await psql("SELECT 1", { address: addressOf(gateway), host: NAME });
    assert.equal(code, 2);
    assert.match(stderr, /internal error/);
  },
});

Deno.test({
  name: "psql is terminated at the gateway, and PostgreSQL behind it has no TLS",
  ignore,
  async fn() {
    await using plain = await startPostgres({ tls: "off" });
    await using certificate = await certificateFiles(NAME);
    const to = hostPort(plain.address);
    const route = { sni: NAME, protocol: "postgres", terminate: true, to } as const;
    await using gateway = await TestGateway.start({
      yaml: `${certificate.yaml}\n${staticRoutes(route)}`,
    });
    await using folder = await temporaryFolder();
    const caFile = await writePem(folder.path, "ca", certificate.ca);
    const options = { address: addressOf(gateway), host: NAME, sslMode: "verify-full", caFile } as const;
    const ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    const { code, rows, stderr } = await psql(ssl, options);
    assert.deepEqual([code, rows], [0, ["f"]], stderr);
    const big = await psql("SELECT repeat('z', 8000000)", options);
    assert.equal(big.rows[0], "z".repeat(8_000_000), big.stderr);

    await plain[Symbol.asyncDispose]();
    const down = await psql("SELECT 1", options);
    assert.match(down.stderr, /The service cannot be reached/, "PostgreSQL's own error, within the TLS");
  },
});

Deno.test({
  name:
    "PostgreSQL's direct TLS (ALPN postgresql) takes the route of protocol postgres, without an SSLRequest",
  ignore,
  async fn() {
    const { certificate: cert, key } = tls;
    using backend = Deno.listenTls({
      hostname: "127.0.0.1",
      port: 0,
      cert,
      key,
      alpnProtocols: ["postgresql"],
    });
    const { port } = backend.addr as Deno.NetAddr;
    const served = (async () => {
      using conn = await backend.accept();
      const { alpnProtocol } = await conn.handshake();
      const buffer = new Uint8Array(100);
      const request = new TextDecoder().decode(buffer.subarray(0, await conn.read(buffer) ?? 0));
      await writeAll(conn, new TextEncoder().encode(`${alpnProtocol}: ${request}`));
    })();
    await using gateway = await TestGateway.start({
      yaml: staticRoutes(
        { sni: NAME, protocol: "postgres", to: `127.0.0.1:${port}` },
        { sni: NAME, protocol: "tls", to: "127.0.0.1:1" },
      ),
    });
    const { received, alpn, log } = await sClient(addressOf(gateway), {
      serverName: NAME,
      ca: tls.ca,
      alpn: ["postgresql"],
      input: "hello",
    });
    assert.deepEqual([alpn, received], ["postgresql", "postgresql: hello"], log);
    await served;
  },
});
