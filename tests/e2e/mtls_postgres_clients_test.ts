import assert from "node:assert/strict";
import { createAuthority, createCertificate, type MadeCertificate } from "../support/certificates.ts";
import { writeAll } from "../../core/byte_stream.ts";
import { curl } from "../support/curl.ts";
import { serveTcp, startEcho, type TestServer } from "../support/echo.ts";
import { startNginx } from "../support/nginx.ts";
import { sClient, writePem } from "../support/openssl.ts";
import { type Postgres, psql, startPostgres } from "../support/postgres.ts";
import { hostPort, run } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import {
  addHost,
  DOMAIN,
  makeTables,
  MtlsGateway,
  type MtlsGatewayOptions,
  spiffeId,
  sql,
} from "./mtls_gateway.ts";

const ignore = !can("initdb", "postgres", "psql");
const HOST = "host-1";
const NAME = `${HOST}.${DOMAIN}`;

/** Knows who gets in, and is what alice gets to in the tests with psql. */
let server: Postgres;
let backendCa: MadeCertificate & { readonly ca: string };

Deno.test.beforeAll(async () => {
  if (ignore) return;
  backendCa = await createCertificate("db.internal");
  server = await startPostgres({ tls: backendCa });
  await makeTables(server);
  await sql(server, "INSERT INTO users (user_id, org_id) VALUES ('alice', 'acme')");
});
Deno.test.afterAll(async () => await server?.[Symbol.asyncDispose]());

/** A gateway where alice may go to `target`. */
async function gatewayTo(
  target: string,
  options: Partial<MtlsGatewayOptions> = {},
): Promise<MtlsGateway> {
  await sql(server, "TRUNCATE backend_hosts");
  await addHost(server, HOST, { address: target, users: ["alice"] });
  return await MtlsGateway.start({ database: server.address, ...options });
}

Deno.test({
  name: "openssl s_client gets in with its certificate, without one or with a stranger's it gets an alert",
  ignore: ignore || !can("openssl"),
  async fn() {
    await using greeter = serveTcp(async (connection) => {
      await writeAll(connection, new TextEncoder().encode("welcome\n"));
      await connection.closeWrite();
    });
    await using there = await gatewayTo(greeter.target);
    const certificate = await there.issue("alice");
    const stranger = await (await createAuthority()).issue({ uris: [spiffeId("alice")], usage: "client" });
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const options = { serverName: NAME, ca: there.serverCa, version };
      const good = await sClient(there.address, { ...options, certificate });
      assert.match(good.received, /welcome/, good.log);
      const none = await sClient(there.address, options);
      const unknown = await sClient(there.address, { ...options, certificate: stranger });
      assert.equal(`${none.received}${unknown.received}`.includes("welcome"), false);
      if (version === "TLSv1.2") assert.ok(none.alert !== undefined && unknown.alert !== undefined, none.log);
    }
    assert.equal(greeter.accepted, 2);
    await until(() => there.lines().length === 6, { what: "six audit lines" });
    assert.deepEqual(
      there.lines().map(({ reason }) => reason ?? "in"),
      ["in", "tls_no_certificate", "tls_bad_certificate", "in", "tls_no_certificate", "tls_bad_certificate"],
    );
  },
});

Deno.test({
  name: "curl and Python get to a web server behind it, and HTTP/2 clients fall back",
  ignore: ignore || !can("curl", "nginx", "python3"),
  async fn() {
    await using web = await startNginx();
    await using there = await gatewayTo(hostPort(web.address));
    const certificate = await there.issue("alice");
    const url = `https://${NAME}/`;
    const options = { connectTo: there.address, ca: there.serverCa };
    const good = await curl(url, { ...options, certificate });
    assert.deepEqual([good.status, good.version], [200, "1.1"], good.log);
    const bad = await curl(url, options);
    assert.equal(bad.status, 0, bad.text);

    const cert = await writePem(there.folder, "alice", certificate.certificate);
    const key = await writePem(there.folder, "alice-key", certificate.key);
    const ca = await writePem(there.folder, "server-ca", there.serverCa);
    const script = `
import socket, ssl
context = ssl.create_default_context(cafile="${ca}")
context.load_cert_chain("${cert}", "${key}")
with socket.create_connection(("127.0.0.1", ${there.address.port})) as raw:
    with context.wrap_socket(raw, server_hostname="${NAME}") as tls:
        tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(tls.recv(100).split(b"\\r\\n")[0].decode())`;
    const python = await run("python3", { args: ["-c", script] });
    assert.match(python.stdout, /^HTTP\/1\.1 200/, python.stderr);
  },
});

