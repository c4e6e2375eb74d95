import { type ByteStream, closeQuietly } from "../byte_stream.ts";
import { GatewayError, messageOf } from "../errors.ts";
import { canonicalAddress, formatHostPort, parseHostPort } from "../net/address.ts";
import type {
  ClosedEvent,
  ConnectionInfo,
  Decision,
  DialEvent,
  Endpoint,
  Forward,
  Protocol,
  Terminate,
} from "../plugin/contract.ts";
import type { PluginHandle, RouteScope } from "../plugin/host.ts";
import { TlsFault } from "../tls/terminate.ts";
import type { DataPlane, Listener, TimedQueues } from "./data_plane.ts";
import type { Watched } from "./idle_watch.ts";
import type { SourceLimits } from "./limits.ts";
import type { Preface } from "./preface/preface.ts";
import { readPreface } from "./preface/read_preface.ts";
import { refusalBytes, type RefusalReason, refuse } from "./reject.ts";
import { type ByteCount, relay } from "./relay.ts";
import { PluginFault, type Routed } from "./router.ts";
import { sniffLayer } from "./sniff_layer.ts";
import type { ConnectionRow } from "./snapshot.ts";
import { counting } from "./streams/counting.ts";
import { replaying } from "./streams/replaying.ts";
import { greetUpstream, proxyHeader } from "./upstream.ts";

/** At most this many targets of one decision are tried, so that the time a client may wait is bounded. */
const MAX_DIAL_ATTEMPTS = 4;

type State = "preface" | "routing" | "handshake" | "dialing" | "relaying" | "handling" | "refused";

/** The client's side at one point of the path. */
interface Client {
  /** The TCP connection, or what lies within its TLS. */
  readonly stream: ByteStream;
  /** Read already, and still to be handed on. */
  readonly head: Uint8Array;
  /** What the client understands now: before a handshake is over, only `tls`. */
  readonly layer: Protocol;
  /** Whether the upstream is to be asked for TLS first, as the client asked us. */
  readonly sslRequested: boolean;
}

/** One attempt to reach an upstream; its time also covers what is said before the relay begins. */
export class DialAttempt {
  readonly controller = new AbortController();
  upstream: Deno.TcpConn | undefined;

  expire(): void {
    this.controller.abort();
    closeQuietly(this.upstream);
  }
}

/** The path ends here, with a refusal. */
class Refusal extends Error {
  readonly reason: RefusalReason;
  readonly client: Client;
  readonly detail: string;

  constructor(client: Client, reason: RefusalReason, detail: string) {
    super(reason);
    this.client = client;
    this.reason = reason;
    this.detail = detail;
  }
}

/** One connection on the one path: preface → route → (terminate TLS) → dial → relay → closed. */
export class Connection implements RouteScope, Watched {
  readonly id: string;
  onEnd: (() => void) | undefined = undefined;
  readonly sent: ByteCount = { bytes: 0 };
  readonly received: ByteCount = { bytes: 0 };
  readonly #plane: DataPlane;
  /** The times that were in force when it was accepted. */
  readonly #queues: TimedQueues;
  readonly #listener: Listener;
  readonly #conn: Deno.TcpConn;
  readonly #peer: Endpoint;
  readonly #acceptedAt = performance.now();
  #state: State = "preface";
  #info: ConnectionInfo | undefined;
  #plugin: PluginHandle | undefined;
  #target: string | undefined;
  #attempt: DialAttempt | undefined;
  #upstream: Deno.TcpConn | undefined;
  #result: string | undefined;
  #ended = false;
  /** What is given back at the end: see {@link #admitProxied}. */
  #admitted: { readonly source: string; readonly limits: SourceLimits } | undefined;
  #controller: AbortController | undefined;

  constructor(plane: DataPlane, listener: Listener, conn: Deno.TcpConn, peer: Endpoint, id: string) {
    this.#plane = plane;
    this.#queues = plane.queues;
    this.#listener = listener;
    this.#conn = conn;
    this.#peer = peer;
    this.id = id;
  }

