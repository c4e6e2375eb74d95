import denoJson from "../../deno.json" with { type: "json" };
import { hasProgram } from "../support/permissions.ts";
import {
  type Address,
  denoEnvironment,
  freeAddress,
  hostPort,
  isRoot,
  owning,
  type Program,
  startProgram,
  temporaryFolder,
} from "../support/processes.ts";
import { BACKEND_MODES, type BackendMode, type BackendPorts, type Target } from "./jobs.ts";

/** Something that takes connections and brings them to the backends by the name in the ClientHello. */
export interface Peer extends AsyncDisposable {
  /** The process to measure; `direct` has none. */
  readonly pid?: number;
  target(mode: BackendMode): Target;
  /** A second address of those that can hold a crowd, see {@link CROWD_HOSTNAME}. */
  readonly crowdAddress?: Address;
}

/** How to start one, ready for `connections` at the same time. */
export interface PeerKind {
  readonly name: string;
  readonly available: boolean;
  /** Whether it takes 15,000 connections with the usual limit of 20,000 descriptors, and has a `crowdAddress`. */
  readonly holdsCrowds: boolean;
  start(backends: BackendPorts): Promise<Peer>;
}

/** More than any of the measurements opens. */
const MAX_CONNECTIONS = 18_000;

/** HAProxy wants two descriptors a connection and more for splicing before it starts: what 20,000 allow. */
const HAPROXY_MAX_CONNECTIONS = 7_500;

/**
 * Where a crowd of silent clients connects to. With 15,000 connections from 127.0.0.1 to one address the kernel has
 * few free ports left and searches long for each: a client beside them takes 3 ms instead of 0.6 to connect, whatever
 * the proxy does (measured with nginx).
 */
const CROWD_HOSTNAME = "127.0.0.2";

const ROOT = new URL("../../", import.meta.url).pathname;
/** Arguments of Deno before the program, as `deno task gateway` has them. */
export const RUN: readonly string[] = denoJson.tasks.gateway.split(" ").slice(1, -2);
const NGINX_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so";

/** In the order of the columns. */
export const PEERS: readonly PeerKind[] = [
  postern("postern", 1),
  postern("postern-2", 2),
  haproxy("haproxy", 1),
  haproxy("haproxy-2", 2),
  nginx(),
  sniproxy(),
  direct(),
];

/** The name that a peer routes to the backend of this mode. */
export function serverNameOf(mode: BackendMode): string {
  return `${mode}.bench.example`;
}

/** Starts Postern with this config, as a user would. */
export async function startPostern(
  stack: AsyncDisposableStack,
  config: unknown,
  address: Address,
  threads: number,
  logLevel: "info" | "warn" = "warn",
): Promise<Program> {
  const folder = stack.use(await temporaryFolder()).path;
  const file = `${folder}/postern.yaml`;
  // JSON is YAML.
  await Deno.writeTextFile(file, JSON.stringify(config, null, 2));
  const args = [...RUN, `${ROOT}cli/main.ts`, "gateway", "--config", file];
  const program = stack.use(
    await startProgram(Deno.execPath(), {
      args: [...args, "--threads", String(threads), "--log-level", logLevel],
      env: denoEnvironment(),
      cwd: folder,
    }),
  );
  await program.waitForPort(address, { deadlineMs: 30_000 });
  return program;
}

/** Limits that let a bench hold what it wants; everything else as it comes. */
export function posternConfig(address: Address, plugins: unknown, more: object = {}): unknown {
  return {
    listeners: [address, crowdAddress(address)].map((listener) => ({ address: hostPort(listener) })),
    admin: { address: hostPort(freeAddress()) },
    limits: { maxConnections: MAX_CONNECTIONS, prefaceTimeout: "5m" },
    plugins,
    ...more,
  };
}

function postern(name: string, threads: number): PeerKind {
  return kind(name, { available: true, holdsCrowds: true }, async (stack, address, backends) => {
    const routes = BACKEND_MODES.map((mode) => ({ sni: serverNameOf(mode), to: backendOf(backends, mode) }));
    return await startPostern(stack, posternConfig(address, { static: { routes } }), address, threads);
  });
}

