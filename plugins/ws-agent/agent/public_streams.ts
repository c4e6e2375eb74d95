import { encodeProxyV1, encodeProxyV2 } from "../../../core/data_plane/preface/proxy_protocol.ts";
import { type ByteCount, relay } from "../../../core/data_plane/relay.ts";
import { replaying } from "../../../core/data_plane/streams/replaying.ts";
import {
  type ByteStream,
  closeQuietly,
  GatewayError,
  type LendingStream,
  messageOf,
  writeAll,
} from "../../../core/plugin/mod.ts";
import { LogOnce } from "../../../core/data_plane/log_once.ts";
import { Deadlines } from "../../../core/data_plane/deadlines.ts";
import { readStreamHeader, type StreamHeader, StreamHeaderFault } from "../stream_header.ts";
import type { YamuxStream } from "../yamux/yamux.ts";
import { answerBadGateway } from "./bad_gateway.ts";
import type { AgentEvent } from "./events.ts";
import { HttpObserver, ObservedStream } from "./http_observer.ts";
import type { Registrations } from "./registrations.ts";
import type { AgentService } from "./settings.ts";
import { formatTarget } from "./target.ts";
import type { TargetDialer } from "./target_dialer.ts";

/** The times of a public connection, in milliseconds. Being idle is for the gateway to judge. */
export interface StreamTimes {
  /** How long the header of a stream may take. */
  readonly headerMs: number;
  /** How long a target may take to accept a connection. */
  readonly dialMs: number;
  /** How long it may take to tell the gateway that a service is not there. */
  readonly refusalMs: number;
}

export const STREAM_TIMES: StreamTimes = { headerMs: 10_000, dialMs: 5000, refusalMs: 10_000 };

interface Parts {
  readonly dialer: TargetDialer;
  readonly times: StreamTimes;
  readonly now: () => number;
  readonly emit: (event: AgentEvent) => void;
  /** Whether anybody wants to know of requests. */
  readonly watchRequests: () => boolean;
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
  /** A gateway may open them by the thousand. */
  readonly #refused = new LogOnce();
  /** Since the start. */
  total = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { headerMs, dialMs, refusalMs } = parts.times;
    this.#headers = new Deadlines(headerMs, ({ stream, gone }) => {
      stream.reset();
      gone.abort();
    });
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
      this.#parts.emit({
        kind: "target_failed",
        service: service.name,
        target: formatTarget(service.target),
        reason: messageOf(error),
        connection: header.connectionId,
      });
      if (service.protocol !== "http") stream.reset();
      else await this.#answer(service, header, stream, rest, error);
      return undefined;
    } finally {
      this.#dials.delete(late);
      gone.signal.removeEventListener("abort", giveUp);
    }
  }

  async #answer(
    service: AgentService,
    header: StreamHeader,
    stream: YamuxStream,
    rest: Uint8Array,
    error: unknown,
  ): Promise<void> {
    const reason = error instanceof GatewayError && error.code === "dial-timeout" ? "timeout" : "refused";
    const observer = this.#observer(service, header);
    const client = replaying(stream, rest);
    this.#refusals.add(stream);
    try {
      await answerBadGateway(observer ? new ObservedStream(client, observer) : client, service.name, reason);
    } finally {
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
    const observer = this.#observer(service, header);
    observer?.request(rest);
    if (rest.length > 0) await writeAll(upstream, rest);
    const failing = new ResetOnClose(stream);
    const client = observer === undefined ? failing : new ObservedStream(failing, observer);
    const sent: ByteCount = { bytes: rest.length }, received: ByteCount = { bytes: 0 };
    await relay({ client, upstream, sent, received });
  }

  #observer(service: AgentService, { source }: StreamHeader): HttpObserver | undefined {
    const { watchRequests, emit, now } = this.#parts;
    if (service.protocol !== "http" || !watchRequests()) return undefined;
    const client = { host: source.address, port: source.port };
    return new HttpObserver(
      (exchange) => emit({ kind: "request", service: service.name, time: Date.now(), client, ...exchange }),
      now,
    );
  }
}

/** What the target is sent before anything else. */
function proxyHeader(
  { proxyProtocol }: AgentService,
  { source, destination }: StreamHeader,
): Uint8Array | undefined {
  switch (proxyProtocol) {
    case "off":
      return undefined;
    case "v1":
      return encodeProxyV1(source, destination);
    case "v2":
      return encodeProxyV2(source, destination);
  }
}

/** A relay closes what has failed. To the public, a service that broke off must not look like one that has finished. */
class ResetOnClose implements LendingStream {
  readonly #stream: YamuxStream;

  constructor(stream: YamuxStream) {
    this.#stream = stream;
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#stream.read(into);
  }

  borrow(): Promise<Uint8Array | null> {
    return this.#stream.borrow();
  }

  giveBack(length: number): void {
    this.#stream.giveBack(length);
  }

  write(data: Uint8Array): Promise<number> {
    return this.#stream.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#stream.closeWrite();
  }

  close(): void {
    this.#stream.reset();
  }
}
