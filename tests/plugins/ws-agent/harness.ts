import assert from "node:assert/strict";
import { HttpRefusal } from "../../../plugins/ws-agent/http/refusal.ts";
import { type ByteStream, closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import { checkValue } from "../../../core/config/issues.ts";
import { relay } from "../../../core/data_plane/relay.ts";
import { GatewayError } from "../../../core/errors.ts";
import { createLog, type LogEvent } from "../../../core/log.ts";
import type { ConnectionInfo, Decision, PluginFiles } from "../../../core/plugin/contract.ts";
import type { DatagramSocket, PlaneContext, PluginListener } from "../../../core/plugin/plane_context.ts";
import { LocalRegistry } from "../../../core/registry/local.ts";
import type { NodeId, Registry } from "../../../core/registry/registry.ts";
import type { Grant } from "../../../plugins/ws-agent/auth/grant.ts";
import { createAuthenticator } from "../../../plugins/ws-agent/auth/mod.ts";
import { createToken, digestOf } from "../../../plugins/ws-agent/auth/token.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../plugins/ws-agent/clock.ts";
import { type WsAgentConfig, wsAgentConfig } from "../../../plugins/ws-agent/config.ts";
import { serveHttp } from "../../../plugins/ws-agent/http/mod.ts";
import { WsAgentPlugin, type WsAgentTools } from "../../../plugins/ws-agent/plugin.ts";
import { openYamux, type YamuxSession } from "../../../plugins/ws-agent/yamux/mod.ts";
import { pipe, type PipeEnd } from "../../support/pipe.ts";
import { TestAgent, type TestAgentOptions } from "../../support/test_agent.ts";
import { until } from "../../support/until.ts";
import { connection, tlsConnection } from "../connection.ts";

export const DOMAIN = "example.com";
export const ENDPOINT = "tunnel.example.com";
const TOKENS_FILE = "tokens.yaml";
const NEVER = new AbortController().signal;

/** Tokens that the token file of a {@link TestGateway} has from the start. */
export const TOKENS = { alice: createToken(), bob: createToken() };

export interface TestGatewayOptions {
  /** What is to be other than in {@link SECTION}. */
  readonly section?: Record<string, unknown>;
  /** The entries of the token file, as YAML; a function of the entry of each known token. */
  readonly tokens?: string;
  /** How many data planes. @default 1 */
  readonly nodes?: number;
  /** @default the system's */
  readonly clock?: Clock;
  /** What everybody is given, whatever they show, or by the token that they show. Absent: it goes by the token file. */
  readonly grant?: Grant | ((token: string) => Grant);
  /** How a data plane sees the registry. @default without any delay */
  readonly viewOf?: (registry: LocalRegistry, node: NodeId) => Registry;
}

/** Waits are so many times shorter than they should be. Heartbeats and the grace are not: those are configured. */
export function hasteOf(speed: number): Clock {
  return { ...SYSTEM_CLOCK, after: (ms, task) => SYSTEM_CLOCK.after(ms / speed, task) };
}

/** Times are short, so that nothing has to be waited for long; heartbeats are far apart, so that they disturb nobody. */
const SECTION = {
  domain: DOMAIN,
  tokens: TOKENS_FILE,
  ports: "30000-30009",
  reconnectGrace: "500ms",
  heartbeat: { interval: "20s", timeout: "40s" },
};

export function configOf(section: Record<string, unknown> = {}): WsAgentConfig {
  const checked = checkValue(wsAgentConfig, { ...SECTION, ...section });
  if (!checked.ok) assert.fail(JSON.stringify(checked.issues));
  return checked.value;
}

/** An entry of a token file. */
export function tokenEntry(id: string, token: string, more = ""): string {
  return `- { id: ${id}, sha256: "${digestOf(token).toHex()}", created: 2026-01-01${more && `, ${more}`} }\n`;
}

export const BOTH = tokenEntry("alice", TOKENS.alice) + tokenEntry("bob", TOKENS.bob);

/** A port that a plugin listens on, without a socket. */
interface OpenPort {
  readonly node: number;
  readonly port: number;
}

/** A UDP port that a plugin has, without a socket. */
export class TestUdpPort implements DatagramSocket {
  readonly node: number;
  readonly hostname: string;
  readonly port: number;
  /** What was sent from it. */
  readonly sent: { readonly data: Uint8Array; readonly to: number }[] = [];
  readonly #closed: () => void;
  readonly #waiting: [Uint8Array, number][] = [];
  #receiving: (() => void) | undefined;
  #isClosed = false;

  constructor(node: number, port: number, closed: () => void, hostname = "0.0.0.0") {
    this.node = node;
    this.hostname = hostname;
    this.port = port;
    this.#closed = closed;
  }

  /** A datagram of a source. */
  deliver(data: Uint8Array, fromPort: number): void {
    this.#waiting.push([data, fromPort]);
    this.#receiving?.();
  }

  /** Whether all that was delivered has been received. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#receiving !== undefined;
  }

  async receive(into: Uint8Array): Promise<[Uint8Array, Deno.Addr]> {
    while (this.#waiting.length === 0 && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#receiving = resolve);
      this.#receiving = undefined;
    }
    const next = this.#waiting.shift();
    if (next === undefined) throw new Deno.errors.Interrupted("operation canceled");
    into.set(next[0]);
    const from = { transport: "udp", hostname: "192.0.2.9", port: next[1] } as const;
    return [into.subarray(0, next[0].length), from];
  }

  send(data: Uint8Array, to: Deno.Addr): Promise<number> {
    this.sent.push({ data: data.slice(), to: "port" in to ? to.port : 0 });
    return Promise.resolve(data.length);
  }

  close(): void {
    this.#isClosed = true;
    this.#receiving?.();
    this.#closed();
  }
}

/** The plugin in each of some data planes that share a registry, and agents that reach it by real sockets. */
export class TestGateway implements AsyncDisposable {
  readonly registry = new LocalRegistry();
  readonly plugins: WsAgentPlugin[] = [];
  readonly events: LogEvent[] = [];
  /** The gateway's side of each agent's connection, in the order in which they came. */
  readonly sessions: YamuxSession[] = [];
  readonly openPorts = new Set<OpenPort>();
  readonly udpPorts = new Set<TestUdpPort>();
  /** Ports that some other program has. */
  readonly portsInUse = new Set<number>();
  readonly #clock: Clock;
  readonly #grant: TestGatewayOptions["grant"];
  /** Where agents that connect from now on come from. */
  agentAddress = "192.0.2.7";
  readonly #nodes: number;
  readonly #viewOf: (registry: LocalRegistry, node: NodeId) => Registry;
  #section: Record<string, unknown>;
  #tokens: string;
  readonly #listeners: Deno.TcpListener[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #sockets = new Set<ByteStream>();
  readonly #agents = new Set<TestAgent>();

  constructor(
    {
      section = {},
      tokens = BOTH,
      nodes = 1,
      clock = SYSTEM_CLOCK,
      grant,
      viewOf = (registry, node) => registry.at(node),
    }: TestGatewayOptions = {},
  ) {
    this.#grant = grant;
    this.#viewOf = viewOf;
    this.#clock = clock;
    this.#section = section;
    this.#tokens = tokens;
    this.#nodes = nodes;
    for (let node = 0; node < nodes; node++) this.#start(node);
  }

  get plugin(): WsAgentPlugin {
    return this.plugins[0] ?? assert.fail("There is no plugin");
  }

  /** Connects an agent that is let in: `alice`, unless it is told otherwise. */
  async agent(options: TestAgentOptions & { readonly node?: number } = {}): Promise<TestAgent> {
    return this.#kept(
      await TestAgent.start(await this.dial(options.node), { token: TOKENS.alice, ...options }),
    );
  }

  /** Connects an agent that has said nothing yet. */
  async stranger(options: TestAgentOptions & { readonly node?: number } = {}): Promise<TestAgent> {
    return this.#kept(
      await TestAgent.connect(await this.dial(options.node), { token: TOKENS.alice, ...options }),
    );
  }

  /** As {@link stranger}, without a socket: for many of them. */
  async strangerInMemory(options: TestAgentOptions = {}): Promise<TestAgent> {
    const [near, far] = pipe();
    this.#run(this.plugin.handle(far, tlsConnection(ENDPOINT), { signal: NEVER }));
    return this.#kept(await TestAgent.connect(near, { token: TOKENS.alice, ...options }));
  }

  /** Where a data plane listens for agents, behind TLS as it were. */
  endpointPort(node = 0): number {
    const listener = this.#listeners[node] ?? assert.fail(`There is no node ${node}`);
    return listener.addr.port;
  }

  /** A connection to the endpoint, of which nothing was sent. */
  async dial(node = 0): Promise<Deno.TcpConn> {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port: this.endpointPort(node) });
    socket.setNoDelay();
    this.#sockets.add(socket);
    return socket;
  }

  /** @param plugins Which hear of it so far. @default all of them */
  async reload(
    section: Record<string, unknown> = this.#section,
    tokens = this.#tokens,
    plugins: readonly WsAgentPlugin[] = this.plugins,
  ): Promise<void> {
    this.#section = section;
    this.#tokens = tokens;
    for (const plugin of plugins) await plugin.reload(configOf(section), this.#files());
  }

  /** What the data plane does with a public connection: follows the decision up to the stream of a tunnel. */
  async connect(info: ConnectionInfo, node = 0): Promise<ByteStream> {
    const plugin = this.plugins[node] ?? assert.fail(`There is no node ${node}`);
    const decision = await plugin.route(info, { signal: NEVER });
    if (decision?.kind === "handover") {
      const from = nodeId(node);
      return await this.connect({ ...info, handedOver: { from } }, indexOf(decision.node));
    }
    assert.equal(decision?.kind, "open", JSON.stringify(decision));
    const stream = await plugin.open(info, { signal: NEVER });
    this.#sockets.add(stream);
    return stream;
  }

  /** A public connection to a tunnel's port. */
  connectPort(port: number, node = 0): Promise<ByteStream> {
    return this.connect(portConnection(port), node);
  }

  /** A public connection by TLS that is passed on. */
  connectTls(name: string, node = 0): Promise<ByteStream> {
    return this.connect(tlsConnection(name), node);
  }

  /** A public HTTP connection, behind its TLS. */
  http(name: string, node = 0, signal: AbortSignal = NEVER): PipeEnd {
    const plugin = this.plugins[node] ?? assert.fail(`There is no node ${node}`);
    const [client, served] = pipe();
    const info = tlsConnection(name, { terminated: { version: "TLSv1.3", alpn: "http/1.1" } });
    this.#run(plugin.handle(served, info, { signal }));
    this.#sockets.add(client);
    return client;
  }

  route(info: ConnectionInfo, node = 0): Decision | undefined | Promise<Decision | undefined> {
    return this.plugins[node]?.route(info, { signal: NEVER });
  }

  /** The first log line of this event, once it is there. */
  logged(event: string): Promise<LogEvent> {
    return until(() => this.events.find((line) => line.event === event), {
      what: () => `the event ${event} among ${this.events.map((line) => line.event).join(", ")}`,
    });
  }

  /** The value of a metric, over all data planes and those of its labels that are not given. */
  metric(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.plugins.flatMap((plugin) => plugin.metrics())
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .reduce((sum, sample) => sum + (sample.type === "histogram" ? sample.count : sample.value), 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) closeQuietly(listener);
    for (const plugin of this.plugins) await plugin[Symbol.asyncDispose]();
    for (const agent of this.#agents) await agent[Symbol.asyncDispose]();
    for (const socket of this.#sockets) closeQuietly(socket);
    await Promise.all(this.#running);
    this.registry[Symbol.dispose]();
  }

  #start(index: number): void {
    const node = nodeId(index);
    const log = createLog("ws-agent", "debug", (event) => this.events.push(event));
    const plane: PlaneContext = {
      node,
      registry: this.#viewOf(this.registry, node),
      nodes: this.#nodes,
      isFirst: index === 0,
      neighbours: Array.from({ length: this.#nodes }, (_, other) => nodeId(other)).filter((id) =>
        id !== node
      ),
      ports: [],
      httpsPort: 443,
      listen: ({ port }) => this.#listen(index, port),
      listenDatagrams: ({ hostname, port }) => this.#listenDatagrams(index, hostname, port),
      openOn: (to, purpose, info) => this.#openOn(index, to, purpose, info),
    };
    const config = configOf(this.#section);
    const plugin = new WsAgentPlugin(config, {
      name: "ws-agent",
      log,
      plane,
      clock: this.#clock,
      authenticator: this.#grant
        ? everybodyGets(this.#grant)
        : createAuthenticator(config, this.#files(), { log, clock: this.#clock }),
      openYamux: (transport, options) => {
        const session = openYamux(transport, options);
        this.sessions.push(session);
        return session;
      },
      serveHttp,
      newId: () => crypto.randomUUID(),
    });
    this.plugins.push(plugin);
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.#listeners.push(listener);
    this.#run(this.#accept(listener, plugin));
  }

  async #accept(listener: Deno.TcpListener, plugin: WsAgentPlugin): Promise<void> {
    for await (const socket of listener) {
      socket.setNoDelay();
      this.#sockets.add(socket);
      const source = { address: this.agentAddress, port: socket.remoteAddr.port };
      this.#run(plugin.handle(socket, tlsConnection(ENDPOINT, { source }), { signal: NEVER }));
    }
  }

  #listen(node: number, port: number): PluginListener {
    if (this.portsInUse.has(port)) throw new GatewayError("address-in-use", `Port ${port} is in use`);
    const open = { node, port };
    this.openPorts.add(open);
    return { port, close: () => void this.openPorts.delete(open) };
  }

  #listenDatagrams(node: number, hostname: string, port: number): DatagramSocket {
    const isOpen = [...this.udpPorts].some((open) => open.port === port && open.hostname === hostname);
    if (this.portsInUse.has(port) || isOpen) {
      throw new GatewayError("address-in-use", `UDP port ${port} is in use`);
    }
    const open = new TestUdpPort(node, port, () => this.udpPorts.delete(open), hostname);
    this.udpPorts.add(open);
    return open;
  }

  async #openOn(from: number, to: NodeId, purpose: string, info: ConnectionInfo): Promise<ByteStream> {
    const handedOver = { from: nodeId(from), purpose };
    const { source, destination } = info;
    const [ours, theirs] = pipe();
    const there = connection({ source, destination, handedOver });
    const plugin = this.plugins[indexOf(to)] ?? assert.fail(`There is no node ${to}`);
    if ((await plugin.route(there, { signal: NEVER }))?.kind === "handle") {
      this.#run(plugin.handle(theirs, there, { signal: NEVER }));
      return ours;
    }
    let upstream: ByteStream;
    try {
      upstream = await this.connect(there, indexOf(to));
    } catch (error) {
      if (!(error instanceof HttpRefusal)) throw error;
      closeQuietly(theirs); // all that another data plane hears of it
      return ours;
    }
    const counts = { sent: { bytes: 0 }, received: { bytes: 0 } };
    this.#run(
      relay({ client: theirs, upstream, ...counts }).then(() => {
        closeQuietly(theirs);
        closeQuietly(upstream);
      }),
    );
    return ours;
  }

  #files(): PluginFiles {
    return { [TOKENS_FILE]: this.#tokens };
  }

  #kept(agent: TestAgent): TestAgent {
    this.#agents.add(agent);
    return agent;
  }

  #run(work: Promise<void>): void {
    this.#running.add(work);
    work.then(() => this.#running.delete(work));
  }
}