function haproxy(name: string, threads: number): PeerKind {
  return kind(
    name,
    { available: hasProgram("haproxy"), holdsCrowds: false },
    async (stack, address, backends) => {
      const folder = stack.use(await temporaryFolder()).path;
      const file = `${folder}/haproxy.cfg`;
      await Deno.writeTextFile(
        file,
        `
global
  maxconn ${HAPROXY_MAX_CONNECTIONS}
  nbthread ${threads}
defaults
  mode tcp
  option splice-auto
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend public
  bind ${hostPort(address)}
  tcp-request inspect-delay 5m
  tcp-request content accept if { req_ssl_hello_type 1 }
${BACKEND_MODES.map((mode) => `  use_backend ${mode} if { req_ssl_sni -i ${serverNameOf(mode)} }`).join("\n")}
${BACKEND_MODES.map((mode) => `backend ${mode}\n  server one ${backendOf(backends, mode)}`).join("\n")}
`,
      );
      return stack.use(await startProgram("haproxy", { args: ["-db", "-f", file] }));
    },
  );
}

function nginx(): PeerKind {
  const available = hasProgram("nginx") && hasProgram(NGINX_STREAM_MODULE);
  return kind("nginx", { available, holdsCrowds: true }, async (stack, address, backends) => {
    const folder = stack.use(await temporaryFolder()).path;
    const file = `${folder}/nginx.conf`;
    await Deno.writeTextFile(
      file,
      `
load_module ${NGINX_STREAM_MODULE};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${folder}/pid;
error_log ${folder}/error.log;
${isRoot() ? "user root;" : ""}
events { worker_connections 19900; }
stream {
  map $ssl_preread_server_name $target {
${BACKEND_MODES.map((mode) => `    ${serverNameOf(mode)} ${backendOf(backends, mode)};`).join("\n")}
  }
  server {
    listen ${hostPort(address)} backlog=4096;
    listen ${hostPort(crowdAddress(address))} backlog=4096;
    ssl_preread on;
    preread_timeout 5m;
    proxy_timeout 1h;
    proxy_pass $target;
  }
}
`,
    );
    return stack.use(await startProgram("nginx", { args: ["-p", folder, "-c", file, "-e", "stderr"] }));
  });
}

function sniproxy(): PeerKind {
  return kind(
    "sniproxy",
    { available: hasProgram("sniproxy"), holdsCrowds: false },
    async (stack, address, backends) => {
      const folder = stack.use(await temporaryFolder()).path;
      const file = `${folder}/sniproxy.conf`;
      await Deno.writeTextFile(
        file,
        `
${isRoot() ? "user root" : ""}
pidfile ${folder}/pid
error_log {
  filename ${folder}/error.log
  priority error
}
listener ${hostPort(address)} {
  protocol tls
  table by_name
}
table by_name {
${BACKEND_MODES.map((mode) => `  ${serverNameOf(mode)} ${backendOf(backends, mode)}`).join("\n")}
}
`,
      );
      return stack.use(
        await startProgram("sniproxy", { args: ["-f", "-n", String(MAX_CONNECTIONS), "-c", file] }),
      );
    },
  );
}

/** No proxy at all: what the load generator and the backend can do. */
function direct(): PeerKind {
  return {
    name: "direct",
    available: true,
    holdsCrowds: false,
    start: (backends) =>
      Promise.resolve({
        target: (mode) => ({
          address: { hostname: "127.0.0.1", port: backends[mode] },
          serverName: serverNameOf(mode),
        }),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
  };
}

function kind(
  name: string,
  traits: { readonly available: boolean; readonly holdsCrowds: boolean },
  open: (stack: AsyncDisposableStack, address: Address, backends: BackendPorts) => Promise<Program>,
): PeerKind {
  return {
    name,
    ...traits,
    start: (backends) =>
      owning(async (stack) => {
        const address = freeAddress();
        const program = await open(stack, address, backends);
        await program.waitForPort(address, { deadlineMs: 30_000 });
        const target = (mode: BackendMode): Target => ({ address, serverName: serverNameOf(mode) });
        return {
          pid: program.pid,
          target,
          ...(traits.holdsCrowds ? { crowdAddress: crowdAddress(address) } : {}),
        };
      }),
  };
}

function crowdAddress({ port }: Address): Address {
  return { hostname: CROWD_HOSTNAME, port };
}

function backendOf(backends: BackendPorts, mode: BackendMode): string {
  return `127.0.0.1:${backends[mode]}`;
}
