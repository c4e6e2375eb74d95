import { closeQuietly, GatewayError, type NodeId } from "../../../core/plugin/mod.ts";
import type { Clock } from "../clock.ts";
import type { Uuid } from "../control/messages.ts";
import { HttpRefusal } from "../http/refusal.ts";
import { newConnectionId } from "./connection_id.ts";
import type { DataSocket } from "./data_stream.ts";

/** What an agent may take to come for a connection: as long as it has for the header of a stream. */
const FETCH_MS = 10_000;
/** Over all agents of a data plane; each of them has a bound of its own below that. */
const MAX_WAITING = 4096;

/** A public connection that its agent was told of. */
export interface Awaited {
  readonly id: Uuid;
  /** Rejects when nobody has come for it in time, or it was given up. */
  readonly socket: Promise<DataSocket>;
  /** Nobody may have it any more. Harmless when it has its socket, or was given up before. */
  giveUp(error: Error): void;
}

/** Gives a connection its data WebSocket, and that to whoever waits for it. Closes it, when it comes too late. */
export type GiveSocket = (socket: DataSocket) => void;

/** The public connections of one data plane that wait for their agents' data WebSockets, by ids that are good once. */
export class DataSockets {
  readonly #node: NodeId;
  readonly #clock: Clock;
  readonly #waiting = new Map<Uuid, GiveSocket>();

  constructor({ node, clock }: { readonly node: NodeId; readonly clock: Clock }) {
    this.#node = node;
    this.#clock = clock;
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** @throws {HttpRefusal} 503: too many wait. */
  expect(): Awaited {
    if (this.#waiting.size >= MAX_WAITING) {
      throw new HttpRefusal(503, "Too many connections wait for agents to come for them");
    }
    const id = newConnectionId(this.#node);
    const { promise, resolve, reject } = Promise.withResolvers<DataSocket>();
    let isOver = false;
    const end = () => {
      stop();
      isOver = true;
      this.#waiting.delete(id);
    };
    const giveUp = (error: Error) => {
      end();
      reject(error);
    };
    const stop = this.#clock.after(FETCH_MS, () => {
      giveUp(new GatewayError("dial-timeout", "The agent did not come for the connection in time"));
    });
    this.#waiting.set(id, (socket) => {
      if (isOver) return closeQuietly(socket);
      end();
      resolve(socket);
    });
    return { id, socket: promise, giveUp };
  }

  /** Whoever shows this id may give its connection a socket, and nobody after that. @returns `undefined`: none waits under it. */
  take(id: Uuid): GiveSocket | undefined {
    const give = this.#waiting.get(id);
    this.#waiting.delete(id);
    return give;
  }
}
