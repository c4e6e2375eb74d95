import { createAuthority, createCertificate, type MadeCertificate } from "../support/certificates.ts";
import { writePem } from "../support/openssl.ts";
import { hasProgram } from "../support/permissions.ts";
import { type Postgres, psql, startPostgres } from "../support/postgres.ts";
import {
  freeAddress,
  hostPort,
  owning,
  type Program,
  startProgram,
  temporaryFolder,
} from "../support/processes.ts";
import { BACKEND_MODES, type BackendMode, type BackendPorts, type Target } from "./jobs.ts";
import { posternConfig, serverNameOf, startPostern } from "./peers.ts";

/** Something that terminates TLS, insists on a client certificate, and forwards what is inside of it. */
export interface MtlsPeer extends AsyncDisposable {
  readonly pid: number;
  /** How long its last few hundred decisions took, in milliseconds, if it tells. */
  authorizationsMs?(): number[];
  target(mode: BackendMode): Target;
}

export interface MtlsPeerKind {
  readonly name: string;
  readonly available: boolean;
  start(backends: BackendPorts, pki: Pki): Promise<MtlsPeer>;
}

/** Who trusts whom: P-256 throughout. */
export interface Pki {
  /** PEM of the CA of the clients. */
  readonly clientCa: string;
  readonly client: MadeCertificate;
  readonly server: MadeCertificate;
}

/** The paths of its files, in a folder of their own. */
interface PkiFiles {
  readonly path: string;
  readonly server: string;
  readonly serverKey: string;
  readonly clientCa: string;
}

interface GatewayOptions {
  readonly plugins: unknown;
  readonly declarations?: unknown;
  readonly logLevel?: "info" | "warn";
}

/** In which the names of all targets are. */
const DOMAIN = "bench.example";
/** Whom the client's certificate names. */
const USER = { org: "bench-org", user: "bench-user" };
const PLUGIN = new URL("./mtls_route_plugin.ts", import.meta.url).href;
const SCHEMA = new URL("../../plugins/mtls-postgres/schema.sql", import.meta.url);

export async function makePki(): Promise<Pki> {
  const authority = await createAuthority("Bench clients");
  return {
    clientCa: authority.certificate,
    client: await authority.issue({
      commonName: "bench",
      uris: [`spiffe://${DOMAIN}/orgs/${USER.org}/users/${USER.user}`],
    }),
    server: await createCertificate(`*.${DOMAIN}`),
  };
}

/** A plugin within the data plane that decides by the name alone: the price of TLS and nothing else. */
export const postern: MtlsPeerKind = {
  name: "postern",
  available: true,
  start: (backends, pki) =>
    owning(async (stack) =>
      await startGateway(stack, await writePki(stack, pki), {
        plugins: {
          "mtls-route": {
            ca: pki.clientCa,
            routes: Object.fromEntries(
              BACKEND_MODES.map((mode) => [serverNameOf(mode), `127.0.0.1:${backends[mode]}`]),
            ),
          },
        },
        declarations: { "mtls-route": { module: PLUGIN, isolation: "inline", permissions: {} } },
      })
    ),
};

/**
 * The plugin `mtls-postgres` in its worker, with a real database and an audit line for each decision, as users run it.
 *
 * @param cacheTtl `0s`: each decision is a query.
 */
export function posternOverDatabase(name: string, cacheTtl: string): MtlsPeerKind {
  return {
    name,
    available: hasProgram("initdb") && hasProgram("psql"),
    start: (backends, pki) =>
      owning(async (stack) => {
        const database = stack.use(await startPostgres({ tls: "off" }));
        await fillDatabase(database, backends);
        const files = await writePki(stack, pki);
        const { program, ...gateway } = await startGateway(stack, files, {
          logLevel: "info",
          plugins: {
            "mtls-postgres": {
              domain: DOMAIN,
              issuer: DOMAIN,
              caCertificates: [files.clientCa],
              cacheTtl,
              database: {
                host: database.address.hostname,
                port: database.address.port,
                user: database.user,
                name: "postgres",
              },
            },
          },
        });
        return {
          ...gateway,
          authorizationsMs: () =>
            Array.from(program.output.matchAll(/^.*"allowed":true.*"ms":([\d.]+)/gm), ([, ms]) => Number(ms)),
        };
      }),
  };
}

