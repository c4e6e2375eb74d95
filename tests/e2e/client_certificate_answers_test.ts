/** What real clients are told whose certificate does not let them in, and what the log says of it. */
import assert from "node:assert/strict";
import { createAuthority, type MadeCertificate } from "../support/certificates.ts";
import { curl } from "../support/curl.ts";
import { startSource, type TestServer } from "../support/echo.ts";
import { sClient, writePem } from "../support/openssl.ts";
import { type Postgres, psql, startPostgres } from "../support/postgres.ts";
import { run } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";
import { untilMetric } from "./metrics.ts";
import { addHost, DOMAIN, makeTables, MtlsGateway, spiffeId, sql } from "./mtls_gateway.ts";

const ignore = !can("initdb", "postgres", "psql");
const NAME = `host-1.${DOMAIN}`;
const HTTP = "GET / HTTP/1.0\r\n\r\n";
/** Told within TLS, in the client's own protocol, where no alert is possible any more. */
const NOT_ACCEPTED = /The client certificate was not accepted/;

type Version = "TLSv1.2" | "TLSv1.3";

let stack: AsyncDisposableStack;
let server: Postgres;
let there: MtlsGateway;
/** Would send `welcome` to whoever got in. */
let host: TestServer;
let caFile: string;

Deno.test.beforeAll(async () => {
  if (ignore) return;
  await using opening = new AsyncDisposableStack();
  host = opening.use(startSource(new TextEncoder().encode("HTTP/1.0 200 OK\r\n\r\nwelcome")));
  server = opening.use(await startPostgres({ tls: "off" }));
  await makeTables(server);
  await sql(server, "INSERT INTO users (user_id, org_id) VALUES ('alice', 'acme'), ('dave', 'acme')");
  await addHost(server, "host-1", { address: host.target, users: ["alice"] });
  there = opening.use(await MtlsGateway.start({ database: server.address }));
  caFile = await writePem(there.folder, "server-ca", there.serverCa);
  stack = opening.move();
});
Deno.test.afterAll(async () => await stack?.disposeAsync());

/** Somebody who does not get in. */
interface Fault {
  readonly name: string;
  readonly make: () => Promise<MadeCertificate | undefined>;
  /** The TLS alert that ends its handshake. */
  readonly alert: Partial<Record<Version, { readonly number: number; readonly text: RegExp }>>;
  /** Told when there is no alert. */
  readonly within?: RegExp;
  /** In the audit. */
  readonly reason: string;
  /** In the log, too. */
  readonly detail: RegExp;
}

const REQUIRED = { number: 116, text: /certificate[_ ]required/i };

const faults: readonly Fault[] = [
  {
    name: "missing",
    make: () => Promise.resolve(undefined),
    alert: { "TLSv1.2": REQUIRED, "TLSv1.3": REQUIRED },
    reason: "tls_no_certificate",
    detail: /certificate/,
  },
  {
    name: "expired",
    make: () => there.issue("alice", { notAfter: new Date(Date.now() - 1000) }),
    alert: { "TLSv1.2": { number: 45, text: /certificate[_ ]expired|verification failed/i } },
    within: NOT_ACCEPTED,
    reason: "tls_bad_certificate",
    detail: /has expired on/,
  },
  {
    name: "of a wrong CA",
    make: async () => await (await createAuthority()).issue({ uris: [spiffeId("alice")], usage: "client" }),
    alert: { "TLSv1.2": { number: 48, text: /unknown[_ ]ca/i } },
    within: NOT_ACCEPTED,
    reason: "tls_bad_certificate",
    detail: /does not lead to a trusted CA/,
  },
  {
    name: "without a SPIFFE ID",
    make: () => there.issue("alice", { uris: [] }),
    alert: {},
    within: NOT_ACCEPTED,
    reason: "no_spiffe_id",
    detail: /no URI/,
  },
  {
    name: "of a wrong trust domain",
    make: () => there.issue("alice", { uris: [spiffeId("alice", "acme", "example.org")] }),
    alert: {},
    within: NOT_ACCEPTED,
    reason: "wrong_trust_domain",
    detail: /example\.org/,
  },
  {
    name: "of somebody who may not",
    make: () => there.issue("dave"),
    alert: {},
    within: /Access denied/,
    reason: "not_listed",
    detail: /not_listed/,
  },
];

interface Files {
  readonly cert: string;
  readonly key: string;
}

/** Every client, as a user would run it; what it tells that user. */
const clients: Readonly<
  Record<
    string,
    (version: Version, files: Files | undefined, fault: MadeCertificate | undefined) => Promise<string>
  >
