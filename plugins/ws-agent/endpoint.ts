import { LogOnce } from "../../core/data_plane/log_once.ts";
import { replaying } from "../../core/data_plane/streams/replaying.ts";
import type { HttpFault } from "../../core/http1/mod.ts";
import {
  type ByteStream,
  type ConnectionInfo,
  type Log,
  messageOf,
  type PlaneContext,
  writeAll,
} from "../../core/plugin/mod.ts";
import { Arrival } from "./arrival.ts";
import { printable } from "./auth/printable.ts";
import type { Clock } from "./clock.ts";
import type { WsAgentConfig } from "./config.ts";
import type { Counters } from "./counters.ts";
import { type Entrant, PlainEntrant, YamuxEntrant, type YamuxEntrantTools } from "./entrant.ts";
import { type BareYamux, type FirstRequest, type NotHttp, readFirstRequest } from "./first_request.ts";
import { type DataArrival, DataEndpoint } from "./plain/data_endpoint.ts";
import { DataSockets } from "./plain/data_sockets.ts";
import { PlainSpeech } from "./plain/speech.ts";
import type { Admission } from "./session/admission.ts";
import { AGENT_HEADER, type AgentRun, parseAgentHeader } from "./session/agent_header.ts";
import type { AgentLink } from "./session/agent_link.ts";
import type { AgentSpeech } from "./session/agent_speech.ts";
import type { ConversationTools } from "./session/conversation.ts";
import type { TunnelSession } from "./session/session.ts";
import { ControlFault } from "./control/fault.ts";
import { LINGER_MS, turnAway } from "./turn_away.ts";
import { answerUpgrade, encodeRefusal, type UpgradeRefusal } from "./websocket/answer_upgrade.ts";
import { WebSocketBytes } from "./websocket/web_socket_bytes.ts";

/** From the first byte of the request to AuthOk; see PROTOCOL.md. */
const AUTH_TIMEOUT_MS = 10_000;
/** The subprotocol of Postern's own agents. */
export const SUBPROTOCOL = "postern.v1";
/**
 * Connections that have not proved anything. With one more, the one that is at it for longest has to go: an agent takes
 * a few round trips for it, and strangers that say nothing keep nobody out.
 */
const MAX_ARRIVALS = 2048;

export interface EndpointTools extends ConversationTools, YamuxEntrantTools {
  readonly config: () => WsAgentConfig;
  readonly admission: Admission;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly log: Log;
  readonly plane: Pick<PlaneContext, "node" | "neighbours" | "openOn">;
}

/** Where agents connect. Takes each connection from its first byte to the end of its tunnel. */
export class AgentEndpoint {
  readonly #tools: EndpointTools;
  readonly #arrivals = new Set<Arrival>();
  readonly #refusals = new LogOnce();
  /** What plain agents are to come for. */
  readonly #sockets: DataSockets;
  readonly #data: DataEndpoint;

  constructor(tools: EndpointTools) {
    this.#tools = tools;
    this.#sockets = new DataSockets({ node: tools.plane.node, clock: tools.clock });
    this.#data = new DataEndpoint({ sockets: this.#sockets, plane: tools.plane, clock: tools.clock });
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
    const entered = await this.#letIn(stream, connection, signal, first);
    if (entered === undefined) return;
    if ("session" in entered) await this.#stay(entered);
    else await this.#data.serve(entered, stream, connection, signal);
  }

