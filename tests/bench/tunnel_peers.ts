import {
  freeAddress,
  freePort,
  hostPort,
  owning,
  type Program,
  run,
  temporaryFolder,
} from "../support/processes.ts";
import {
  findPeer,
  HTTP_HOST,
  missingOf,
  publicPorts,
  SERVICES,
  startPeerProgram,
  type TunnelKind,
  type TunnelPeer,
} from "./tunnel_kinds.ts";
import type { ServicePorts, StreamService } from "./tunnel_jobs.ts";
import { HOSTNAME } from "./tunnel_load.ts";
import { ownLoopback } from "./tunnel_place.ts";

/** Each is a process, of up to 20 MiB. */
const MAX_PROCESSES = 100;
const START = { deadlineMs: 30_000 };
/** On which bore's server waits for its agents; nothing changes it. */
const BORE_CONTROL_PORT = 7835;

/** Its agents open a TCP connection for each stream, or share one by yamux (the default, and what is measured). */
export function frp(name: string, tls: boolean): TunnelKind {
  return {
    name,
    missing: missingOf("frps", "frpc"),
    leg: tls ? "TLS, certificate not verified" : "none",
    maxAgents: MAX_PROCESSES,
    start: ({ place, services }) =>
      owning(async (stack) => {
        const folder = stack.use(await temporaryFolder()).path;
        const ports = publicPorts();
        const [bindPort, httpPort] = [freePort(), freePort()];
        const server = await place.reach({ hostname: HOSTNAME, port: bindPort });
        await Deno.writeTextFile(
          `${folder}/frps.toml`,
          `
bindAddr = "${HOSTNAME}"
proxyBindAddr = "${HOSTNAME}"
bindPort = ${bindPort}
vhostHTTPPort = ${httpPort}
log.level = "error"
`,
        );
        const head = `
serverAddr = "${server.hostname}"
serverPort = ${server.port}
log.level = "error"
transport.tls.enable = ${tls}
`;
        const proxy = (service: string, to: number, remotePort: number, type = "tcp") => `
[[proxies]]
name = "${service}"
type = "${type}"
localIP = "${HOSTNAME}"
localPort = ${to}
remotePort = ${remotePort}
`;
        await Deno.writeTextFile(
          `${folder}/frpc.toml`,
          `${head}
[[proxies]]
name = "by-name"
type = "http"
localIP = "${HOSTNAME}"
localPort = ${services.http}
customDomains = ["${HTTP_HOST}"]
${proxy("datagrams", services.datagrams, ports.datagrams, "udp")}
${
            SERVICES.map((one) => proxy(one, services[one], ports[one])).join(
              "",
            )
          }`,
        );
        const program = (owner: AsyncDisposableStack, name: string, config: string) =>
          startPeerProgram(owner, name, { args: ["-c", `${folder}/${config}`] });
        const gateway = await program(stack, "frps", "frps.toml");
        await gateway.waitForPort({ hostname: HOSTNAME, port: bindPort }, START);
        const agent = await program(stack, "frpc", "frpc.toml");
        return {
          ...peer(ports, gateway, [agent]),
          datagrams: { address: { hostname: HOSTNAME, port: ports.datagrams } },
          http: { address: { hostname: HOSTNAME, port: httpPort }, host: HTTP_HOST },
          addAgents: inProcesses(stack, async (owner, remotePort, index) => {
            const config = `${head}${proxy(`spare-${index}`, services.echo, remotePort)}`;
            await Deno.writeTextFile(`${folder}/spare-${index}.toml`, config);
            return await program(owner, "frpc", `spare-${index}.toml`);
          }),
        };
      }),
  };
}

/** Streams are channels of one SSH connection within a WebSocket. It knows no names. */
export const chisel: TunnelKind = {
  name: "chisel",
  missing: missingOf("chisel"),
  leg: "SSH",
  maxAgents: MAX_PROCESSES,
  start: ({ place, services }) =>
    owning(async (stack) => {
      const ports = publicPorts();
      const address = freeAddress();
      const server = await place.reach(address);
      const remote = (from: number, to: number) => `R:${HOSTNAME}:${from}:${HOSTNAME}:${to}`;
      const client = (owner: AsyncDisposableStack, ...remotes: readonly string[]) =>
        startPeerProgram(owner, "chisel", {
          args: ["client", `http://${hostPort(server)}`, ...remotes],
        });
      const gateway = await startPeerProgram(stack, "chisel", {
        args: ["server", "--host", address.hostname, "--port", `${address.port}`, "--reverse"],
      });
      await gateway.waitForPort(address, START);
      const agent = await client(
        stack,
        ...SERVICES.map((service) => remote(ports[service], services[service])),
      );
      return {
        ...peer(ports, gateway, [agent]),
        addAgents: inProcesses(
          stack,
          (owner, remotePort) => client(owner, remote(remotePort, services.echo)),
        ),
      };
    }),
};

