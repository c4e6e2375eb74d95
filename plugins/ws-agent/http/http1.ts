import { HeadWriter, type HttpFault, RequestHead } from "../../../core/http1/mod.ts";
import { relay } from "../../../core/data_plane/relay.ts";
import type { ByteStream, ConnectionInfo } from "../../../core/plugin/mod.ts";
import type { HttpBackend } from "./backend.ts";
import { Exchange } from "./exchange.ts";
import {
  badRequest,
  CLIENT_CLOSED,
  CLOSED,
  CUT_SHORT,
  type Failure,
  IDLE,
  MISDIRECTED,
  SLOW_CLIENT,
  SLOW_SERVICE,
} from "./failure.ts";
import { ForwardedLines } from "./forwarded.ts";
import { type BodyListener, Http1Body } from "./http1_body.ts";
import { composeRequest } from "./http1_request.ts";
import { Http1Responses } from "./http1_response.ts";
import type { ServingOptions } from "./options.ts";
import { errorPage } from "./pages.ts";
import { Patience } from "./patience.ts";
import { ReadAhead } from "./read_ahead.ts";
import { RequestRecord } from "./record.ts";
import { UpstreamPool } from "./upstream.ts";

/**
 * What the connection waits for: a request; the rest of its head; the rest of its body; the service; more of two messages
 * that are under way; more of an upgraded connection; the client's goodbye; the service's.
 */
type Phase = "idle" | "head" | "body" | "service" | "streaming" | "upgraded" | "goodbye" | "leaving";

/** Serves one public HTTP/1.1 connection: its requests in their order, each over the connection's own stream to the service. */
export class Http1Connection implements BodyListener {
  readonly #client: ReadAhead;
  readonly #backend: HttpBackend;
  readonly #options: ServingOptions;
  readonly #forwarded: ForwardedLines;
  readonly #pool: UpstreamPool;
  readonly #record: RequestRecord;
  readonly #patience = new Patience(() => this.#timedOut());
  readonly #head = new RequestHead();
  readonly #outgoing = new HeadWriter();
  readonly #body: Http1Body;
  readonly #responses: Http1Responses;
  #phase: Phase = "idle";
  #exchange: Exchange | undefined;
  /** Why the present request has failed, when it is not for an answer of the service. */
  #failure: Failure | undefined;
  #accept: string | undefined;
  /** Whether the client may still send what nobody wants. */
  #lingers = false;
  readonly #relayed = { sent: { bytes: 0 }, received: { bytes: 0 } };
  #relayedBefore = 0;

  constructor(stream: ByteStream, connection: ConnectionInfo, backend: HttpBackend, options: ServingOptions) {
    this.#client = new ReadAhead(stream);
    this.#backend = backend;
    this.#options = options;
    this.#forwarded = new ForwardedLines(connection, options.secure);
    this.#pool = new UpstreamPool(backend, 1);
    this.#body = new Http1Body(this.#client, this);
    this.#record = new RequestRecord("1.1", options.events);
    this.#responses = new Http1Responses(stream, this.#record, this.#patience);
  }

