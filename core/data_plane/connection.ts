import { type ByteStream, closeQuietly } from "../byte_stream.ts";
import { messageOf } from "../errors.ts";
import type { ClosedEvent, DialEvent, Endpoint } from "../plugin/contract.ts";
import type { RouteScope } from "../plugin/host.ts";
import { TlsFault } from "../tls/terminate.ts";
import { keepWaiting } from "./cancel_path.ts";
import { ConnectionRecord } from "./connection_record.ts";
import type { DataPlane } from "./data_plane.ts";
import type { Listener } from "./listeners.ts";
import type { DialAttempt } from "./dial_targets.ts";
import type { Watched } from "./idle_watch.ts";
import type { SourceLimits } from "./limits.ts";
import { walk } from "./path.ts";
import { type Client, Refusal } from "./refusal.ts";
import { refusalBytes, type RefusalReason, refuse } from "./reject.ts";
import { type ByteCount, relay } from "./relay.ts";
import { sniffLayer } from "./sniff_layer.ts";
import type { ConnectionTrace } from "./traces.ts";
import type { TimedQueues } from "./timed_queues.ts";
import { WatchedClient } from "./watched_client.ts";

/** What a client gets from us when its TLS was passed on, and nobody there answered. */
const NO_ANSWER = refusalBytes("tls", "unavailable");

/** What aborts the signal: one for all, because an error is made with its stack, which most of the cost of aborting is. */
const ENDED = new DOMException("The connection has ended", "AbortError");

/**
 * One connection, from accept to close: it owns the sockets, gives back what it was counted for, and tells log,
 * metrics and plugin. The steps in between are in `path.ts`.
 */
export class Connection implements RouteScope, Watched {
  readonly plane: DataPlane;
  /** The times that were in force when it was accepted. */
  readonly queues: TimedQueues;
  readonly conn: Deno.TcpConn;
  readonly record: ConnectionRecord;
  /** Absent unless traces are wanted. */
  readonly trace: ConnectionTrace | undefined;
  onEnd: (() => void) | undefined = undefined;
  /** The attempt to reach an upstream that is under way. */
  attempt: DialAttempt | undefined;
  /** Whether the time of the whole path is over. */
  outOfTime = false;
  /** Connected and greeted. */
  upstream: ByteStream | undefined;
  /** What a client behind a trusted proxy is counted for. */
  admitted: { readonly source: string; readonly limits: SourceLimits } | undefined;
  #ended = false;
  /** The client, while a plugin decides about it. */
  #waiting: Client | undefined;
  #controller: AbortController | undefined;

  constructor(plane: DataPlane, listener: Listener, conn: Deno.TcpConn, peer: Endpoint, id: string) {
    this.plane = plane;
    this.queues = plane.queues;
    this.conn = conn;
    this.record = new ConnectionRecord(id, listener, peer);
    this.trace = plane.traces?.begin(this.record);
  }

  /** Client → upstream. */
  get sent(): ByteCount {
    return this.record.sent;
  }

  /** Upstream → client. */
  get received(): ByteCount {
    return this.record.received;
  }

