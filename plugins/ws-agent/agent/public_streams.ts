import { type ByteCount, relay } from "../../../core/data_plane/relay.ts";
import { replaying } from "../../../core/data_plane/streams/replaying.ts";
import {
  type ByteStream,
  closeQuietly,
  GatewayError,
  messageOf,
  writeAll,
} from "../../../core/plugin/mod.ts";
import { LogOnce } from "../../../core/data_plane/log_once.ts";
import { Deadlines } from "../../../core/data_plane/deadlines.ts";
import { readStreamHeader, type StreamHeader, StreamHeaderFault } from "../stream_header.ts";
import type { YamuxStream } from "../yamux/yamux.ts";
import { answerRefusal, discardRest, type RefusalReason } from "./bad_gateway.ts";
import { datagramPrefix } from "./datagram_prefix.ts";
import { relayDatagrams } from "./datagram_relay.ts";
import type { AgentEvent } from "./events.ts";
import { HttpObserver } from "./http_observer.ts";
import { type AcceptConnection, Admission } from "./in_process/admission.ts";
import type { ConnectionHandler, PublicConnection, ServedConnection } from "./in_process/handler.ts";
import type { AgentNetwork } from "./network.ts";
import { describeConnection, proxyHeader } from "./public_connection.ts";
import type { Registrations } from "./registrations.ts";
import { ResetOnClose } from "./reset_on_close.ts";
import type { AgentService } from "./settings.ts";
import { formatTarget } from "./target.ts";
import type { TargetDialer } from "./target_dialer.ts";
import { type StreamWatcher, WatchedStream, watchTogether } from "./watched_stream.ts";

/** Makes what looks at a public connection for an HTTP service. It owns nothing, so that nothing but its end has to be told. */
export type InspectStream = (service: AgentService, header: StreamHeader) => StreamWatcher;

/** The times of a public connection, in milliseconds. Being idle is for the gateway to judge. */
export interface StreamTimes {
  /** How long the header of a stream may take. */
  readonly headerMs: number;
  /** How long a target may take to accept a connection. */
  readonly dialMs: number;
  /** How long the program may take to say whether it takes a connection. */
  readonly acceptMs: number;
  /** How long it may take to tell the gateway that a service is not there. */
  readonly refusalMs: number;
}

export const STREAM_TIMES: StreamTimes = {
  headerMs: 10_000,
  dialMs: 5000,
  acceptMs: 5000,
  refusalMs: 10_000,
};

interface Parts {
  readonly dialer: TargetDialer;
  readonly network: Pick<AgentNetwork, "openDatagrams">;
  readonly times: StreamTimes;
  readonly now: () => number;
  readonly emit: (event: AgentEvent) => void;
  /** Whether anybody wants to know of requests. */
  readonly watchRequests: () => boolean;
  /** Looks at what goes to the targets of http services, and comes from them. */
  readonly inspect?: InspectStream | undefined;
  /** Whether a connection is served. Absent: each is. */
  readonly accept?: AcceptConnection | undefined;
}

/** A stream of which it is not known yet whom it is for. */
interface Arrival {
  readonly stream: YamuxStream;
  /** Aborted when there is nobody any more to do anything for. */
  readonly gone: AbortController;
}