  /** Resolves when the connection is closed; never rejects. */
  async serve(): Promise<void> {
    try {
      while (await this.#serveOne());
      await this.#sayGoodbye();
    } catch {
      // The client has left. Each of its requests has told its own end by then.
    }
    if (this.#failure === undefined) await this.#leave();
    this.close();
    await this.#exchange?.sending;
    this.#client.release();
    this.#head.fields.release();
    this.#outgoing.release();
    this.#responses.release();
    this.#patience[Symbol.dispose]();
  }

  /** Ends everything at once. */
  close(): void {
    this.#failure ??= CLOSED;
    this.#client.close();
    this.#exchange?.abort();
    this.#pool.close();
  }

  /** Serves what is at hand, and closes behind it. */
  drain(): void {
    if (this.#phase === "idle") this.close();
  }

  /** @returns Whether another request may follow. */
  async #serveOne(): Promise<boolean> {
    if (!await this.#readHead()) return false;
    const head = this.#head;
    this.#record.known(head.method, head.pathname(), head.version);
    this.#accept = head.fields.get("accept");
    if (head.authority.name !== this.#backend.hostname) return this.#fail(MISDIRECTED);
    composeRequest(this.#outgoing, head, this.#forwarded);
    const isWhole = this.#body.start(head, this.#outgoing);
    const exchange = this.#exchange = new Exchange(this.#pool, {
      method: head.method,
      head: this.#outgoing,
      upgrade: head.upgrade,
      body: isWhole ? undefined : this.#body,
    });
    const { responseMs, idleMs } = this.#options.timeouts;
    this.#await("service", isWhole ? responseMs : idleMs);
    if (isWhole) this.#watchClient();
    try {
      const mayFollow = await this.#answer(exchange);
      // An answer may be quicker than the last bytes of the request, which the next one must not overwrite.
      if (mayFollow && !exchange.isSent) await exchange.sending;
      return mayFollow;
    } finally {
      exchange.end();
      if (exchange.isSent) this.#outgoing.release();
    }
  }

  /** @returns Whether a request is there; if not, the connection is over. */
  async #readHead(): Promise<boolean> {
    const { bytes } = this.#client;
    const { draining, timeouts } = this.#options;
    this.#await("idle", timeouts.keepAliveMs);
    if (bytes.available === 0) this.#head.fields.release();
    while (bytes.available === 0) {
      if (draining?.begun || !await this.#client.fill()) return false;
    }
    this.#await("head", timeouts.headerMs);
    this.#record.begin();
    this.#accept = undefined;
    for (let parsed; (parsed = this.#head.parse(bytes.bytes)) !== "done";) {
      if (parsed !== "more") return this.#fail(badRequest(parsed));
      if (!await this.#fillHead()) return false;
    }
    bytes.consume(this.#head.length);
    return true;
  }

  async #fillHead(): Promise<boolean> {
    try {
      // What comes while the client is told that it took too long comes too late.
      if (await this.#client.fill() && this.#failure === undefined) return true;
    } catch {
      // tells no more than FIN does here
    }
    if (this.#failure === undefined) this.#client.close(); // otherwise it is being told
    this.#record.tell(this.#failure ?? CLIENT_CLOSED);
    return false;
  }

  async #answer(exchange: Exchange): Promise<boolean> {
    let outcome = await exchange.begin();
    for (;; outcome = await exchange.next()) {
      if (outcome !== "head") return this.#fail(this.#failure ?? outcome);
      const { status } = exchange.upstream.head;
      if (status === 101) return this.#upgrade(exchange);
      if (status >= 200) return this.#respond(exchange);
      if (this.#head.version === "1.1") await this.#orLeave(this.#responses.informational(exchange.upstream));
      this.#patience.renew();
    }
  }

  async #respond({ upstream }: Exchange): Promise<boolean> {
    const { keepAlive, version } = this.#head;
    const shape = {
      version,
      keepAlive: keepAlive && version === "1.1" && this.#body.ended && !this.#options.draining?.begun,
    };
    this.#await("streaming", this.#options.timeouts.idleMs);
    const isWhole = await this.#orLeave(this.#responses.forward(upstream, shape));
    this.#record.tell(isWhole ? undefined : this.#failure ?? CUT_SHORT);
    if (isWhole) return shape.keepAlive;
    this.#client.close(); // without the end that the client waits for
    return false;
  }

  async #upgrade({ upstream }: Exchange): Promise<boolean> {
    const { sent, received } = this.#relayed;
    this.#await("upgraded", this.#options.timeouts.idleMs);
    await this.#orLeave(this.#responses.informational(upstream));
    const end = await relay({ client: this.#client.rest(), upstream: upstream.rest(), sent, received });
    this.#record.bytesIn += sent.bytes;
    this.#record.bytesOut += received.bytes;
    this.#record.tell(this.#failure ?? (end === "ok" ? undefined : { status: 0, word: end }));
    this.#client.close();
    return false;
  }

  /** Answers by a page of the gateway's own. @returns Whether another request may follow. */
  async #fail(failure: Failure): Promise<boolean> {
    const { status, word } = failure;
    if (status === 0) {
      this.#record.tell(failure);
      this.#client.close();
      return false;
    }
    const { body, keepAlive, method, version } = this.#head;
    const isUnderstood = word !== "bad_request";
    const mayFollow = isUnderstood && keepAlive && version === "1.1" && body === "none" &&
      this.#failure === undefined && !this.#options.draining?.begun;
    this.#lingers = !mayFollow;
    const page = errorPage(status, { accept: this.#accept, hostname: this.#backend.hostname });
    await this.#orLeave(this.#responses.page(page, isUnderstood ? method : "GET", mayFollow));
    this.#record.tell(failure);
    return mayFollow;
  }

  /** What is sent to the client; when it cannot be, that is the end of the request and of the connection. */
  async #orLeave<T>(sending: Promise<T>): Promise<T> {
    try {
      return await sending;
    } catch (error) {
      this.#record.tell(this.#failure ?? CLIENT_CLOSED);
      throw error;
    }
  }

  /** Lets the client take the last answer: closing while its bytes lie unread would reset the connection. */
  async #sayGoodbye(): Promise<void> {
    const { bytes, closed, stream } = this.#client;
    if (closed) return;
    this.#await("goodbye", this.#options.timeouts.lingerMs);
    // To a client whose FIN has come, closing says the same. TLS has a goodbye of its own.
    if (!bytes.finished || this.#options.secure) await stream.closeWrite();
    await this.#exchange?.sending; // it may still be reading
    if (!this.#lingers && this.#body.ended && bytes.available === 0) return;
    do bytes.consume(bytes.available); while (await this.#client.fill());
  }

  /** The client is done with, and so is its stream to the service. */
  async #leave(): Promise<void> {
    this.#client.close();
    this.#await("leaving", this.#options.timeouts.lingerMs);
    await this.#pool.leave();
  }

  #await(phase: Phase, ms: number): void {
    this.#phase = phase;
    this.#patience.allow(ms);
  }

  #timedOut(): void {
    switch (this.#phase) {
      case "idle":
      case "goodbye":
        return this.#client.close();
      case "leaving":
        return this.#pool.close();
      case "head":
        return this.#refuseSlowHead();
      case "body":
      case "service":
        this.#failure ??= this.#phase === "body" ? SLOW_CLIENT : SLOW_SERVICE;
        this.#exchange?.abort();
        return;
      case "streaming":
        return this.#giveUp(IDLE);
      case "upgraded":
        return this.#endIfIdle();
    }
  }

  /** The client is not there any more, or not to be waited for. */
  #giveUp(failure: Failure): void {
    this.#failure ??= failure;
    this.#exchange?.abort();
    this.#client.close();
  }

  #refuseSlowHead(): void {
    this.#failure = SLOW_CLIENT;
    this.#await("goodbye", this.#options.timeouts.lingerMs);
    const page = errorPage(408);
    const close = () => this.#client.close();
    this.#responses.page(page, "GET", false).then(close, close);
  }

  #endIfIdle(): void {
    const moved = this.#relayed.sent.bytes + this.#relayed.received.bytes;
    if (moved === this.#relayedBefore) this.#giveUp(IDLE);
    this.#relayedBefore = moved;
  }

  /** While the service is waited for, to hear of a client that leaves. */
  #watchClient(): void {
    this.#client.ahead(this.#onSurprise);
  }

  /** FIN may be a half-close, but not behind TLS: there no client sends it that is still there. */
  readonly #onSurprise = (came: boolean | undefined): void => {
    if (came === undefined || (!came && this.#options.secure)) this.#giveUp(CLIENT_CLOSED);
  };

  counted(bytes: number): void {
    this.#record.bytesIn += bytes;
  }

  awaited(): void {
    if (this.#phase === "service") this.#await("body", this.#options.timeouts.bodyMs);
  }

  arrived(): void {
    if (this.#phase === "body") this.#await("service", this.#options.timeouts.idleMs);
    else this.#patience.renew();
  }

  completed(): void {
    if (this.#phase === "body") this.#phase = "service";
    if (this.#phase !== "service") return;
    this.#patience.allow(this.#options.timeouts.responseMs);
    this.#watchClient();
  }

  broken(fault: HttpFault | undefined): void {
    if (fault === undefined) this.#giveUp(CLIENT_CLOSED);
    else this.#failure ??= badRequest(fault);
  }
}
