import {
  type ByteStream,
  type ConnectionInfo,
  GatewayError,
  type PlaneContext,
} from "../../core/plugin/mod.ts";
import type { Clock } from "./clock.ts";
import type { Directory, Found } from "./directory.ts";
import { HttpRefusal } from "./http/refusal.ts";
import type { PublicProtocol } from "./session/service.ts";
import type { TunnelSession } from "./session/session.ts";
import { traceStream } from "./trace_stream.ts";
import { withHeader } from "./tunnel_stream.ts";
import type { WaitEnd, Waiting } from "./waiting.ts";

/** Beside the grace itself: the registry's clock and ours are not the same. */
const SLACK_MS = 1000;

export interface PublicStreamsTools {
  readonly directory: Directory;
  readonly waiting: Waiting;
  readonly plane: Pick<PlaneContext, "openOn" | "trace">;
  readonly clock: Clock;
  readonly reconnectGraceMs: () => number;
  /** Whether its agent is still allowed to be there; see `Tunnels.mayServe`. */
  mayServe(session: TunnelSession): boolean;
  /** Keeps a stream below what its session may use; see `Throttles.throttle`. */
  throttle(stream: ByteStream, session: TunnelSession): ByteStream;
}

/** What a public connection wants. */
export interface Wanted {
  readonly key: string;
  /** Absent: whatever is there, as another data plane has found out already. */
  readonly protocol?: PublicProtocol | undefined;
  readonly connection: ConnectionInfo;
  readonly signal: AbortSignal;
}

/** Opens streams to services for public connections, wherever their tunnels end. */
export class PublicStreams {
  readonly #tools: PublicStreamsTools;

  constructor(tools: PublicStreamsTools) {
    this.#tools = tools;
  }

  /**
   * Opens a stream, which begins with its header. An agent that was just lost is waited for.
   *
   * @throws {HttpRefusal} 404: nobody has this name. 503: a limit. {GatewayError} `dial-failed`: its agent is gone, or the
   * client. `dial-timeout`: it did not come back in time.
   */
  async open(wanted: Wanted): Promise<ByteStream> {
    return await this.#attempt(wanted, false) ?? await this.#keepTrying(wanted);
  }

  /**
   * As {@link open}, for those who do not wait.
   *
   * @returns `undefined`: its agent is not there at the moment.
   */
  tryOpen(wanted: Wanted): Promise<ByteStream | undefined> {
    return this.#attempt(wanted, true);
  }

  /** As {@link open}, without waiting for an agent that is not there. */
  async openNow(wanted: Wanted): Promise<ByteStream> {
    const stream = await this.tryOpen(wanted);
    if (stream === undefined) throw gone(wanted.key);
    return stream;
  }

  /** A change that comes while an attempt is under way counts too: the wait begins before it. */
  async #keepTrying(wanted: Wanted): Promise<ByteStream> {
    const { waiting, clock, reconnectGraceMs } = this.#tools;
    const deadline = clock.monotonic() + reconnectGraceMs() + SLACK_MS;
    for (;;) {
      using wait = waiting.begin(wanted.key, deadline - clock.monotonic(), wanted.signal);
      const stream = await this.#attempt(wanted, true);
      if (stream !== undefined) return stream;
      giveUpUnlessChanged(await wait.end, wanted.key);
    }
  }

  /** Waits for an agent that was just lost. @returns Where its service is then; `undefined`: it did not come back. */
  async whenBack(wanted: Omit<Wanted, "protocol">): Promise<Found | undefined> {
    const { directory, clock, reconnectGraceMs } = this.#tools;
    const deadline = clock.monotonic() + reconnectGraceMs() + SLACK_MS;
    const elsewhere = mayGoElsewhere(wanted.connection);
    for (;;) {
      const found = directory.find(wanted.key, { elsewhere });
      if (found.kind === "nobody") return undefined;
      if (found.kind !== "held") return found;
      using wait = this.#tools.waiting.begin(wanted.key, deadline - clock.monotonic(), wanted.signal);
      if (await wait.end !== "changed") return undefined;
    }
  }

  /** @returns `undefined`: it may be worth to wait. */
  async #attempt(wanted: Wanted, waited: boolean): Promise<ByteStream | undefined> {
    const { key, connection, protocol } = wanted;
    const found = this.#tools.directory.choose(key, {
      elsewhere: mayGoElsewhere(connection),
      source: connection.source.address,
    });
    switch (found.kind) {
      case "nobody":
        throw waited ? gone(key) : new HttpRefusal(404, `Nobody has ${key}`);
      case "full":
        throw new HttpRefusal(503, `Its agent has as many streams as it may (${found.limit})`);
      case "held":
        return undefined;
    }
    const actual = found.kind === "here" ? found.service.protocol : found.protocol;
    if (protocol !== undefined && actual !== protocol) {
      throw new HttpRefusal(404, `There is no service of ${protocol} at ${key}`);
    }
    try {
      return found.kind === "here"
        ? await this.#openHere(found, wanted)
        : await this.#tools.plane.openOn(found.node, key, connection);
    } catch (error) {
      if (error instanceof GatewayError && error.code === "dial-failed") return undefined; // it has just gone
      throw error;
    }
  }

  #openHere(
    { session, service }: Extract<Found, { kind: "here" }>,
    { connection, signal }: Wanted,
  ): ByteStream | undefined | Promise<ByteStream> {
    const { mayServe, clock, throttle, plane: { trace } } = this.#tools;
    if (!mayServe(session)) return undefined; // somebody else may serve it
    const header = session.voice.streamHeader(service, connection);
    const begin = (stream: ByteStream) => {
      const throttled = throttle(header ? withHeader(stream, header) : stream, session);
      return trace
        ? traceStream(throttled, { connection: connection.id, session, service }, trace)
        : throttled;
    };
    const stream = session.openStream({ service, connection, signal }, clock.monotonic());
    return stream instanceof Promise ? stream.then(begin) : begin(stream);
  }
}

function giveUpUnlessChanged(end: WaitEnd, key: string): void {
  switch (end) {
    case "changed":
      return;
    case "full":
      throw new HttpRefusal(503, "Too many connections wait for agents to come back");
    case "aborted":
      throw new GatewayError("dial-failed", "The client left");
    case "late":
      throw new GatewayError("dial-timeout", `The agent of ${key} did not come back in time`);
  }
}

/**
 * A client's connection that was handed over once may still follow an agent that has moved since; a stream that another data plane has
 * opened here may not, or two that are each behind could send it to and fro.
 */
function mayGoElsewhere({ handedOver }: ConnectionInfo): boolean {
  return handedOver?.purpose === undefined;
}

function gone(key: string): GatewayError {
  return new GatewayError("dial-failed", `The agent of ${key} is gone`);
}