  /** Aborted when the connection ends. Made when somebody first asks for it: few do. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.record.result !== undefined) this.#controller.abort(ENDED);
    return this.#controller.signal;
  }

  /** Ends the connection at once, wherever it is. Of several reasons the first is told. */
  end(result: string): void {
    this.record.result ??= result;
    if (this.#ended) return; // closing twice makes the runtime throw, which costs more than all else here
    this.#ended = true;
    closeQuietly(this.conn);
    closeQuietly(this.upstream);
    this.attempt?.expire();
    this.#controller?.abort(ENDED);
    this.onEnd?.();
  }

  /** Its time is over: as a rule, the client has not said what it wants, or not finished its handshake. */
  expire(result: string = this.record.state === "handshake" ? "handshake_timeout" : "preface_timeout"): void {
    this.plane.metrics.rejected(result);
    this.end(result);
  }

  /**
   * The time of the whole path is over. While an upstream is being looked for, the client still gets its answer; else
   * it is the client or a plugin that took all the time, and the connection ends.
   */
  expireSetup(): void {
    this.outOfTime = true;
    if (this.attempt) this.attempt.expire();
    else this.expire("setup_timeout");
  }

  /** Walks the whole path, and frees everything. Never rejects. */
  async serve(): Promise<void> {
    const { setup } = this.queues;
    setup.add(this);
    try {
      // Two steps, so that nothing that the path needed is held while bytes are relayed: idle ones must cost little.
      const client = await walk(this);
      setup.delete(this);
      if (client && this.record.state === "handling") await this.#handle(client);
      else if (client) await this.#relay(client);
    } catch (error) {
      if (error instanceof Refusal) await this.#refuse(error);
      else await this.#fail(error);
    } finally {
      setup.delete(this);
      this.end("ok");
      if (this.admitted) this.plane.limits.releaseSource(this.admitted.source, this.admitted.limits);
      this.#tellEnd();
    }
  }

  /** A plugin is asked about the client. One that takes its time keeps nobody from noticing that the client has left. */
  beginWaiting(client: Client): void {
    this.#waiting = client;
    this.plane.patience.add(this);
  }

  /** The client as it is to be read from now on, or `client` itself when it did not wait for long. */
  endWaiting(client: Client): Client {
    this.plane.patience.delete(this);
    const waited = this.#waiting ?? client;
    this.#waiting = undefined;
    return waited;
  }

  /** The plugin takes long. */
  watchClient(): void {
    const client = this.#waiting;
    if (client === undefined) return;
    const stream = new WatchedClient(client.stream, (how) => {
      // Who has said what it wants in plain text may end its side (half-close), and still wait for the answer.
      const hasLeft = how === "failed" || client.layer === "tls";
      if (!hasLeft || this.#waiting?.stream !== stream || this.record.result !== undefined) return;
      this.#countRefusal("client_closed", this.record.sourceAddress, "left before the plugin had decided");
      this.end("client_closed");
    });
    this.#waiting = { ...client, stream };
  }

  /** A handler takes the stream, for as long as it likes. */
  beginHandling(): void {
    this.record.state = "handling";
    this.queues.setup.delete(this);
  }

  /** Tells the log that the connection was let through. */
  tellOpened(): void {
    const { log } = this.plane;
    if (log.enabled("info")) log.info("connection_opened", this.record.fields({}));
  }

  /** Calls a hook of the plugin that decided. What it throws is its own fault, and keeps nothing from being freed. */
  tell(...[hook, event]: ["dialed", DialEvent] | ["closed", ClosedEvent]): void {
    const { plugin } = this.record;
    const failed = (error: unknown) => {
      if (!this.plane.faults.may(`${hook} ${plugin?.name}`)) return;
      this.plane.log.error("plugin_fault", this.record.fields({ hook, reason: messageOf(error) }));
    };
    try {
      const told = hook === "dialed" ? plugin?.dialed?.(event) : plugin?.closed?.(event);
      if (told instanceof Promise) told.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  async #handle(stream: ByteStream): Promise<void> {
    const { idle } = this.queues;
    const { plugin, info } = this.record.decided;
    this.tellOpened();
    idle?.add(this);
    const before = performance.now();
    let failure: string | undefined;
    try {
      await plugin.handle?.(stream, info, this);
    } catch (error) {
      failure = messageOf(error);
      throw error;
    } finally {
      idle?.delete(this);
      this.trace?.step("handle", before, { "postern.plugin": plugin.name }, failure);
    }
  }

  async #relay(client: ByteStream): Promise<void> {
    const { record, upstream } = this;
    const { idle, halfClosed } = this.queues;
    if (!upstream) throw new TypeError("There is no upstream to relay to");
    record.state = "relaying";
    this.#controller = undefined; // whoever decided has done so
    this.tellOpened();
    idle?.add(this);
    const onHalfClosed = halfClosed && (() => halfClosed.add(this));
    const before = performance.now();
    const end = await relay({
      client,
      upstream,
      sent: record.sent,
      received: record.received,
      farewell: record.info?.tls && !record.info.terminated ? NO_ANSWER : undefined,
      onHalfClosed,
    });
    idle?.delete(this);
    halfClosed?.delete(this);
    record.result ??= end;
    this.trace?.step("relay", before, {
      "postern.target": record.target,
      "postern.bytes_in": record.sent.bytes,
      "postern.bytes_out": record.received.bytes,
    });
  }

  async #refuse({ client, reason, detail }: Refusal): Promise<void> {
    const { info, sourceAddress } = this.record;
    this.queues.setup.delete(this); // from here on the goodbye has its own time
    // Of services that are down each is named, whoever asks for them.
    const unreachable = reason === "connect_failed" || reason === "connect_timeout";
    const subject = unreachable ? this.record.target : info?.tls?.serverName;
    this.#countRefusal(reason, subject ?? sourceAddress, detail);
    if (info?.handedOver?.purpose !== undefined) return; // the other data plane would take the answer for the service's
    if (client.unanswered) await keepWaiting(this);
    else if (reason !== "client_closed") await this.#dismiss(client, reason);
  }

  /** @param subject Whom the log names once a minute: the name asked for, or else who asked. */
  #countRefusal(result: string, subject: string, detail: string): void {
    const { metrics, log, refusals } = this.plane;
    this.record.state = "refused";
    this.record.result ??= result;
    this.#controller?.abort(ENDED); // a plugin that is still at work for this client need not be
    metrics.rejected(result);
    if (log.enabled("info") && refusals.may(`${result} ${subject}`)) {
      log.info("connection_refused", this.record.fields({ result, detail }));
    }
  }