/** Serves the streams that the gateway opens: each is one public connection, for one of the agent's own targets. */
export class PublicStreams {
  readonly #parts: Parts;
  readonly #headers: Deadlines<Arrival>;
  readonly #dials: Deadlines<AbortController>;
  readonly #refusals: Deadlines<YamuxStream>;
  readonly #admission: Admission;
  /** A gateway may open them by the thousand. */
  readonly #refused = new LogOnce();
  /** Since the start. */
  total = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { headerMs, dialMs, acceptMs, refusalMs } = parts.times;
    this.#headers = new Deadlines(headerMs, ({ stream, gone }) => {
      stream.reset();
      gone.abort();
    });
    this.#admission = new Admission(parts.accept, acceptMs);
    this.#dials = new Deadlines(dialMs, (dial) => dial.abort());
    this.#refusals = new Deadlines(refusalMs, (stream) => stream.reset());
  }

  /** Owns the stream. Never throws. */
  serve(stream: YamuxStream, registrations: Registrations): void {
    this.total++;
    this.#serve(stream, registrations).catch((error) => {
      stream.reset();
      if (error instanceof StreamHeaderFault) this.#refuse(error.message);
    });
  }

  /** Frees the timers. What is open ends with its session. */
  close(): void {
    this.#headers.close();
    this.#dials.close();
    this.#refusals.close();
    this.#admission.close();
  }

  #refuse(reason: string): void {
    if (this.#refused.may(reason)) this.#parts.emit({ kind: "stream_refused", reason });
  }

  async #serve(stream: YamuxStream, registrations: Registrations): Promise<void> {
    const gone = new AbortController();
    stream.onReset = () => gone.abort();
    const { header, rest, service } = await this.#begin({ stream, gone }, registrations);
    if (gone.signal.aborted) return stream.reset();
    if (service === undefined) {
      stream.reset();
      return this.#refuse("It is for a service that is not registered");
    }
    const isUdp = service.protocol === "udp";
    if (isUdp !== (header.datagrams === true) || isUdp && service.handler !== undefined) {
      stream.reset();
      return this.#refuse("It carries datagrams, or bytes, and the service takes the other");
    }
    const connection = describeConnection(service, header);
    const failed = (error: unknown) => this.#tellFailure(connection, error, gone.signal);
    if (!await this.#admission.admits(connection, failed, gone.signal)) {
      return await this.#turnAway(service, header, { stream, gone }, rest, "forbidden");
    }
    if (service.handler !== undefined) {
      return await this.#handle(
        service.handler,
        { ...connection, signal: gone.signal },
        stream,
        failed,
        () => watched(replaying(stream, rest), this.#watcher(service, header)),
      );
    }
    if (isUdp) {
      const relayed = this.#serveDatagrams(service, header, { stream, gone }, rest);
      return await relayed.catch((error) => {
        if (error instanceof GatewayError) this.#tellTargetFailure(service, header, gone.signal, error);
        throw error;
      });
    }
    const upstream = await this.#dial(service, header, { stream, gone }, rest);
    if (upstream === undefined) return;
    const close = () => closeQuietly(upstream);
    gone.signal.addEventListener("abort", close);
    if (gone.signal.aborted) close();
    try {
      await this.#relay(service, header, stream, rest, upstream);
    } finally {
      gone.signal.removeEventListener("abort", close);
      close();
      closeQuietly(stream);
    }
  }

  async #serveDatagrams(
    { target, proxyProtocol }: AgentService,
    { source, destination }: StreamHeader,
    { stream, gone }: Arrival,
    rest: Uint8Array,
  ): Promise<void> {
    const { dialer, network } = this.#parts;
    const address = await this.#inTime(gone, (signal) => dialer.addressOf(target, signal));
    const prefix = proxyProtocol === "v1" ? undefined : datagramPrefix(proxyProtocol, source, destination);
    await relayDatagrams({ network, target: { address, port: target.port }, prefix, stream, rest });
  }

  /** Does what a target may take its time for. The signal is aborted when that is over, or nobody waits for it any more. */
  async #inTime<T>(gone: AbortController, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const late = new AbortController();
    const giveUp = () => late.abort();
    gone.signal.addEventListener("abort", giveUp);
    if (gone.signal.aborted) giveUp();
    this.#dials.add(late);
    try {
      return await work(late.signal);
    } finally {
      this.#dials.delete(late);
      gone.signal.removeEventListener("abort", giveUp);
    }
  }

  /** Whom a stream is for, within its deadline. */
  async #begin(arrival: Arrival, registrations: Registrations) {
    this.#headers.add(arrival);
    try {
      const { header, rest } = await readStreamHeader(arrival.stream);
      return { header, rest, service: await registrations.find(header.serviceId, arrival.gone.signal) };
    } finally {
      this.#headers.delete(arrival);
    }
  }

  /** @returns `undefined`: the target is not there, and the client knows; or the client is gone. */
  async #dial(
    service: AgentService,
    header: StreamHeader,
    { stream, gone }: Arrival,
    rest: Uint8Array,
  ): Promise<ByteStream | undefined> {
    const late = new AbortController();
    const giveUp = () => late.abort();
    gone.signal.addEventListener("abort", giveUp);
    this.#dials.add(late);
    try {
      return await this.#parts.dialer.dial(service.target, late.signal, proxyHeader(service, header));
    } catch (error) {
      if (gone.signal.aborted) return undefined;
      this.#tellTargetFailure(service, header, gone.signal, error);
      const isLate = error instanceof GatewayError && error.code === "dial-timeout";
      await this.#turnAway(service, header, { stream, gone }, rest, isLate ? "timeout" : "refused");
      return undefined;
    } finally {
      this.#dials.delete(late);
      gone.signal.removeEventListener("abort", giveUp);
    }
  }

  #tellTargetFailure(
    { name, target }: AgentService,
    { connectionId }: StreamHeader,
    gone: AbortSignal,
    error: unknown,
  ): void {
    if (gone.aborted) return;
    this.#parts.emit({
      kind: "target_failed",
      service: name,
      target: formatTarget(target),
      reason: messageOf(error),
      connection: connectionId,
    });
  }

  /** Lets the program serve a connection. */
  async #handle(
    handler: ConnectionHandler,
    connection: ServedConnection,
    stream: YamuxStream,
    failed: (error: unknown) => void,
    open: () => ByteStream,
  ): Promise<void> {
    try {
      await handler.serve(open(), connection, failed);
    } catch (error) {
      stream.reset();
      return failed(error);
    }
    this.#refusals.add(stream);
    try {
      await discardRest(stream);
    } finally {
      this.#refusals.delete(stream);
      closeQuietly(stream);
    }
  }

  #tellFailure({ service, id }: PublicConnection, error: unknown, gone: AbortSignal): void {
    if (gone.aborted) return;
    this.#parts.emit({ kind: "handler_failed", service, reason: messageOf(error), connection: id, error });
  }

  /** Tells the client of an http service why it is not served; others are reset. */
  async #turnAway(
    service: AgentService,
    header: StreamHeader,
    { stream, gone }: Arrival,
    rest: Uint8Array,
    reason: RefusalReason,
  ): Promise<void> {
    if (service.protocol !== "http" || gone.signal.aborted) return stream.reset();
    this.#refusals.add(stream);
    const watcher = this.#watcher(service, header);
    try {
      await answerRefusal(watched(replaying(stream, rest), watcher), service.name, reason);
    } finally {
      watcher?.end?.();
      this.#refusals.delete(stream);
      closeQuietly(stream);
    }
  }

  async #relay(
    service: AgentService,
    header: StreamHeader,
    stream: YamuxStream,
    rest: Uint8Array,
    upstream: ByteStream,
  ): Promise<void> {
    const watcher = this.#watcher(service, header);
    const sent: ByteCount = { bytes: rest.length }, received: ByteCount = { bytes: 0 };
    try {
      watcher?.request(rest);
      if (rest.length > 0) await writeAll(upstream, rest);
      const failing = new ResetOnClose(stream);
      const client = watcher === undefined ? failing : new WatchedStream(failing, watcher);
      await relay({ client, upstream, sent, received });
    } finally {
      watcher?.end?.();
    }
  }

  #watcher(service: AgentService, header: StreamHeader): StreamWatcher | undefined {
    if (service.protocol !== "http") return undefined;
    const { watchRequests, inspect, emit, now } = this.#parts;
    const inspector = service.handler === undefined ? inspect?.(service, header) : undefined;
    if (!watchRequests()) return inspector;
    const client = { host: header.source.address, port: header.source.port };
    const observer = new HttpObserver(
      (exchange) => emit({ kind: "request", service: service.name, time: Date.now(), client, ...exchange }),
      now,
    );
    return watchTogether(observer, inspector);
  }
}

function watched(stream: ByteStream, watcher: StreamWatcher | undefined): ByteStream {
  return watcher === undefined ? stream : new WatchedStream(stream, watcher);
}