  /** Aborted when the connection ends. Made when somebody first asks for it: few do. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#result !== undefined) this.#controller.abort();
    return this.#controller.signal;
  }

  /** Ends the connection at once, wherever it is. Of several reasons the first is told. */
  end(result: string): void {
    this.#result ??= result;
    if (this.#ended) return; // closing twice makes the runtime throw, which costs more than all else here
    this.#ended = true;
    closeQuietly(this.#conn);
    closeQuietly(this.#upstream);
    this.#attempt?.expire();
    this.#controller?.abort();
    this.onEnd?.();
  }

  /** Its time is over: as a rule, the client has not said what it wants, or not finished its handshake. */
  expire(result: string = this.#state === "handshake" ? "handshake_timeout" : "preface_timeout"): void {
    this.#plane.metrics.rejected(result);
    this.end(result);
  }

  /** Walks the whole path, and frees everything. Never rejects. */
  async serve(): Promise<void> {
    const { setup } = this.#queues;
    setup.add(this);
    try {
      // Two steps, so that nothing that the path needed is held while bytes are relayed: idle ones must cost little.
      const client = await this.#walk();
      setup.delete(this);
      if (client) await this.#relay(client);
    } catch (error) {
      if (error instanceof Refusal) await this.#refuse(error);
      else await this.#fail(error);
    } finally {
      setup.delete(this);
      this.end("ok");
      if (this.#admitted) this.#plane.limits.releaseSource(this.#admitted.source, this.#admitted.limits);
      this.#tellEnd();
    }
  }

  /** Resolves to the client's side when there is something to relay, that is, when an upstream is connected. */
  async #walk(): Promise<ByteStream | undefined> {
    const preface = await this.#readPreface();
    const info = this.#info = this.#describe(preface);
    const client: Client = {
      stream: this.#conn,
      head: preface.replay,
      layer: preface.tls ? "tls" : preface.protocol,
      sslRequested: preface.sslRequested,
    };
    this.#admitProxied(preface, client);
    this.#state = "routing";
    const routed = await this.#route(info, client);
    if (routed === undefined) return await this.#takeUnrouted(info, client);
    this.#plugin = routed.plugin;
    this.#plane.metrics.connectionOpened(routed.plugin.name);
    return await this.#carryOut(routed.decision, preface, client);
  }

  async #readPreface(): Promise<Preface> {
    const { metrics } = this.#plane;
    const queues = this.#queues;
    queues.clients.add(this);
    try {
      const result = await readPreface(this.#conn, {
        maxBytes: queues.limits.maxPrefaceBytes,
        proxy: this.#listener.proxyFrom.has(this.#peer.address) ? "trusted" : "refused",
      });
      if (result.kind === "preface") return result.preface;
      const layer = result.protocol ?? "other";
      throw new Refusal(
        { stream: this.#conn, head: NOTHING, layer, sslRequested: false },
        result.fault,
        result.detail,
      );
    } finally {
      queues.clients.delete(this);
      metrics.prefaceRead(this.#seconds());
    }
  }

  /** A client behind a trusted proxy is counted by its own address, as others are when they are accepted. */
  #admitProxied({ proxy }: Preface, client: Client): void {
    if (!proxy?.source) return;
    const { limits } = this.#queues;
    const broken = this.#plane.limits.admitSource(proxy.source.address, limits);
    if (broken !== undefined) throw new Refusal(client, broken, "");
    this.#admitted = { source: proxy.source.address, limits };
  }

  #describe({ proxy, protocol, tls }: Preface): ConnectionInfo {
    return {
      id: this.id,
      listener: this.#listener.address,
      source: proxy?.source ?? this.#peer,
      destination: proxy?.destination ?? endpointOf(this.#conn.localAddr),
      peer: this.#peer,
      protocol,
      ...(tls && { tls }),
    };
  }

  async #route(info: ConnectionInfo, client: Client): Promise<Routed | undefined> {
    const before = performance.now();
    try {
      const routed = await this.#plane.router.route(info, this);
      if (routed) this.#plane.metrics.routed(routed.plugin.name, (performance.now() - before) / 1000);
      return routed;
    } catch (error) {
      throw this.#pluginRefusal(error, client);
    }
  }

  /** A plugin that does not work lets nobody in. */
  #pluginRefusal(error: unknown, client: Client): unknown {
    if (!(error instanceof PluginFault) || this.#result !== undefined) return error;
    this.#plane.log.error("plugin_fault", {
      connection: this.id,
      plugin: error.plugin.name,
      reason: messageOf(error.cause),
    });
    return new Refusal(client, error.timedOut ? "timeout" : "plugin_failed", `plugin ${error.plugin.name}`);
  }

  /** Plain HTTP on an `http` listener is sent on to https; everything else that no plugin takes is refused. */
  async #takeUnrouted(info: ConnectionInfo, client: Client): Promise<undefined> {
    if (this.#listener.kind === "http" && info.protocol === "http") {
      this.#state = "handling";
      this.#queues.setup.delete(this);
      await this.#plane.redirects.serve(replaying(client.stream, client.head), info, this);
      return;
    }
    const name = info.tls?.serverName;
    if (info.tls) {
      throw new Refusal(client, name === undefined ? "no_server_name" : "unknown_name", "no plugin takes it");
    }
    throw new Refusal(
      client,
      info.protocol === "postgres" ? "no_server_name" : "no_route",
      "no plugin takes it",
    );
  }

  async #carryOut(decision: Decision, preface: Preface, client: Client): Promise<ByteStream | undefined> {
    switch (decision.kind) {
      case "forward":
        return await this.#forward(decision, preface, client);
      case "terminate":
        return await this.#terminate(decision, preface, client);
      case "handle":
        await this.#handle(client);
        return;
      case "reject":
        throw new Refusal(client, decision.reason, decision.detail ?? "");
    }
  }

  async #terminate(terminate: Terminate, preface: Preface, client: Client): Promise<ByteStream | undefined> {
    const info = this.#info;
    const plugin = this.#plugin;
    if (!info?.tls || !plugin || info.terminated) {
      throw new Refusal(client, "not_supported", "no TLS to terminate");
    }
    const { serverName } = info.tls;
    if (serverName === undefined) {
      throw new Refusal(client, "no_server_name", "no certificate without a name");
    }
    if (!this.#plane.certificates.lookup(serverName)) {
      throw new Refusal(client, "unknown_name", `no certificate for "${serverName}"`);
    }
    const terminated = await this.#shakeHands(plugin, serverName, terminate, client);
    const behind = this.#info = { ...info, terminated: terminated.info };
    const inner: Client = {
      stream: terminated.stream,
      head: NOTHING,
      layer: info.protocol === "postgres" ? "postgres" : "other",
      sslRequested: false,
    };
    if (terminate.then) return await this.#carryOut(terminate.then, preface, inner);
    this.#state = "routing";
    const decision = await this.#plane.router.ask(plugin, behind, this).catch((error) => {
      throw this.#pluginRefusal(error, inner);
    });
    if (decision === undefined) throw new Refusal(inner, "forbidden", "the plugin takes it no more");
    return await this.#carryOut(decision, preface, inner);
  }

  async #shakeHands(
    plugin: PluginHandle,
    serverName: string,
    { alpn, minVersion, clientCertificate }: Terminate,
    client: Client,
  ) {
    const { terminator, metrics } = this.#plane;
    const queues = this.#queues;
    this.#state = "handshake";
    queues.clients.add(this);
    const before = performance.now();
    try {
      const terminated = await terminator.terminate(client.stream, {
        replay: client.head,
        serverName,
        ...(alpn && { alpn }),
        ...(minVersion && { minVersion }),
        ...(clientCertificate && { clientCertificate }),
      });
      metrics.handshake((performance.now() - before) / 1000);
      return terminated;
    } catch (error) {
      // The CA that the plugin named is of no use: nothing has been said to the client yet.
      if (error instanceof GatewayError) throw this.#pluginRefusal(new PluginFault(plugin, error), client);
      throw error;
    } finally {
      queues.clients.delete(this);
    }
  }

  async #handle(client: Client): Promise<void> {
    const plugin = this.#plugin;
    const info = this.#info;
    if (!plugin?.handle || !info) throw new Refusal(client, "not_supported", "the plugin handles no streams");
    this.#state = "handling";
    this.#queues.setup.delete(this);
    this.#tellOpen();
    await plugin.handle(
      counting(replaying(client.stream, client.head), this.sent, this.received),
      info,
      this,
    );
  }

  async #forward(forward: Forward, preface: Preface, client: Client): Promise<ByteStream> {
    const info = this.#info;
    if (!info) throw new TypeError("A connection is described before it is forwarded");
    this.#upstream = await this.#dial(forward, client, {
      header: proxyHeader(forward, info, preface.proxy),
      sslRequested: client.sslRequested,
      head: client.head,
    });
    this.#attempt = undefined;
    this.#controller = undefined;
    this.sent.bytes += client.head.length;
    return client.stream;
  }

  async #relay(client: ByteStream): Promise<void> {
    const { idle, halfClosed } = this.#queues;
    if (!this.#upstream) throw new TypeError("There is no upstream to relay to");
    this.#state = "relaying";
    this.#tellOpen();
    idle?.add(this);
    const onHalfClosed = halfClosed && (() => halfClosed.add(this));
    const end = await relay(client, this.#upstream, this.sent, this.received, onHalfClosed);
    idle?.delete(this);
    halfClosed?.delete(this);
    this.#result ??= end;
  }

  /** Connects to the first target that lets itself be greeted. */
  async #dial(
    forward: Forward,
    client: Client,
    greeting: Parameters<typeof greetUpstream>[1],
  ): Promise<Deno.TcpConn> {
    this.#state = "dialing";
    const targets = typeof forward.to === "string" ? [forward.to] : forward.to.slice(0, MAX_DIAL_ATTEMPTS);
    let last: unknown;
    for (const target of targets) {
      this.#target = target;
      try {
        return await this.#dialOne(target, greeting);
      } catch (error) {
        if (this.#result !== undefined) throw error; // ended from outside: there is nobody left to dial for
        last = error;
      }
    }
    const timedOut = last instanceof GatewayError && last.code === "dial-timeout";
    throw new Refusal(
      client,
      timedOut ? "connect_timeout" : "connect_failed",
      `${this.#target}: ${messageOf(last)}`,
    );
  }

  async #dialOne(target: string, greeting: Parameters<typeof greetUpstream>[1]): Promise<Deno.TcpConn> {
    const { dialer, metrics } = this.#plane;
    const queues = this.#queues;
    const attempt = this.#attempt = new DialAttempt();
    const before = performance.now();
    let failure: string | undefined;
    queues.dials.add(attempt);
    try {
      const upstream = await dialer.dial(parseHostPort(target), attempt.controller.signal);
      attempt.upstream = upstream;
      if (this.#result !== undefined) throw new GatewayError("dial-failed", "The client left");
      upstream.setNoDelay();
      await greetUpstream(upstream, greeting);
      return upstream;
    } catch (error) {
      failure = messageOf(error);
      const late = attempt.controller.signal.aborted && this.#result === undefined;
      attempt.expire();
      throw late ? new GatewayError("dial-timeout", "No answer in time", { cause: error }) : error;
    } finally {
      queues.dials.delete(attempt);
      const ms = performance.now() - before;
      if (this.#plugin) metrics.dialed(this.#plugin.name, ms / 1000);
      this.#tell("dialed", { connection: this.id, target, ms, ...(failure !== undefined && { failure }) });
    }
  }

  async #refuse({ client, reason, detail }: Refusal): Promise<void> {
    const subject = this.#info?.tls?.serverName ?? this.#peer.address;
    this.#countRefusal(reason, subject, detail);
    if (reason !== "client_closed") await this.#dismiss(client.stream, client.layer, reason);
  }

  #countRefusal(result: string, subject: string, detail: string): void {
    const { metrics, log, refusals } = this.#plane;
    this.#state = "refused";
    this.#result ??= result;
    this.#controller?.abort(); // a plugin that is still at work for this client need not be
    metrics.rejected(result);
    if (log.enabled("info") && refusals.may(`${result} ${subject}`)) {
      log.info("connection_refused", this.#fields({ result, detail }));
    }
  }

  /** Tells the client in its own protocol, and waits a little for it to hear. */
  async #dismiss(stream: ByteStream, layer: Protocol, reason: RefusalReason): Promise<void> {
    const { goodbyes } = this.#plane;
    goodbyes.add(this);
    try {
      const spoken = stream !== this.#conn && layer === "other" ? await sniffLayer(stream) : layer;
      await refuse(stream, refusalBytes(spoken, reason));
    } finally {
      goodbyes.delete(this);
    }
  }

  /** What ended the path without a refusal: the client's reset, our own closing, or a fault. */
  async #fail(error: unknown): Promise<void> {
    if (this.#result !== undefined) return;
    if (error instanceof TlsFault) {
      this.#countRefusal(`tls_${error.code}`, this.#peer.address, messageOf(error));
      const layer = this.#info?.protocol === "postgres" ? "postgres" : "other";
      if (error.plaintext) await this.#dismiss(error.plaintext, layer, "bad_certificate");
    } else if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) {
      this.#result = "client_reset";
    } else {
      this.#result = "error";
      this.#plane.log.error("connection_error", this.#fields({ reason: messageOf(error) }));
    }
  }

  #tellOpen(): void {
    const { log } = this.#plane;
    if (log.enabled("info")) log.info("connection_opened", this.#fields({}));
  }

  #tellEnd(): void {
    const { metrics, log } = this.#plane;
    const result = this.#result ?? "ok";
    const plugin = this.#plugin;
    metrics.connectionClosed(
      this.#listener.address,
      plugin?.name,
      result,
      this.sent.bytes,
      this.received.bytes,
    );
    if (!plugin) return;
    const ms = performance.now() - this.#acceptedAt;
    this.#tell("closed", {
      connection: this.id,
      bytesIn: this.sent.bytes,
      bytesOut: this.received.bytes,
      ms,
      result,
    });
    if (this.#state !== "refused" && log.enabled("info")) {
      log.info(
        "connection_closed",
        this.#fields({ bytesIn: this.sent.bytes, bytesOut: this.received.bytes, ms: Math.round(ms), result }),
      );
    }
  }

  /** What a plugin's hook throws is that plugin's fault, and must not keep anything from being freed. */
  #tell(...[hook, event]: ["dialed", DialEvent] | ["closed", ClosedEvent]): void {
    const plugin = this.#plugin;
    const failed = (error: unknown) => {
      this.#plane.log.error("plugin_fault", this.#fields({ hook, reason: messageOf(error) }));
    };
    try {
      const told = hook === "dialed" ? plugin?.dialed?.(event) : plugin?.closed?.(event);
      if (told instanceof Promise) told.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  #fields(more: Record<string, string | number>): Record<string, string | number | undefined> {
    return {
      connection: this.id,
      source: show(this.#info?.source ?? this.#peer),
      sni: this.#info?.tls?.serverName,
      plugin: this.#plugin?.name,
      target: this.#target,
      ...more,
    };
  }

  #seconds(): number {
    return (performance.now() - this.#acceptedAt) / 1000;
  }

  /** For the admin API. */
  row(): ConnectionRow {
    const sni = this.#info?.tls?.serverName;
    return {
      id: this.id,
      listener: this.#listener.address,
      source: show(this.#info?.source ?? this.#peer),
      protocol: this.#info?.protocol ?? "",
      ...(sni !== undefined && { sni }),
      ...(this.#plugin && { plugin: this.#plugin.name }),
      ...(this.#target !== undefined && { target: this.#target }),
      state: this.#state,
      bytesIn: this.sent.bytes,
      bytesOut: this.received.bytes,
      since: Math.round(performance.timeOrigin + this.#acceptedAt),
    };
  }
}

const NOTHING = new Uint8Array();

function show({ address, port }: Endpoint): string {
  return formatHostPort({ host: address, port });
}

function endpointOf(address: Deno.NetAddr): Endpoint {
  return { address: canonicalAddress(address.hostname), port: address.port };
}
