import type { ByteStream } from "../../core/plugin/mod.ts";
import type { Counters } from "./counters.ts";
import { GoTunnelSpeech } from "./go_tunnel/speech.ts";
import type { Accesses } from "./session/accesses.ts";
import type { AgentLink } from "./session/agent_link.ts";
import type { AgentSpeech } from "./session/agent_speech.ts";
import { PosternSpeech } from "./session/postern_speech.ts";
import type { TunnelSession } from "./session/session.ts";
import type { Tunnels } from "./session/tunnels.ts";
import {
  DEFAULT_MAX_BUFFERED_BYTES,
  type YamuxOptions,
  type YamuxSession,
  type YamuxStream,
} from "./yamux/yamux.ts";

/** What a stranger may send ahead of our answer: the largest message, and it has to wait with more. */
const MAX_STRANGERS_BYTES = 64 * 1024;
/** Streams that an agent opens beside its first. One may be a slip; so many are an attempt at something. */
const MAX_STRAY_STREAMS = 100;

/** An agent's connection on its way in. */
export interface Entrant {
  readonly link: AgentLink;
  /** How it is spoken to, once that is known. @returns `undefined`: it has left. */
  speech(): Promise<AgentSpeech | undefined>;
  /** It has got a session. */
  admitted(session: TunnelSession): void;
  /** It has been told, and may send more than strangers. */
  welcomed(): void;
}

export interface YamuxEntrantTools {
  readonly openYamux: (transport: ByteStream, options: YamuxOptions) => YamuxSession;
  readonly accesses: Accesses;
  readonly tunnels: Tunnels;
  readonly counters: Counters;
}

/** One that speaks yamux: in a WebSocket, as Postern's own agents do, or without. */
export class YamuxEntrant implements Entrant {
  readonly link: YamuxSession;
  readonly #kind: "postern" | "go-tunnel";
  readonly #tools: YamuxEntrantTools;
  readonly #first = Promise.withResolvers<YamuxStream>();
  #strays = -1;
  #session: TunnelSession | undefined;

  /** Owns the transport. */
  constructor(transport: ByteStream, kind: "postern" | "go-tunnel", tools: YamuxEntrantTools) {
    this.#kind = kind;
    this.#tools = tools;
    this.link = tools.openYamux(transport, {
      role: "server",
      maxStreams: 8,
      maxBufferedBytes: MAX_STRANGERS_BYTES, // until it is in
      maxUnaccepted: Infinity, // limits.streamsPerTunnel bounds them: a crowd may come within one round trip
      pingIntervalMs: 0, // heartbeats do that, by one timer for all
      onStream: (stream) => this.#take(stream),
    });
  }

  /** The first stream that it opens is for control. */
  async speech(): Promise<AgentSpeech | undefined> {
    const control = await Promise.race([this.#first.promise, this.link.ended.then(() => undefined)]);
    if (control === undefined) return undefined;
    return this.#kind === "go-tunnel" ? new GoTunnelSpeech(control) : new PosternSpeech(control);
  }

  admitted(session: TunnelSession): void {
    this.#session = session;
  }

  welcomed(): void {
    this.link.maxBufferedBytes = DEFAULT_MAX_BUFFERED_BYTES;
  }

  #take(stream: YamuxStream): void {
    const { accesses, counters, tunnels } = this.#tools;
    if (this.#strays < 0) {
      this.#strays++;
      return this.#first.resolve(stream);
    }
    const session = this.#session;
    if (session !== undefined && accesses.isAccessor(session)) return void accesses.serve(session, stream);
    this.#strays++;
    counters.strayStreams++;
    stream.reset();
    if (this.#strays <= MAX_STRAY_STREAMS) return;
    if (session) tunnels.end(session, "protocol_error", "Streams are for the gateway to open");
    else this.link.close("protocol_error");
  }
}

/** A link whose agent speaks by it from the first message on. */
export class PlainEntrant implements Entrant {
  readonly link: AgentLink;
  readonly #speech: AgentSpeech;

  constructor(speech: AgentSpeech & { readonly link: AgentLink }) {
    this.link = speech.link;
    this.#speech = speech;
  }

  speech(): Promise<AgentSpeech> {
    return Promise.resolve(this.#speech);
  }

  admitted(): void {}

  welcomed(): void {}
}