function everybodyGets(grant: Grant | ((token: string) => Grant)): WsAgentTools["authenticator"] {
  return {
    failures: new Map(),
    authenticate: (token) => Promise.resolve({ grant: typeof grant === "function" ? grant(token) : grant }),
    reload: () => {},
    [Symbol.dispose]: () => {},
  };
}

function nodeId(index: number): NodeId {
  return `data-plane-${index}`;
}

function indexOf(node: NodeId): number {
  return Number(node.slice("data-plane-".length));
}

/** A connection to a port of a tunnel, before a byte was read of it. */
export function portConnection(port: number): ConnectionInfo {
  return connection({ listener: "ws-agent", destination: { address: "127.0.0.1", port } });
}

/** Everything that a stream brings, as text. */
export async function readText(stream: ByteStream): Promise<string> {
  return await readTextUntil(stream, () => false);
}

/** What a stream brings until there is enough of it, or it ends. */
export async function readTextUntil(stream: ByteStream, enough: (text: string) => boolean): Promise<string> {
  const buffer = new Uint8Array(16 * 1024);
  const decoder = new TextDecoder();
  let text = "";
  while (!enough(text)) {
    const length = await stream.read(buffer);
    if (length === null) break;
    text += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
  return text;
}

export function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Sends a request, and resolves to its answer, which has a Content-Length. */
export async function get(client: ByteStream, host: string, path = "/"): Promise<string> {
  await writeAll(client, encode(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`));
  const head = (text: string) => /^([^]*?\r\n\r\n)/.exec(text)?.[1];
  return await readTextUntil(client, (text) => {
    const length = /content-length: (\d+)/i.exec(text)?.[1];
    return head(text) !== undefined && text.length >= (head(text)?.length ?? 0) + Number(length ?? 0);
  });
}

/** Sends `text` to somebody who sends back as much. */
export async function roundTrip(client: ByteStream, text: string): Promise<string> {
  await writeAll(client, encode(text));
  return await readTextUntil(client, (seen) => seen.length >= text.length);
}
