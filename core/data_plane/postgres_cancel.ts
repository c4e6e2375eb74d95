import { timingSafeEqual } from "node:crypto";
import type { Forward } from "../plugin/contract.ts";
import type { CancelKey } from "./preface/postgres.ts";

/** Sessions that can be cancelled; beyond, new ones cannot. A key of 32 bytes costs about 300: some 30 MB. */
const MAX_KEYS = 100_000;
/** Servers number their processes alike, so several have the same; a guess is compared with so many keys at most. */
const MAX_KEYS_A_PROCESS = 64;
/** Questions to the other data planes that are open at a time: strangers make them. */
const MAX_QUESTIONS = 100;
/** How long the other data planes may take, in milliseconds. */
const ANSWER_TIMEOUT_MS = 1000;

/** How long a CancelRequest takes, in milliseconds, before any was delivered; and the most that is believed of one. */
const FIRST_GUESS_MS = 5, LONGEST_USUAL_MS = 100;

/** Where a CancelRequest is to be sent, and how. Plain data: it crosses worker boundaries. */
export interface CancelTarget {
  /** The decision by which the session came about, with the one target that it has. */
  readonly forward: Forward & { readonly to: string };
}

/** Asks where a session is that a CancelRequest is for; `undefined`: nobody knows it. */
export type FindCancel = (key: CancelKey) => Promise<CancelTarget | undefined>;

interface Entry {
  readonly secret: Uint8Array;
  readonly target: CancelTarget;
}

/** Takes a key out again; harmless when repeated. */
export type Forget = () => void;

/** By whom the sessions that run through this data plane may be cancelled, and where. */
export class CancelKeys {
  readonly #entries = new Map<number, Set<Entry>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Remembers a session, unless there are too many. */
  remember({ processId, secret }: CancelKey, target: CancelTarget): Forget {
    const entries = this.#entries.get(processId) ?? new Set();
    if (this.#size >= MAX_KEYS || entries.size >= MAX_KEYS_A_PROCESS) return () => {};
    const entry = { secret, target };
    this.#entries.set(processId, entries.add(entry));
    this.#size++;
    return () => {
      if (!entries.delete(entry)) return;
      this.#size--;
      if (entries.size === 0) this.#entries.delete(processId);
    };
  }

  /** Takes as long for a key that is nearly right as for one that is not. */
  find({ processId, secret }: CancelKey): CancelTarget | undefined {
    let found: CancelTarget | undefined;
    for (const entry of this.#entries.get(processId) ?? []) {
      if (entry.secret.length === secret.length && timingSafeEqual(entry.secret, secret)) {
        found = entry.target;
      }
    }
    return found;
  }
}

/** Finds the session that a CancelRequest is for, on whichever data plane it runs. */
export class CancelRoutes {
  readonly keys: CancelKeys = new CancelKeys();
  readonly #askOthers: FindCancel | undefined;
  /** Questions without an answer, also those that nobody waits for any more. */
  #asked = 0;
  #usualMs = FIRST_GUESS_MS;

  /** @param askOthers Asks the other data planes. @default there are none */
  constructor(askOthers?: FindCancel) {
    this.#askOthers = askOthers;
  }

  /** How long those took that were delivered lately, in milliseconds. */
  get usualMs(): number {
    return this.#usualMs;
  }

  /** One was delivered. @param ms From its first byte to the server's FIN. */
  delivered(ms: number): void {
    this.#usualMs += (Math.min(ms, LONGEST_USUAL_MS) - this.#usualMs) / 8;
  }

  /** `undefined`: nobody's, or the others do not say in time. Never rejects. */
  async find(key: CancelKey): Promise<CancelTarget | undefined> {
    const here = this.keys.find(key);
    if (here || !this.#askOthers || this.#asked >= MAX_QUESTIONS) return here;
    this.#asked++;
    const answer = this.#askOthers(key).catch(() => undefined).finally(() => this.#asked--);
    return await within(ANSWER_TIMEOUT_MS, answer);
  }
}

/** What comes within the time, else `undefined`. */
async function within<T>(ms: number, answer: Promise<T>): Promise<T | undefined> {
  let timer;
  const late = new Promise<undefined>((resolve) => timer = setTimeout(resolve, ms, undefined));
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