  /** Tells the client in its own protocol, and waits a little for it to hear. */
  async #dismiss(
    client: Pick<Client, "stream" | "layer" | "withinTls">,
    reason: RefusalReason,
  ): Promise<void> {
    const { stream, layer, withinTls } = client;
    const { goodbyes } = this.plane;
    goodbyes.add(this);
    try {
      const spoken = withinTls && layer === "other" ? await sniffLayer(stream) : layer;
      await refuse(stream, refusalBytes(spoken, reason));
    } finally {
      if (withinTls) closeQuietly(stream); // the connection itself is closed at the end, once
      goodbyes.delete(this);
    }
  }

  /** What ended the path without a refusal: the client's reset, our own closing, or a fault. */
  async #fail(error: unknown): Promise<void> {
    const { record } = this;
    if (record.result !== undefined) return;
    if (error instanceof TlsFault) {
      record.detail = messageOf(error);
      this.#countRefusal(`tls_${error.code}`, record.sourceAddress, record.detail);
      const layer = record.info?.protocol === "postgres" ? "postgres" : "other";
      if (error.plaintext) {
        await this.#dismiss({ stream: error.plaintext, layer, withinTls: true }, "bad_certificate");
      }
    } else if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) {
      record.result = "client_reset";
    } else {
      record.result = "error";
      const reason = messageOf(error);
      if (this.plane.faults.may(reason)) this.plane.log.error("connection_error", record.fields({ reason }));
    }
  }

  #tellEnd(): void {
    const { metrics, log } = this.plane;
    const { id, listener, plugin, state, sent, received, age: ms, result = "ok", detail } = this.record;
    metrics.connectionClosed(listener.address, plugin?.name, result, sent.bytes, received.bytes);
    this.trace?.end();
    if (!plugin) return;
    this.tell("closed", {
      connection: id,
      bytesIn: sent.bytes,
      bytesOut: received.bytes,
      ms,
      result,
      ...(detail !== undefined && { detail }),
    });
    if (state === "refused" || !log.enabled("info")) return;
    const counts = { bytesIn: sent.bytes, bytesOut: received.bytes, ms: Math.round(ms), result };
    log.info("connection_closed", this.record.fields(counts));
  }
}
