import { granted } from "../support/permissions.ts";

const DEFAULT_RUNS = 3000;
/** Inputs are at most this long, but for the seeds themselves: most faults sit near the start. */
const MAX_RANDOM_BYTES = 600;

/** Random numbers that a seed repeats: the generator mulberry32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, and without, `limit`. */
  below(limit: number): number {
    this.#state = this.#state + 0x6d2b79f5 >>> 0;
    let mixed = Math.imul(this.#state ^ this.#state >>> 15, this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return Math.floor(((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32 * limit);
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new RangeError("Nothing to pick from");
    return picked;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** Lengths, counts and signs go wrong at the edges. */
const EDGES = [0, 1, 2, 3, 0x7f, 0x80, 0xfe, 0xff];

type Mutation = (input: Uint8Array, random: Random) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  (input, random) => input.slice(0, random.below(input.length + 1)),
  (input, random) => changed(input, random, (byte) => byte ^ 1 << random.below(8)),
  (input, random) => changed(input, random, () => random.pick(EDGES)),
  (input, random) => changed(input, random, () => random.below(256)),
  (input, random) => spliced(input, random, random.below(8), new Uint8Array(0)),
  (input, random) => spliced(input, random, 0, random.bytes(1 + random.below(8))),
  (input, random) => {
    const from = random.below(input.length + 1);
    return spliced(input, random, 0, input.slice(from, from + random.below(64)));
  },
  (input, random) => Uint8Array.of(...input, ...random.bytes(random.below(32))),
];

function changed(input: Uint8Array, random: Random, change: (byte: number) => number): Uint8Array {
  const at = random.below(Math.max(1, input.length));
  return input.map((byte, i) => i === at ? change(byte) : byte);
}

function spliced(input: Uint8Array, random: Random, removed: number, added: Uint8Array): Uint8Array {
  const at = random.below(input.length + 1);
  return Uint8Array.of(...input.subarray(0, at), ...added, ...input.subarray(at + removed));
}

/** A seed as it is, one that was mutated a few times, or random bytes behind the start of a seed. */
export function randomInput(random: Random, seeds: readonly Uint8Array[]): Uint8Array {
  const seed = random.pick(seeds);
  const kind = random.below(8);
  if (kind === 0) return random.bytes(random.below(MAX_RANDOM_BYTES));
  if (kind === 1) {
    return Uint8Array.of(...seed.subarray(0, random.below(20)), ...random.bytes(random.below(200)));
  }
  let input: Uint8Array = seed.slice();
  for (let left = random.below(6); left > 0; left--) input = random.pick(MUTATIONS)(input, random);
  return input;
}

/** Where `input` is cut into segments: ascending, inside, often none. */
export function randomCuts(random: Random, input: Uint8Array): number[] {
  const cuts = Array.from({ length: random.below(5) }, () => random.below(Math.max(1, input.length)));
  return [...new Set(cuts)].filter((cut) => cut > 0).sort((a, b) => a - b);
}

function setting(name: string): number | undefined {
  if (!granted("env")) return undefined;
  const value = Deno.env.get(name);
  return value === undefined ? undefined : Number(value);
}

/**
 * Tests `check` against many inputs. `POSTERN_FUZZ_RUNS` says how many, `POSTERN_FUZZ_SEED` repeats a failed run.
 *
 * @param seeds Good inputs to begin with.
 * @param check Throws when something is wrong.
 * @param cost How many times as long as usual an input takes: so many times fewer are tried.
 */
export function fuzz(
  name: string,
  seeds: () => readonly Uint8Array[],
  check: (input: Uint8Array, random: Random) => void | Promise<void>,
  cost = 1,
): void {
  const runs = Math.ceil((setting("POSTERN_FUZZ_RUNS") ?? DEFAULT_RUNS) / cost);
  Deno.test(`fuzz: ${name}, ${runs} inputs`, async () => {
    const seed = setting("POSTERN_FUZZ_SEED") ?? Math.floor(Math.random() * 2 ** 32);
    const random = new Random(seed);
    const good = seeds();
    for (let run = 0; run < runs; run++) {
      const input = randomInput(random, good);
      try {
        const pending = check(input, random);
        if (pending !== undefined) await pending;
      } catch (error) {
        throw new Error(`POSTERN_FUZZ_SEED=${seed}, run ${run}, input ${input.toHex()}`, { cause: error });
      }
    }
  });
}
