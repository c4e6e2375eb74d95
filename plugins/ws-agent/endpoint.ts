import { LogOnce } from "../../core/data_plane/log_once.ts";
import { replaying } from "../../core/data_plane/streams/replaying.ts";
import type { HttpFault } from "../../core/http1/mod.ts";
import {
  type ByteStream,
  type ConnectionInfo,
  type Log,
  messageOf,
  writeAll,
} from "../../core/plugin/mod.ts";
import { Arrival } from "./arrival.ts";
import { printable } from "./auth/printable.ts";
import type { Clock } from "./clock.ts";
import type { WsAgentConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { type BareYamux, type FirstRequest, type NotHttp, readFirstRequest } from "./first_request.ts";
import { GoTunnelSpeech } from "./go_tunnel/speech.ts";
import type { Admission } from "./session/admission.ts";
import { AGENT_HEADER, type AgentRun, parseAgentHeader } from "./session/agent_header.ts";
import type { AgentSpeech } from "./session/agent_speech.ts";
import type { ConversationTools } from "./session/conversation.ts";
import { PosternSpeech } from "./session/postern_speech.ts";
import type { TunnelSession } from "./session/session.ts";
import { ControlFault } from "./control/fault.ts";
import { LINGER_MS, turnAway } from "./turn_away.ts";
import { answerUpgrade, encodeRefusal, type UpgradeRefusal } from "./websocket/answer_upgrade.ts";
import { WebSocketBytes } from "./websocket/web_socket_bytes.ts";
import {
  DEFAULT_MAX_BUFFERED_BYTES,
  type YamuxOptions,
  type YamuxSession,
  type YamuxStream,
} from "./yamux/yamux.ts";

/** From the first byte of the request to AuthOk; see PROTOCOL.md. */
const AUTH_TIMEOUT_MS = 10_000;
/** The subprotocol of Postern's own agents. */
export const SUBPROTOCOL = "postern.v1";
/**
 * Connections that have not proved anything. With one more, the one that is at it for longest has to go: an agent takes
 * a few round trips for it, and strangers that say nothing keep nobody out.
 */
const MAX_ARRIVALS = 2048;
/** What a stranger may send ahead of our answer: the largest message, and it has to wait with more. */
const MAX_STRANGERS_BYTES = 64 * 1024;
/** Streams that an agent opens beside its first. One may be a slip; so many are an attempt at something. */
const MAX_STRAY_STREAMS = 100;

export interface EndpointTools extends ConversationTools {
  readonly config: () => WsAgentConfig;
  readonly admission: Admission;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  readonly openYamux: (transport: ByteStream, options: YamuxOptions) => YamuxSession;
}

/** Where agents connect. Takes each connection from its first byte to the end of its tunnel. */
export class AgentEndpoint {
  readonly #tools: EndpointTools;
  readonly #arrivals = new Set<Arrival>();
  readonly #refusals = new LogOnce();

  constructor(tools: EndpointTools) {
    this.#tools = tools;
  }

  /** Connections whose agents are not in yet. */
  get arrivals(): number {
    return this.#arrivals.size;
  }

  /**
   * Owns the stream. Never rejects.
   *
   * @param first What was read of the connection already.
   */
  async serve(
    stream: ByteStream,
    connection: ConnectionInfo,
    signal: AbortSignal,
    first?: FirstRequest | BareYamux,
  ): Promise<void> {
    // Two steps, so that nothing that the way in has needed is held by the tunnel: idle ones must cost little.
    const tunnel = await this.#letIn(stream, connection, signal, first);
    if (tunnel !== undefined) await this.#stay(tunnel);
  }

  /** From the first byte until the agent is in. @returns `undefined`: it is not, and the connection is over. */
  async #letIn(
    stream: ByteStream,
    connection: ConnectionInfo,
    signal: AbortSignal,
    first: FirstRequest | BareYamux | undefined,
  ): Promise<OpenTunnel | undefined> {
    let tunnel: OpenTunnel | undefined;
    const arrival = new Arrival(stream, this.#tools.clock, AUTH_TIMEOUT_MS);
    const leave = () => arrival.end();
    this.#add(arrival);
    signal.addEventListener("abort", leave);
    if (signal.aborted) leave();
    try {
      const request = first ?? await readFirstRequest(stream);
      const answer = this.#answer(request, connection);
      if ("close" in answer) return undefined;
      if ("refusal" in answer) {
        await turnAway(stream, answer.refusal, this.#tools.clock);
        return undefined;
      }
      tunnel = await this.#speak(await transportOf(stream, answer), { arrival, connection, answer });
    } catch (error) {
      this.#refused(connection, arrival, error);
    } finally {
      signal.removeEventListener("abort", leave);
      if (arrival.timedOut) this.#tools.admission.timedOut(connection.source);
      this.#arrivals.delete(arrival);
      if (tunnel === undefined) arrival.end();
      else arrival[Symbol.dispose]();
    }
    return tunnel;
  }

  /** Answers an agent that is in, until its tunnel's end. The connection itself is the caller's to watch. */
  async #stay({ session, speech }: OpenTunnel): Promise<void> {
    const { tunnels, config } = this.#tools;
    try {
      tunnels.opened(session);
      await speech.converse(session, config().limits.servicesPerTunnel, this.#tools);
      await session.yamux.ended;
    } finally {
      session.yamux.close();
    }
  }

  /** Ends every connection whose agent is not in. */
  close(): void {
    for (const arrival of this.#arrivals) arrival.end();
  }

  /** What the request is answered with; nothing is known of the agent yet. */
  #answer(request: FirstRequest | BareYamux | HttpFault | NotHttp, connection: ConnectionInfo): Answer {
    if (typeof request === "string") {
      if (request !== "left") this.#logRefusal(connection, request);
      return { close: true };
    }
    const now = this.#tools.clock.wall();
    if ("yamux" in request) {
      // It has no word for this, and comes back in any case.
      return this.#tools.tunnels.draining ? { close: true } : { ...request, run: { epoch: now, slot: 0 } };
    }
    if ("word" in request) return refusing(400, `The request is malformed: ${request.word}`);
    const { head, seen } = request;
    const { controlPath, endpoint } = this.#tools.config();
    if (head.authority.name !== endpoint) return refusing(421, `This is "${endpoint}"`);
    if (head.pathname() !== controlPath) return refusing(404, `Agents connect at ${controlPath}`);
    if (this.#tools.tunnels.draining) return refusing(503, "The gateway is going away", 1);
    const header = (name: string) => head.fields.has(name) ? head.fields.getAll(name).join(", ") : undefined;
    const answer = answerUpgrade({
      method: head.method,
      target: head.path,
      version: `HTTP/${head.version}`,
      header,
    }, [SUBPROTOCOL]);
    if (answer.kind === "refused") return { refusal: answer.response };
    // Here agents come in that speak without a subprotocol, once they are supported.
    if (answer.protocol !== SUBPROTOCOL) return refusing(400, `Ask for the subprotocol ${SUBPROTOCOL}`);
    const run = parseAgentHeader(header(AGENT_HEADER), now);
    if (run === undefined) return refusing(400, "Postern-Agent is malformed");
    return { response: answer.response, rest: seen.subarray(head.length), run };
  }

  /** Multiplexer, control stream, Auth. @returns `undefined`: the agent is not let in. */
  async #speak(
    transport: ByteStream,
    { arrival, connection, answer }: { arrival: Arrival; connection: ConnectionInfo; answer: Accepted },
  ): Promise<OpenTunnel | undefined> {
    const { openYamux, admission, tunnels, accesses } = this.#tools;
    const first = Promise.withResolvers<YamuxStream | undefined>();
    let strays = -1;
    let session: TunnelSession | undefined;
    const yamux = openYamux(transport, {
      role: "server",
      maxStreams: 8,
      maxBufferedBytes: MAX_STRANGERS_BYTES, // until it is in
      maxUnaccepted: Infinity, // limits.streamsPerTunnel bounds them: a crowd may come within one round trip
      pingIntervalMs: 0, // heartbeats do that, by one timer for all
      onStream: (stream) => {
        if (strays < 0) {
          strays++;
          return first.resolve(stream);
        }
        if (session !== undefined && accesses.isAccessor(session)) {
          return void accesses.serve(session, stream);
        }
        strays++;
        this.#tools.counters.strayStreams++;
        stream.reset();
        if (strays <= MAX_STRAY_STREAMS) return;
        if (session) tunnels.end(session, "protocol_error", "Streams are for the gateway to open");
        else yamux.close("protocol_error");
      },
    });
    arrival.hand(yamux);
    try {
      const control = await Promise.race([first.promise, yamux.ended.then(() => undefined)]);
      if (control === undefined) return undefined;
      const speech = "yamux" in answer ? new GoTunnelSpeech(control) : new PosternSpeech(control);
      const { source, destination, tls } = connection;
      session = await admission.admit({
        run: answer.run,
        source,
        destination,
        httpsPort: tls === undefined ? 443 : destination.port,
        yamux,
        speech,
        signal: arrival.signal,
      });
      if (session === undefined) {
        await this.#seeOut(yamux, speech);
        return undefined;
      }
      await speech.welcome(session, this.#tools);
      if (arrival.signal.aborted) tunnels.end(session, "connection_lost");
      if (session.ended !== undefined) {
        await yamux.ended; // what it is told is on its way
        return undefined;
      }
      yamux.maxBufferedBytes = DEFAULT_MAX_BUFFERED_BYTES;
      return { session, speech };
    } finally {
      if (session === undefined) yamux.close();
    }
  }

  /** Whoever is not let in has been told why, and is to hear it. */
  async #seeOut(yamux: YamuxSession, speech: AgentSpeech): Promise<void> {
    const stop = this.#tools.clock.after(LINGER_MS, () => yamux.close());
    await speech.finish();
    await yamux.ended;
    stop();
  }

  #add(arrival: Arrival): void {
    if (this.#arrivals.size >= MAX_ARRIVALS) {
      const [longest] = this.#arrivals;
      longest?.end();
      if (longest) this.#arrivals.delete(longest);
    }
    this.#arrivals.add(arrival);
  }

  /** A stranger that left, or broke the protocol before it was known. */
  #refused(connection: ConnectionInfo, arrival: Arrival, error: unknown): void {
    if (arrival.signal.aborted || error instanceof Deno.errors.ConnectionReset) return;
    if (error instanceof ControlFault) this.#tools.counters.violations++;
    this.#logRefusal(connection, "protocol_error", messageOf(error));
  }

  #logRefusal({ source, id }: ConnectionInfo, reason: string, detail?: string): void {
    if (!this.#refusals.may(`${reason} ${source.address}`)) return;
    this.#tools.log.info("agent_refused", {
      connection: id,
      source: source.address,
      reason,
      ...(detail !== undefined && { detail: printable(detail, 200) }),
    });
  }
}

/** An agent that is in. */
interface OpenTunnel {
  readonly session: TunnelSession;
  readonly speech: AgentSpeech;
}

/** What the first request comes to: nothing to say, an answer behind which the connection is closed, or yamux. */
type Answer = { readonly close: true } | { readonly refusal: Uint8Array } | Accepted;

/** Yamux in a WebSocket, once it is answered, or as it came. */
type Accepted =
  & { readonly run: AgentRun }
  & (
    | { readonly response: Uint8Array; readonly rest: Uint8Array }
    | BareYamux
  );

async function transportOf(stream: ByteStream, answer: Accepted): Promise<ByteStream> {
  if ("yamux" in answer) return replaying(stream, answer.yamux);
  await writeAll(stream, answer.response);
  return new WebSocketBytes(stream, { role: "server", replay: answer.rest });
}

function refusing(status: number, text: string, retryAfterSeconds?: number): { refusal: Uint8Array } {
  const refusal: UpgradeRefusal = {
    status,
    text,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  };
  return { refusal: encodeRefusal(refusal) };
}