  /** From the first byte until it is known to be good. @returns `undefined`: it is not, and the connection is over. */
  async #letIn(
    stream: ByteStream,
    connection: ConnectionInfo,
    signal: AbortSignal,
    first: FirstRequest | BareYamux | undefined,
  ): Promise<OpenTunnel | DataArrival | undefined> {
    let entered: OpenTunnel | DataArrival | undefined;
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
      entered = "data" in answer
        ? answer.data
        : await this.#speak(await this.#entrantOf(stream, answer), { arrival, connection, run: answer.run });
    } catch (error) {
      this.#refused(connection, arrival, error);
    } finally {
      signal.removeEventListener("abort", leave);
      if (arrival.timedOut) this.#tools.admission.timedOut(connection.source);
      this.#arrivals.delete(arrival);
      if (entered === undefined) arrival.end();
      else arrival[Symbol.dispose]();
    }
    return entered;
  }

  /** Answers an agent that is in, until its tunnel's end. The connection itself is the caller's to watch. */
  async #stay({ session, speech }: OpenTunnel): Promise<void> {
    const { tunnels, config } = this.#tools;
    try {
      tunnels.opened(session);
      await speech.converse(session, config().limits.servicesPerTunnel, this.#tools);
      await session.link.ended;
    } finally {
      session.link.close();
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
    return this.#answerRequest(request, connection);
  }

  #answerRequest({ head, seen }: FirstRequest, connection: ConnectionInfo): Answer {
    const { controlPath, endpoint } = this.#tools.config();
    if (head.authority.name !== endpoint) return refusing(421, `This is "${endpoint}"`);
    const path = head.pathname();
    const dataPath = `${controlPath}/data/`;
    const isData = path.startsWith(dataPath);
    if (path !== controlPath && !isData) return refusing(404, `Agents connect at ${controlPath}`);
    if (this.#tools.tunnels.draining && !isData) return refusing(503, "The gateway is going away", 1);
    const header = (name: string) => head.fields.has(name) ? head.fields.getAll(name).join(", ") : undefined;
    const upgrade = { method: head.method, target: head.path, version: `HTTP/${head.version}`, header };
    const answer = answerUpgrade(upgrade, isData ? [] : [SUBPROTOCOL]);
    if (answer.kind === "refused") return { refusal: answer.response };
    const { response } = answer;
    if (isData) {
      const id = path.slice(dataPath.length);
      const data = this.#data.find({ id, response, seen, headLength: head.length }, connection);
      return data ? { data } : refusing(404, "No connection waits here: it is over, or was fetched already");
    }
    const isPlain = answer.protocol !== SUBPROTOCOL;
    const run = parseAgentHeader(isPlain ? undefined : header(AGENT_HEADER), this.#tools.clock.wall());
    if (run === undefined) return refusing(400, "Postern-Agent is malformed");
    return { kind: isPlain ? "plain" : "postern", response, rest: seen.subarray(head.length), run };
  }

  /** Begins to speak. Owns the stream. */
  async #entrantOf(stream: ByteStream, answer: Accepted): Promise<Entrant> {
    if ("yamux" in answer) return new YamuxEntrant(replaying(stream, answer.yamux), "go-tunnel", this.#tools);
    const { kind, response, rest: replay } = answer;
    await writeAll(stream, response);
    if (kind === "plain") {
      const { clock } = this.#tools;
      return new PlainEntrant(new PlainSpeech(stream, { replay, clock, sockets: this.#sockets }));
    }
    return new YamuxEntrant(new WebSocketBytes(stream, { role: "server", replay }), kind, this.#tools);
  }

  /** Its first message, which is Auth. @returns `undefined`: the agent is not let in. */
  async #speak(
    entrant: Entrant,
    { arrival, connection, run }: { arrival: Arrival; connection: ConnectionInfo; run: AgentRun },
  ): Promise<OpenTunnel | undefined> {
    const { admission, tunnels } = this.#tools;
    const { link } = entrant;
    let session: TunnelSession | undefined;
    arrival.hand(link);
    try {
      const speech = await entrant.speech();
      if (speech === undefined) return undefined;
      session = await admission.admit({
        run,
        connection,
        httpsPort: connection.tls === undefined ? 443 : connection.destination.port,
        link,
        speech,
        signal: arrival.signal,
      });
      if (session === undefined) {
        await this.#seeOut(link, speech);
        return undefined;
      }
      entrant.admitted(session);
      await speech.welcome(session, this.#tools);
      if (arrival.signal.aborted) tunnels.end(session, "connection_lost");
      if (session.ended !== undefined) {
        await link.ended; // what it is told is on its way
        return undefined;
      }
      entrant.welcomed();
      return { session, speech };
    } finally {
      if (session === undefined) link.close();
    }
  }

  /** Whoever is not let in has been told why, and is to hear it. */
  async #seeOut(link: AgentLink, speech: AgentSpeech): Promise<void> {
    const stop = this.#tools.clock.after(LINGER_MS, () => link.close());
    await speech.finish();
    await link.ended;
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

/** What the first request comes to: nothing to say, an answer behind which the connection is closed, or somebody to let in. */
type Answer =
  | { readonly close: true }
  | { readonly refusal: Uint8Array }
  | { readonly data: DataArrival }
  | Accepted;

/** An agent that is spoken to in a WebSocket, once it is answered, or by yamux as it came. */
type Accepted =
  & { readonly run: AgentRun }
  & (
    | { readonly kind: "postern" | "plain"; readonly response: Uint8Array; readonly rest: Uint8Array }
    | BareYamux
  );

function refusing(status: number, text: string, retryAfterSeconds?: number): { refusal: Uint8Array } {
  const refusal: UpgradeRefusal = {
    status,
    text,
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  };
  return { refusal: encodeRefusal(refusal) };
}
