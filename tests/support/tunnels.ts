import { closeQuietly } from "../../core/byte_stream.ts";
import { Agent, type AgentOptions } from "../../plugins/ws-agent/agent/agent.ts";
import type { AgentEvent, ServicePublic } from "../../plugins/ws-agent/agent/events.ts";
import { formatGateway } from "../../plugins/ws-agent/agent/gateway_address.ts";
import type { AgentService, AgentSettings } from "../../plugins/ws-agent/agent/settings.ts";
import { formatTarget, parseTarget } from "../../plugins/ws-agent/agent/target.ts";
import { createToken, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import type { GatewayStatus, GatewayTunnel } from "../../core/data_plane/snapshot.ts";
import { createAuthority, type MadeCertificate } from "./certificates.ts";
import { TestGateway, type TestGatewayOptions } from "./gateway.ts";
import { writePem } from "./openssl.ts";
import { denoEnvironment, freePort, type Program, startProgram, temporaryFolder } from "./processes.ts";
import { until } from "./until.ts";

/** Names below `localhost` are this machine to an agent without asking anybody, so real agents find the gateway. */
export const DOMAIN = "example.localhost";
export const ENDPOINT = `tunnel.${DOMAIN}`;

const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;
/** Below those that the kernel hands out: no client's own port is in the way. */
const PORTS = "20000-32000";
/** A few seconds more than a process needs on a busy machine. */
const READY_MS = 20_000;

/** Who has a token. Their agents are each other's strangers. */
export type Owner = "alice" | "bob";

export interface TunnelsOptions extends Pick<TestGatewayOptions, "threads" | "times" | "declarations"> {
  /** Has a listener for plain HTTP, too. @default false */
  readonly plain?: boolean;
  /** What is to be other than usual in the plugin's section. */
  readonly section?: Readonly<Record<string, unknown>>;
  /** More keys of the config's top level. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** More plugins, behind ours. */
  readonly plugins?: Readonly<Record<string, unknown>>;
  /** What the certificate is for beside the names under the domain. */
  readonly hostnames?: readonly string[];
  /** More for each token's entry in the token file. */
  readonly tokens?: Partial<Readonly<Record<Owner, Readonly<Record<string, unknown>>>>>;
}

/** What is to be other than usual in an agent's settings. */
export type AgentChanges = Partial<Omit<AgentSettings, "services" | "credentials">> & {
  /** @default "alice" */
  readonly owner?: Owner;
};

/** A whole gateway with tunnels, certificates and tokens; agents for it, of which it takes care; and its public. */
export class Tunnels implements AsyncDisposable {
  readonly gateway: TestGateway;
  /** PEM of the CA of its certificate, which is for the endpoint and for every name under the domain. */
  readonly ca: string;
  readonly certificate: MadeCertificate;
  readonly tokens: Readonly<Record<Owner, string>>;
  readonly #place: Place;
  readonly #options: TunnelsOptions;
  readonly #stack: AsyncDisposableStack;
  #files = 0;

  private constructor(
    parts: Pick<Tunnels, "gateway" | "ca" | "certificate" | "tokens">,
    place: Place,
    options: TunnelsOptions,
    stack: AsyncDisposableStack,
  ) {
    this.gateway = parts.gateway;
    this.ca = parts.ca;
    this.certificate = parts.certificate;
    this.tokens = parts.tokens;
    this.#place = place;
    this.#options = options;
    this.#stack = stack;
  }

  static async start(options: TunnelsOptions = {}): Promise<Tunnels> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder()).path;
    const authority = await createAuthority();
    const certificate = await authority.issue({ names: [`*.${DOMAIN}`, ...options.hostnames ?? []] });
    await writePem(folder, "server", certificate.certificate);
    await writePem(folder, "server-key", certificate.key);
    const tokens = { alice: createToken(), bob: createToken() };
    await writeTokens(folder, tokens, options.tokens);
    const place = { folder, plainPort: options.plain ? freePort() : undefined };
    const gateway = stack.use(await TestGateway.start(gatewayOptions(place, options)));
    const parts = { gateway, ca: authority.certificate, certificate, tokens };
    return new Tunnels(parts, place, options, stack.move());
  }

  /** The shared port: of the endpoint, and of every public name. */
  get port(): number {
    return this.gateway.port(0);
  }

  /** The port of plain HTTP, when it was asked for. */
  get plainPort(): number {
    return this.gateway.port(1);
  }

  /** The settings of an agent with one connection, that comes back fast. */
  settings(
    services: readonly AgentService[],
    { owner = "alice", ...changes }: AgentChanges = {},
  ): AgentSettings {
    return {
      gateway: { secure: true, host: ENDPOINT, port: this.port, path: "/tunnel/v1" },
      name: "agent",
      tls: { extraCa: this.ca, insecure: false },
      connections: 1,
      reconnect: { minMs: 20, maxMs: 250 },
      ...changes,
      credentials: { token: this.tokens[owner] },
      services,
    };
  }

  /** Starts an agent in this process, and resolves when all its services are public. */
  async agent(
    services: readonly AgentService[],
    changes?: AgentChanges,
    options?: Omit<AgentOptions, "onEvent">,
  ): Promise<RunningAgent> {
    const agent = this.#stack.use(new RunningAgent(this.settings(services, changes), options));
    await agent.ready();
    return agent;
  }

  /** Starts an agent as a user does, by `postern agent`, and resolves when all its services are public. */
  async agentProcess(services: readonly AgentService[], changes?: AgentChanges): Promise<AgentProcess> {
    const settings = this.settings(services, changes);
    const name = `${this.#place.folder}/agent-${this.#files++}`;
    await Deno.writeTextFile(`${name}.pem`, settings.tls.extraCa ?? "");
    await Deno.writeTextFile(`${name}.yaml`, agentFile(settings, `${name}.pem`), { mode: 0o600 });
    const program = await this.command("agent", "--config", `${name}.yaml`, "--log-format", "json");
    const agent = new AgentProcess(program, services.map(({ name }) => name));
    await agent.ready();
    return agent;
  }

  /** Starts `postern` with these arguments. It is killed at the end, whatever it does. */
  async command(...args: readonly string[]): Promise<Program> {
    return this.#stack.use(
      await startProgram(Deno.execPath(), {
        args: ["run", "--no-prompt", "-A", CLI, ...args],
        env: { ...denoEnvironment(), POSTERN_TOKEN: this.tokens.alice },
        cwd: this.#place.folder,
        stopSignal: "SIGKILL",
      }),
    );
  }

  /** Writes the CA where a program can read it. @returns The path. */
  caFile(): Promise<string> {
    return writePem(this.#place.folder, "ca", this.ca);
  }

  /** A public connection by TLS to a name below the domain, its handshake done. The certificate is verified. */
  connectTls(name: string, ca: string = this.ca): Promise<Deno.TlsConn> {
    return this.connectHost(`${name}.${DOMAIN}`, ca);
  }

  /** As {@link connectTls}, to a full host name. */
  async connectHost(hostname: string, ca: string = this.ca): Promise<Deno.TlsConn> {
    const tls = await Deno.startTls(await this.connect(this.port), {
      hostname,
      caCerts: [ca],
      alpnProtocols: ["http/1.1"],
    });
    try {
      await tls.handshake();
      return tls;
    } catch (error) {
      closeQuietly(tls);
      throw error;
    }
  }

  /** A public connection to a port. */
  async connect(port: number): Promise<Deno.TcpConn> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    conn.setNoDelay();
    return conn;
  }

  /** The tunnels that there are, as the admin API tells them. */
  async rows(): Promise<readonly GatewayTunnel[]> {
    return (await this.admin<{ tunnels: readonly GatewayTunnel[] }>("tunnels?limit=9999")).tunnels;
  }

  async status(): Promise<GatewayStatus> {
    return await this.admin("status");
  }

  /** What `/api/v1/…` answers. */
  async admin<T>(path: string): Promise<T> {
    return await (await fetch(`${this.gateway.adminUrl}/api/v1/${path}`)).json();
  }

  /** Waits until there are so many tunnels, each with as many services as it is to have. */
  async settled(tunnels: number, services = 1): Promise<readonly GatewayTunnel[]> {
    let rows: readonly GatewayTunnel[] = [];
    return await until(async () => {
      rows = await this.rows();
      return rows.length === tunnels && rows.every((row) => row.services.length === services) && rows;
    }, {
      what: () =>
        `${tunnels} tunnels of ${services} services, not ${
          JSON.stringify(rows.slice(0, 10).map((row) => row.services.map(({ name }) => name)))
        }`,
      deadlineMs: READY_MS,
    });
  }

  /** Changes what stands in the token file, and has it read. */
  async reloadTokens(more: TunnelsOptions["tokens"]): Promise<void> {
    await writeTokens(this.#place.folder, this.tokens, more);
    await this.gateway.reload(gatewayOptions(this.#place, this.#options));
  }

  /** Changes what is other than usual in the plugin's section. */
  async reloadSection(section: NonNullable<TunnelsOptions["section"]>): Promise<void> {
    await this.gateway.reload(gatewayOptions(this.#place, { ...this.#options, section }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** An agent in this process, with all that it has told. */
export class RunningAgent implements AsyncDisposable {
  readonly agent: Agent;
  readonly events: AgentEvent[] = [];
  readonly #services: readonly string[];

  constructor(settings: AgentSettings, options: Omit<AgentOptions, "onEvent"> = {}) {
    this.#services = settings.services.map(({ name }) => name);
    this.agent = new Agent(settings, { ...options, onEvent: (event) => this.events.push(event) });
    this.agent.start();
  }

  /** Resolves when each of its services is public. */
  async ready(): Promise<void> {
    await until(() => this.#services.every((name) => this.service(name)), {
      what: () => `${this.#services} to be public: ${JSON.stringify(this.events)}`,
      deadlineMs: READY_MS,
    });
  }

  /** What was told last of a service that is public. */
  service(name: string): ServicePublic | undefined {
    return this.events.findLast((event) => event.kind === "public" && event.service === name) as
      | ServicePublic
      | undefined;
  }

  /** The public port of a tcp service. */
  port(service: string): number {
    return this.service(service)?.remotePort ?? 0;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.agent[Symbol.asyncDispose]();
  }
}

/** An agent in a process of its own. */
export class AgentProcess {
  readonly program: Program;
  readonly #services: readonly string[];

  constructor(program: Program, services: readonly string[]) {
    this.program = program;
    this.#services = services;
  }

  async ready(): Promise<void> {
    await this.program.waitFor(() => this.#services.every((name) => this.service(name)), {
      what: `${this.#services} to be public`,
      deadlineMs: READY_MS,
    });
  }

  /** What its log says of it. */
  get events(): Record<string, unknown>[] {
    return this.program.output.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line));
  }

  service(name: string): Record<string, unknown> | undefined {
    return this.events.findLast(({ event, service }) => event === "service_public" && service === name);
  }

  port(service: string): number {
    return Number(this.service(service)?.["remotePort"]);
  }

  /** As `kill -9`; resolves when it is gone. */
  async kill(): Promise<void> {
    this.program.kill("SIGKILL");
    await this.program.status;
  }
}

/** An HTTP service at `NAME.example.localhost`. */
export function http(name: string, target: string): AgentService {
  return serviceOf("http", name, target);
}

/** A TCP service, on a port that the gateway assigns. */
export function tcp(name: string, target: string, more: Partial<AgentService> = {}): AgentService {
  return { ...serviceOf("tcp", name, target), ...more };
}

/** A TLS service at `NAME.example.localhost`: the bytes are passed on as they are. */
export function tls(name: string, target: string): AgentService {
  return serviceOf("tls", name, target);
}

/** A UDP service, on a port that the gateway assigns. */
export function udp(name: string, target: string, more: Partial<AgentService> = {}): AgentService {
  return { ...serviceOf("udp", name, target), ...more };
}

function serviceOf(protocol: "http" | "tcp" | "tls" | "udp", name: string, target: string): AgentService {
  return { name, protocol, target: parseTarget(target), proxyProtocol: "off" };
}

/** Files that this process has open, sockets too. */
export function openFiles(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** What the gateway's config needs to know of where it is. */
interface Place {
  readonly folder: string;
  readonly plainPort: number | undefined;
}

function gatewayOptions(
  { folder, plainPort }: Place,
  { section, config, plugins, threads, times, declarations }: TunnelsOptions,
): TestGatewayOptions {
  const document = {
    listeners: [
      { address: "127.0.0.1:0" },
      // A port 0 is told apart by its address, and this is the same one.
      ...(plainPort === undefined ? [] : [{ address: `127.0.0.1:${plainPort}`, kind: "http" }]),
    ],
    tls: { certificates: [{ cert: `${folder}/server.pem`, key: `${folder}/server-key.pem` }] },
    ...config,
    plugins: {
      "ws-agent": {
        domain: DOMAIN,
        tokens: `${folder}/tokens.yaml`,
        ports: PORTS,
        portsAddress: "127.0.0.1",
        ...section,
      },
      ...plugins,
    },
  };
  const yaml = Object.entries(document).map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`).join("");
  return {
    yaml,
    ...(threads !== undefined && { threads }),
    ...(times && { times }),
    ...(declarations && { declarations }),
  };
}

async function writeTokens(
  folder: string,
  tokens: Readonly<Record<Owner, string>>,
  more: TunnelsOptions["tokens"] = {},
): Promise<void> {
  const entries = Object.entries(tokens).map(([id, token]) => ({
    id,
    sha256: digestOf(token).toHex(),
    created: "2026-01-01",
    ...more[id as Owner],
  }));
  await Deno.writeTextFile(`${folder}/tokens.yaml`, JSON.stringify(entries)); // JSON is YAML
}

function agentFile(
  { gateway, name, credentials, connections, reconnect, services }: AgentSettings,
  ca: string,
): string {
  return JSON.stringify({
    gateway: formatGateway(gateway),
    name,
    ...credentials,
    tls: { ca },
    connections,
    reconnect: { min: `${reconnect.minMs}ms`, max: `${reconnect.maxMs}ms` },
    services: services.map(({ target, ...service }) => ({ ...service, target: formatTarget(target) })),
  });
}
