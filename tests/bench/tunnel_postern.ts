import { type AgentSettings, formatGateway, formatTarget } from "../../plugins/ws-agent/agent/mod.ts";
import { createToken, createTokenId, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { createAuthority } from "../support/certificates.ts";
import { GO_TUNNEL_SECRET } from "../support/go_tunnel_client.ts";
import { writePem } from "../support/openssl.ts";
import {
  denoEnvironment,
  freeAddress,
  hostPort,
  owning,
  type Program,
  startProgram,
  temporaryFolder,
} from "../support/processes.ts";
import { Helper } from "./helper.ts";
import { posternConfig, RUN, startPostern } from "./peers.ts";
import type { ServicePorts } from "./tunnel_jobs.ts";
import { startAccess, startGoTunnel } from "./tunnel_detour_peers.ts";
import {
  BULK_SERVICES,
  type BulkService,
  DOMAIN,
  HTTP_HOST,
  publicPorts,
  SERVICES,
  type TunnelKind,
} from "./tunnel_kinds.ts";
import { HOSTNAME } from "./tunnel_load.ts";

/** In one process, so that they take little of the machine. */
const MAX_AGENTS = 20_000;
const AGENTS_DEADLINE_MS = 120_000;
const AGENTS = new URL("./tunnel_agents.ts", import.meta.url).pathname;
const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;
const ENDPOINT = `tunnel.${DOMAIN}`;

/** What `tunnel_agents.ts` is told on its command line. */
export interface AgentsJob {
  readonly settings: AgentSettings;
  /** How many, which differ by their names and those of their services. */
  readonly copies: number;
}

/** Postern itself, with its agents over TLS (`wss`) or without (`ws`). One thread, one connection. */
export function postern(name: string, scheme: "wss" | "ws"): TunnelKind {
  return {
    name,
    missing: [],
    leg: scheme === "wss" ? "TLS, certificate verified" : "none",
    maxAgents: MAX_AGENTS,
    start: ({ place, services }) =>
      owning(async (stack) => {
        const folder = stack.use(await temporaryFolder()).path;
        const authority = await createAuthority();
        const certificate = await authority.issue({ names: [`*.${DOMAIN}`] });
        const token = createToken();
        await Deno.writeTextFile(`${folder}/tokens.yaml`, tokenFile(token));
        const [secure, plain] = [freeAddress(), freeAddress()];
        const config = posternConfig(secure, {
          "ws-agent": {
            domain: DOMAIN,
            endpoint: ENDPOINT,
            tokens: `${folder}/tokens.yaml`,
            ports: "1024-65535",
            portsAddress: HOSTNAME,
            limits: { tunnels: MAX_AGENTS, streamsPerTunnel: 100_000 },
            plainHttp: true,
            plainEndpoint: true,
            jwt: { secret: GO_TUNNEL_SECRET },
          },
        }, {
          listeners: [{ address: hostPort(secure) }, { address: hostPort(plain), kind: "http" }],
          tls: {
            certificates: [{
              cert: await writePem(folder, "server", certificate.certificate),
              key: await writePem(folder, "server-key", certificate.key),
            }],
          },
        });
        const gateway = await startPostern(stack, config, secure, 1);
        const { port } = await place.reach(scheme === "wss" ? secure : plain);
        const ports = publicPorts();
        const settings: AgentSettings = {
          gateway: { secure: scheme === "wss", host: ENDPOINT, port, path: "/tunnel/v1" },
          name: "bench",
          credentials: { token },
          tls: { extraCa: authority.certificate, insecure: false },
          connections: 1,
          reconnect: { minMs: 500, maxMs: 5000 },
          services: servicesOf(services, ports),
        };
        const agent = await startAgent(stack, settings, folder);
        const spares = stack.use(new AsyncDisposableStack());
        const reached = { address: settings.gateway, ca: caFile(folder), folder };
        const at = (port: number) => ({ address: { hostname: HOSTNAME, port } });
        return {
          gatewayPid: gateway.pid,
          agentPids: [agent.pid],
          http: { address: plain, host: HTTP_HOST },
          https: { address: secure, serverName: HTTP_HOST, host: HTTP_HOST },
          stream: (service) => at(ports[service]),
          datagrams: at(ports.datagrams),
          startAccess: (service) => startAccess(reached, { service: privateName(service), token }),
          ...(scheme === "wss" && {
            startGoTunnel: () =>
              startGoTunnel(reached, {
                secret: GO_TUNNEL_SECRET,
                target: { hostname: HOSTNAME, port: services.http },
                reached: plain,
              }),
          }),
          addAgents: async (count: number) => {
            const spare = { ...settings, name: "spare", services: settings.services.slice(0, 1) };
            await startAgents(spares, { settings: spare, copies: count });
          },
        };
      }),
  };
}

function tokenFile(token: string): string {
  const sha256 = digestOf(token).toHex();
  // JSON is YAML.
  return JSON.stringify([{ id: createTokenId(), sha256, created: "2026-01-01" }]);
}

/** By which the same service is reached by `postern access` alone. */
function privateName(service: BulkService): string {
  return `private-${service}`;
}

function servicesOf(services: ServicePorts, ports: ServicePorts): AgentSettings["services"] {
  const target = (port: number) => ({ host: HOSTNAME, port, tls: false });
  const common = { proxyProtocol: "off" } as const;
  return [
    { name: "app", protocol: "http", target: target(services.http), ...common },
    {
      name: "datagrams",
      protocol: "udp",
      target: target(services.datagrams),
      remotePort: ports.datagrams,
      ...common,
    },
    ...SERVICES.map((name) => ({
      name,
      protocol: "tcp" as const,
      target: target(services[name]),
      remotePort: ports[name],
      ...common,
    })),
    ...BULK_SERVICES.map((name) => ({
      name: privateName(name),
      protocol: "tcp" as const,
      target: target(services[name]),
      private: true,
      ...common,
    })),
  ];
}

/** Starts the agent as a user would. */
async function startAgent(
  stack: AsyncDisposableStack,
  { gateway, name, credentials, tls, connections, services }: AgentSettings,
  folder: string,
): Promise<Program> {
  const ca = caFile(folder);
  await Deno.writeTextFile(ca, tls.extraCa ?? "");
  const config = {
    gateway: formatGateway(gateway),
    name,
    ...credentials,
    tls: { ca },
    connections,
    services: services.map(({ name, protocol, target, remotePort, private: isPrivate }) => ({
      name,
      protocol,
      target: formatTarget(target),
      ...(remotePort !== undefined && { remotePort }),
      ...(isPrivate && { private: true }),
    })),
  };
  // JSON is YAML.
  await Deno.writeTextFile(`${folder}/agent.yaml`, JSON.stringify(config));
  const args = [...RUN, CLI, "agent", "--config", `${folder}/agent.yaml`];
  return stack.use(await startProgram(Deno.execPath(), { args, env: denoEnvironment(), cwd: folder }));
}

function caFile(folder: string): string {
  return `${folder}/ca.pem`;
}

/** Starts many agents in one process, and resolves when all are connected and registered. */
async function startAgents(stack: AsyncDisposableStack, job: AgentsJob): Promise<void> {
  const args = ["run", "--no-prompt", "-A", AGENTS, JSON.stringify(job)];
  const helper = stack.use(new Helper(Deno.execPath(), args));
  await helper.receive(AGENTS_DEADLINE_MS);
}