/** Parameters of psql with alice's certificate. */
async function asAlice(there: MtlsGateway) {
  const { certificate, key } = await there.issue("alice");
  return {
    address: there.address,
    host: NAME,
    sslMode: "verify-full",
    caFile: await writePem(there.folder, "server-ca", there.serverCa),
    parameters: {
      sslcert: await writePem(there.folder, "alice", certificate),
      sslkey: await writePem(there.folder, "alice-key", key),
    },
  } as const;
}

for (const leg of ["plain", "TLS"] as const) {
  Deno.test({
    name: `psql gets through with sslcert, to a PostgreSQL over ${leg}`,
    ignore,
    async fn() {
      await using folder = await targetCaFile();
      const targetTls = { ca: folder.path, serverName: "db.internal" };
      await using there = await gatewayTo(hostPort(server.address), {
        section: leg === "TLS" ? { targetTls } : {},
      });
      const options = await asAlice(there);
      const ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
      const { code, rows, stderr } = await psql(ssl, options);
      assert.deepEqual([code, rows], [0, [leg === "TLS" ? "t" : "f"]], stderr);
      const big = await psql("SELECT repeat('z', 3000000)", options);
      assert.equal(big.rows[0]?.length, 3_000_000, big.stderr);
      const { parameters: _, ...anonymous } = options;
      const refused = await psql("SELECT 1", {
        ...anonymous,
        parameters: { sslcert: "/nonexistent/client.pem" },
      });
      assert.notEqual(refused.code, 0);
      await there.gateway.logged("access", ({ reason }) => reason === "tls_no_certificate");
    },
  });
}

async function targetCaFile() {
  const path = await Deno.makeTempFile({ suffix: ".pem" });
  await Deno.writeTextFile(path, backendCa.ca);
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}

Deno.test({
  name: "a PROXY v2 header tells the target who it is, in a TLV",
  ignore,
  async fn() {
    const headers: Uint8Array[] = [];
    await using target: TestServer = serveTcp(async (connection) => {
      const buffer = new Uint8Array(1024);
      const length = await connection.read(buffer) ?? 0;
      headers.push(buffer.slice(0, length));
    });
    await using there = await gatewayTo(target.target, { section: { proxyProtocol: "v2" } });
    await there.try(HOST, await there.issue("alice"));
    const header = await until(() => headers[0], { what: "a header" });
    const id = new TextEncoder().encode(spiffeId("alice"));
    const tlv = Uint8Array.of(0xe0, 0, id.length, ...id).toHex();
    assert.ok(header.toHex().startsWith("0d0a0d0a000d0a515549540a21"), header.toHex());
    assert.ok(header.toHex().includes(tlv), header.toHex());
  },
});

Deno.test({
  name: "a source that fails too often is turned away before the handshake, and another is not",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using there = await gatewayTo(echo.target, { section: { failuresPerMinute: 3 } });
    const certificate = await there.issue("alice");
    for (let i = 0; i < 3; i++) {
      assert.equal((await there.audited(HOST)).line["reason"], "tls_no_certificate");
    }
    assert.equal((await there.audited(HOST, certificate)).line["reason"], "over_limit");
    assert.equal((await there.try(HOST, certificate, { localAddress: "127.0.0.2" })).isIn, true);
  },
});

Deno.test({
  name: "the plugin's worker can reach its database and nothing else, and its log has no secret",
  ignore,
  async fn() {
    await using echo = startEcho();
    const section = {
      database: {
        host: server.address.hostname,
        port: server.address.port,
        user: server.passwordUser,
        password: server.password,
        name: "postgres",
      },
    };
    await sql(server, `GRANT SELECT ON backend_hosts, teams, users TO ${server.passwordUser}`);
    await using there = await gatewayTo(echo.target, { section });
    assert.equal((await there.try(HOST, await there.issue("alice"))).isIn, true);
    const status = await (await fetch(`${there.gateway.adminUrl}/api/v1/status`)).text();
    const metrics = await (await fetch(`${there.gateway.adminUrl}/metrics`)).text();
    const log = JSON.stringify(there.gateway.events);
    for (const text of [status, metrics, log]) {
      assert.doesNotMatch(text, new RegExp(`${server.password}|BEGIN CERTIFICATE|PRIVATE KEY`));
    }
    const { permissions } = there.gateway.supervisor.plugins.find(({ name }) => name === "mtls-postgres") ??
      assert.fail("no plugin");
    assert.deepEqual(permissions.net, [hostPort(server.address)]);
    assert.deepEqual([permissions.read, permissions.write, permissions.run], [false, false, false]);
  },
});
