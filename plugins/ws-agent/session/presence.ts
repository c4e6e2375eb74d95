import {
  type ByteStream,
  closeQuietly,
  type ConnectionInfo,
  type NodeId,
  type PlaneContext,
  writeAll,
} from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import type { AgentLink } from "./agent_link.ts";
import type { Sessions } from "./sessions.ts";

/** What a data plane is asked about with {@link PlaneContext.openOn}. */
export const PRESENCE_PURPOSE = "agent-presence";
/** An agent that does not answer for so long is not there: it is in the way of one that is. */
const PROBE_MS = 1000;
/** Another data plane probes as long, and is a moment away. */
const ASK_MS = 2 * PROBE_MS;
/** A holder is a few hundred bytes: a JWT's issuer and subject, and an id. */
const MAX_HOLDER_BYTES = 64 * 1024;
const THERE = 1, GONE = 0;

export interface PresenceTools {
  readonly sessions: Sessions;
  readonly clock: Clock;
  readonly plane: Pick<PlaneContext, "neighbours" | "openOn">;
}

/** Finds out whether an agent that has a tunnel is really there, on this data plane and on the others. */
export class Presence {
  readonly #tools: PresenceTools;

  constructor(tools: PresenceTools) {
    this.#tools = tools;
  }

  /**
   * Whether a tunnel of this holder is open, and its agent answers. One that hangs half-open does not. A data plane that cannot be
   * asked has none. Never rejects.
   *
   * @param connection Of whoever wants its place.
   */
  async isThere(holder: string, connection: ConnectionInfo): Promise<boolean> {
    const { plane } = this.#tools;
    const answers = await Promise.all([
      this.#isHere(holder),
      ...plane.neighbours.map((node) => this.#ask(node, holder, connection).catch(() => false)),
    ]);
    return answers.includes(true);
  }

  /** Answers another data plane. Owns the stream. Never rejects. */
  async answer(stream: ByteStream): Promise<void> {
    const stop = this.#tools.clock.after(ASK_MS, () => closeQuietly(stream));
    try {
      const holder = await readHolder(stream);
      if (holder === undefined) return;
      await writeAll(stream, Uint8Array.of(await this.#isHere(holder) ? THERE : GONE));
    } catch {
      // It asks no more.
    } finally {
      stop();
      closeQuietly(stream);
    }
  }

  async #ask(node: NodeId, holder: string, connection: ConnectionInfo): Promise<boolean> {
    const stream = await this.#tools.plane.openOn(node, PRESENCE_PURPOSE, connection);
    const stop = this.#tools.clock.after(ASK_MS, () => closeQuietly(stream));
    try {
      await writeAll(stream, new TextEncoder().encode(holder));
      await stream.closeWrite();
      const answer = new Uint8Array(1);
      return await stream.read(answer) === 1 && answer[0] === THERE;
    } finally {
      stop();
      closeQuietly(stream);
    }
  }

  async #isHere(holder: string): Promise<boolean> {
    const open = [...this.#tools.sessions.all()].filter(({ info }) => info.holder === holder);
    const answers = await Promise.all(open.map(({ link }) => this.#answers(link)));
    return answers.includes(true);
  }

  async #answers(link: AgentLink): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const stop = this.#tools.clock.after(PROBE_MS, () => resolve(false));
    link.ping().then(() => resolve(true), () => resolve(false));
    const answers = await promise;
    stop();
    return answers;
  }
}

/** All up to FIN. @returns `undefined`: there is too much of it. */
async function readHolder(stream: ByteStream): Promise<string | undefined> {
  const buffer = new Uint8Array(4096);
  const decoder = new TextDecoder();
  let holder = "";
  for (let length, total = 0; (length = await stream.read(buffer)) !== null;) {
    total += length;
    if (total > MAX_HOLDER_BYTES) return undefined;
    holder += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
  return holder;
}