async function fillDatabase({ address }: Postgres, backends: BackendPorts): Promise<void> {
  const { org, user } = USER;
  const hosts = BACKEND_MODES.map((mode) =>
    `('${mode}', '127.0.0.1:${backends[mode]}', '${org}', '{${user}}')`
  );
  const sql = `${await Deno.readTextFile(SCHEMA)};
INSERT INTO users (user_id, org_id) VALUES ('${user}', '${org}');
INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id, user_ids) VALUES ${hosts.join(", ")};`;
  const { code, stderr } = await psql(sql, { address, sslMode: "disable" });
  if (code !== 0) throw new Error(`Cannot fill the database: ${stderr}`);
}

/** One thread, as Postern has, and the cipher that the client likes best, as Postern and stunnel choose it: AES-128 here. */
export const haproxy: MtlsPeerKind = {
  name: "haproxy",
  available: hasProgram("haproxy"),
  start: (backends, pki) =>
    owning(async (stack) => {
      const address = freeAddress();
      const { path, server, serverKey, clientCa } = await writePki(stack, pki);
      // Found by its name beside the certificate.
      await Deno.rename(serverKey, `${server}.key`);
      await Deno.writeTextFile(
        `${path}/haproxy.cfg`,
        `
global
  maxconn 2000
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend public
  bind ${
          hostPort(address)
        } ssl crt ${server} ca-file ${clientCa} verify required ssl-min-ver TLSv1.3 prefer-client-ciphers
${BACKEND_MODES.map((mode) => `  use_backend ${mode} if { ssl_fc_sni -i ${serverNameOf(mode)} }`).join("\n")}
${BACKEND_MODES.map((mode) => `backend ${mode}\n  server one 127.0.0.1:${backends[mode]}`).join("\n")}
`,
      );
      const args = ["-db", "-f", `${path}/haproxy.cfg`];
      const program = stack.use(await startProgram("haproxy", { args }));
      return await ready(program, (mode) => ({ address, serverName: serverNameOf(mode) }));
    }),
};

/** It has no names to route by: a port for each backend. A thread for each connection, on as many cores as there are. */
export const stunnel: MtlsPeerKind = {
  name: "stunnel",
  available: hasProgram("stunnel"),
  start: (backends, pki) =>
    owning(async (stack) => {
      const addresses = { echo: freeAddress(), sink: freeAddress(), source: freeAddress() };
      const { path, server, serverKey, clientCa } = await writePki(stack, pki);
      await Deno.writeTextFile(
        `${path}/stunnel.conf`,
        `
foreground = yes
pid =
debug = err
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
${
          BACKEND_MODES.map((mode) => `
[${mode}]
accept = ${hostPort(addresses[mode])}
connect = 127.0.0.1:${backends[mode]}
cert = ${server}
key = ${serverKey}
CAfile = ${clientCa}
verifyChain = yes
sslVersionMin = TLSv1.3
`).join("")
        }`,
      );
      const program = stack.use(await startProgram("stunnel", { args: [`${path}/stunnel.conf`] }));
      return await ready(program, (mode) => ({ address: addresses[mode], serverName: serverNameOf(mode) }));
    }),
};

async function startGateway(
  stack: AsyncDisposableStack,
  files: PkiFiles,
  { plugins, logLevel = "warn", ...more }: GatewayOptions,
): Promise<Pick<MtlsPeer, "pid" | "target"> & { readonly program: Program }> {
  const address = freeAddress();
  const config = posternConfig(address, plugins, {
    ...more,
    tls: { certificates: [{ cert: files.server, key: files.serverKey }] },
  });
  const program = await startPostern(stack, config, address, 1, logLevel);
  return { ...await ready(program, (mode) => ({ address, serverName: serverNameOf(mode) })), program };
}

async function writePki(stack: AsyncDisposableStack, pki: Pki): Promise<PkiFiles> {
  const { path } = stack.use(await temporaryFolder());
  return {
    path,
    server: await writePem(path, "server", pki.server.certificate),
    serverKey: await writePem(path, "server-key", pki.server.key),
    clientCa: await writePem(path, "client-ca", pki.clientCa),
  };
}

async function ready(
  program: Program,
  target: MtlsPeer["target"],
): Promise<Pick<MtlsPeer, "pid" | "target">> {
  for (const mode of BACKEND_MODES) await program.waitForPort(target(mode).address, { deadlineMs: 30_000 });
  return { pid: program.pid, target };
}