> = {
  async openssl(version, _, certificate) {
    const options = { serverName: NAME, ca: there.serverCa, version, input: HTTP };
    const { received, log, code } = await sClient(there.address, {
      ...options,
      ...(certificate && { certificate }),
    });
    if (received === "") assert.notEqual(code, 0, log);
    return `${received}${log}`;
  },
  async curl(version, _, certificate) {
    const args = version === "TLSv1.2" ? ["--tls-max", "1.2"] : ["--tlsv1.3"];
    const options = {
      connectTo: there.address,
      ca: there.serverCa,
      args,
      ...(certificate && { certificate }),
    };
    const { code, status, text, log } = await curl(`https://${NAME}/`, options);
    assert.ok(code !== 0 || status === 403, `${code} ${status} ${log}`);
    return `${text}${log}`;
  },
  async python3(version, files) {
    const script = `
import socket, ssl
context = ssl.create_default_context(cafile="${caFile}")
context.minimum_version = context.maximum_version = ssl.TLSVersion.${version.replace(".", "_")}
${files ? `context.load_cert_chain("${files.cert}", "${files.key}")` : ""}
try:
    with socket.create_connection(("127.0.0.1", ${there.address.port})) as raw:
        with context.wrap_socket(raw, server_hostname="${NAME}") as tls:
            tls.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            print(tls.recv(1000).decode())
except ssl.SSLError as error:
    print(error)`;
    const { stdout, stderr, code } = await run("python3", { args: ["-c", script] });
    assert.equal(code, 0, stderr);
    return stdout;
  },
  async node(version, files) {
    const pair = files &&
      `cert: read(${JSON.stringify(files.cert)}), key: read(${JSON.stringify(files.key)}),`;
    const script = `
const read = require("fs").readFileSync;
const socket = require("tls").connect({ host: "127.0.0.1", port: ${there.address.port}, servername: "${NAME}",
  ca: read("${caFile}"), minVersion: "${version}", maxVersion: "${version}", ${pair ?? ""} });
socket.on("secureConnect", () => socket.write(${JSON.stringify(HTTP)}));
socket.on("data", (data) => console.log(data.toString()));
socket.on("error", ({ code }) => console.log(code));`;
    const { stdout, stderr, code } = await run("node", { args: ["-e", script] });
    assert.equal(code, 0, stderr);
    return stdout;
  },
  async psql(version, files) {
    const parameters = {
      sslcert: files?.cert ?? "/nonexistent/client.pem",
      ...(files && { sslkey: files.key }),
      ssl_min_protocol_version: version,
      ssl_max_protocol_version: version,
    };
    const options = {
      address: there.address,
      host: NAME,
      sslMode: "verify-full",
      caFile,
      parameters,
    } as const;
    const { code, stderr } = await psql("SELECT 1", options);
    assert.equal(code, 2, stderr);
    return stderr;
  },
};

for (const fault of faults) {
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    for (const [client, visit] of Object.entries(clients)) {
      const alert = fault.alert[version];
      Deno.test({
        name: `${client}, ${version}, with a certificate ${fault.name} is told so ${
          alert ? "by an alert" : "within TLS"
        }`,
        ignore: ignore || !can(client),
        async fn() {
          const certificate = await fault.make();
          const files = certificate && {
            cert: await writePem(there.folder, "client", certificate.certificate),
            key: await writePem(there.folder, "client-key", certificate.key),
          };
          const before = there.lines().length;
          const told = await visit(version, files, certificate);
          assert.match(told, alert?.text ?? fault.within ?? assert.fail("it is told nothing"));
          if (alert && client === "openssl") {
            assert.match(told, new RegExp(`alert number ${alert.number}\\b`));
          }
          assert.doesNotMatch(told, /welcome|alice|dave|acme|spiffe/, "nobody is told who might get in");
          await until(() => there.lines().length > before, { what: "an audit line" });
          const { reason, allowed } = there.lines().at(-1) ?? assert.fail("no line");
          assert.deepEqual([reason, allowed], [fault.reason, false]);
          assert.equal(there.lines().length, before + 1);
          assert.equal(host.accepted, 0, "nothing reaches the backend");
        },
      });
    }
  }
}

for (const [i, fault] of faults.entries()) {
  Deno.test({
    name: `the log says what is wrong with a certificate ${fault.name}, and it is counted`,
    ignore,
    async fn() {
      const certificate = await fault.make();
      const localAddress = `127.0.1.${i + 1}`; // each source is told of once a minute
      assert.equal((await there.try("host-1", certificate, { localAddress })).isIn, false);
      const isAbout = (source: unknown) => String(source).startsWith(`${localAddress}:`);
      await until(() => there.lines().some(({ source }) => isAbout(source)), { what: "an audit line" });
      const lines = there.gateway.events.filter(({ source }) => isAbout(source));
      assert.match(
        lines.map((line) => JSON.stringify(line["detail"] ?? line["reason"])).join(" "),
        fault.detail,
      );
      const counted = fault.reason === "not_listed" ? "authz_failures_total" : "auth_failures_total";
      const all = there.lines().filter(({ reason }) => reason === fault.reason).length;
      await untilMetric(there.gateway, all, counted, { plugin: "mtls-postgres", reason: fault.reason });
    },
  });
}