/** A TCP connection for each stream, some of them opened ahead. It knows no names. */
export function rathole(name: string, transport: "tcp" | "noise"): TunnelKind {
  return {
    name,
    missing: missingOf("rathole"),
    leg: transport === "noise" ? "Noise" : "none",
    maxAgents: MAX_PROCESSES,
    start: ({ place, services, spareAgents }) =>
      owning(async (stack) => {
        const folder = stack.use(await temporaryFolder()).path;
        const ports = publicPorts();
        const control = freeAddress();
        const server = await place.reach(control);
        const spares = Array.from({ length: spareAgents }, freePort);
        const keys = transport === "noise" ? await ratholeKeys() : undefined;
        const section = (side: string, key: string, value: string | undefined) =>
          value === undefined ? "" : `
[${side}.transport]
type = "noise"
[${side}.transport.noise]
${key} = "${value}"
`;
        const client = async (
          owner: AsyncDisposableStack,
          name: string,
          offered: Readonly<Record<string, number>>,
        ) => {
          const file = `${folder}/${name}.toml`;
          await Deno.writeTextFile(
            file,
            `
[client]
remote_addr = "${hostPort(server)}"
default_token = "bench"
${section("client", "remote_public_key", keys?.publicKey)}
${
              Object.entries(offered).map(([service, port]) => `
[client.services.${service}]
local_addr = "${HOSTNAME}:${port}"
`).join("")
            }`,
          );
          return await startPeerProgram(owner, "rathole", {
            args: ["--client", file],
            env: { RUST_LOG: "error" },
          });
        };
        const offered = [
          ...SERVICES.map((service) => [service, ports[service]] as const),
          ...spares.map((port, i) => [`spare-${i}`, port] as const),
        ];
        await Deno.writeTextFile(
          `${folder}/server.toml`,
          `
[server]
bind_addr = "${hostPort(control)}"
default_token = "bench"
${section("server", "local_private_key", keys?.privateKey)}
${
            offered.map(([service, port]) => `
[server.services.${service}]
bind_addr = "${HOSTNAME}:${port}"
`).join("")
          }`,
        );
        const gateway = await startPeerProgram(stack, "rathole", {
          args: ["--server", `${folder}/server.toml`],
          env: { RUST_LOG: "error" },
        });
        await gateway.waitForPort(control, START);
        const agent = await client(stack, "client", { ...services });
        return {
          ...peer(ports, gateway, [agent]),
          addAgents: inProcesses(
            stack,
            (owner, _port, index) => client(owner, `spare-${index}`, { [`spare-${index}`]: services.echo }),
            (index) => spares[index] ?? 0,
          ),
        };
      }),
  };
}

async function ratholeKeys(): Promise<{ publicKey: string; privateKey: string }> {
  const { stdout } = await run(findPeer("rathole") ?? "rathole", { args: ["--genkey"] });
  const [privateKey, publicKey] = Array.from(stdout.matchAll(/^\S+=$/gm), ([key]) => key);
  if (privateKey === undefined || publicKey === undefined) throw new Error(`No keys: ${stdout}`);
  return { privateKey, publicKey };
}

/** A TCP connection for each stream, and a process for each tunnel. It knows no names. */
export const bore: TunnelKind = {
  name: "bore",
  missing: missingOf("bore"),
  leg: "none",
  maxAgents: MAX_PROCESSES,
  start: ({ place, services }) =>
    owning(async (stack) => {
      const ports = publicPorts();
      // Where it waits for its agents can't be told, so each server has an address of its own.
      const control = { hostname: ownLoopback(), port: BORE_CONTROL_PORT };
      const server = await place.reach(control, true);
      const gateway = await startPeerProgram(stack, "bore", {
        args: ["server", "--bind-addr", control.hostname, "--bind-tunnels", HOSTNAME],
      });
      await gateway.waitForPort(control, START);
      const local = (owner: AsyncDisposableStack, port: number, remotePort: number) =>
        startPeerProgram(owner, "bore", {
          args: ["local", `${port}`, "-l", HOSTNAME, "--to", server.hostname, "--port", `${remotePort}`],
        });
      const agents = [];
      for (const service of SERVICES) agents.push(await local(stack, services[service], ports[service]));
      return {
        ...peer(ports, gateway, agents),
        addAgents: inProcesses(stack, (owner, remotePort) => local(owner, services.echo, remotePort)),
      };
    }),
};

/** No tunnel at all: what the load generator and the machine can do. */
export const direct: TunnelKind = {
  name: "direct",
  missing: [],
  leg: "there is none",
  maxAgents: 0,
  start: ({ services }) =>
    owning(() =>
      Promise.resolve({
        agentPids: [],
        datagrams: { address: { hostname: HOSTNAME, port: services.datagrams } },
        stream: (service: StreamService) => ({
          address: { hostname: HOSTNAME, port: services[service] },
        }),
      })
    ),
};

function peer(
  ports: ServicePorts,
  gateway: Program,
  agents: readonly Program[],
): Omit<TunnelPeer, "addAgents" | keyof AsyncDisposable> {
  const at = (port: number) => ({ address: { hostname: HOSTNAME, port } });
  return {
    gatewayPid: gateway.pid,
    agentPids: agents.map(({ pid }) => pid),
    stream: (service) => at(ports[service]),
  };
}

/**
 * Starts processes with a tunnel each, one after the other: together they would wait for the processor all the same.
 *
 * @param stack Ends them.
 */
function inProcesses(
  stack: AsyncDisposableStack,
  start: (owner: AsyncDisposableStack, remotePort: number, index: number) => Promise<Program>,
  portOf: (index: number) => number = freePort,
): (count: number) => Promise<void> {
  const owner = stack.use(new AsyncDisposableStack());
  return async (count) => {
    for (let index = 0; index < count; index++) {
      const port = portOf(index);
      const program = await start(owner, port, index);
      await program.waitFor(() => takesConnections(port), { what: `port ${port}`, ...START });
    }
  };
}

/** Whether somebody listens; frp may reset what comes before its agent is quite there. */
async function takesConnections(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: HOSTNAME, port })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    if (error instanceof Deno.errors.ConnectionReset) return true;
    throw error;
  }
}
