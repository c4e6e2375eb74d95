/** What of a process is read at a time: most environments fit, and a larger one is read piece by piece. */
const CHUNK_BYTES = 64 * 1024;
/** More than Linux lets any process have at its start (a quarter of a stack of 8 MiB, unless told otherwise). */
const MAX_ENVIRON_BYTES = 8 * 1024 * 1024;
/** Longer than any entry that is looked for, in characters. */
const MAX_ENTRY = 4096;

/** A process as `/proc/<pid>/stat` tells of it: proc_pid_stat(5). */
export interface ProcessStat {
  /** One letter; `Z` and `X` are dead and only not forgotten yet. */
  readonly state: string;
  /** Clock ticks from the system's start to its own. Tells a process from an earlier one with the same id. */
  readonly startTime: number;
}

/** Every process that is to be seen. */
export function processIds(): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter(Number.isInteger);
}

/** `undefined`: it is gone, or not ours to look at. */
export function statOf(pid: number | "self"): ProcessStat | undefined {
  return ifThere(() => parseStat(Deno.readTextFileSync(`/proc/${pid}/stat`)));
}

/** The name of a program stands in parentheses, and may have spaces and parentheses itself. */
export function parseStat(stat: string): ProcessStat | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 1).trim().split(" ");
  const [state, startTime] = [fields[0], Number(fields[19])]; // the 3rd and the 22nd of all
  return state && fields.length > 19 && Number.isSafeInteger(startTime) ? { state, startTime } : undefined;
}

/** The value that a variable had when the process began; `undefined`, too, when it is not ours to look at. */
export function variableOf(pid: number, name: string): string | undefined {
  return ifThere(() => {
    using file = Deno.openSync(`/proc/${pid}/environ`);
    return findVariable((into) => file.readSync(into), name);
  });
}

/**
 * Finds a variable in an environment that comes in pieces: `NAME=value`, each with a NUL behind it.
 *
 * @param read Fills a prefix of what it is given; `null` at the end.
 */
export function findVariable(
  read: (into: Uint8Array<ArrayBuffer>) => number | null,
  name: string,
): string | undefined {
  const buffer = new Uint8Array(CHUNK_BYTES);
  const decoder = new TextDecoder();
  let rest = "";
  for (let total = 0, length; total < MAX_ENVIRON_BYTES && (length = read(buffer)); total += length) {
    const entries = (rest + decoder.decode(buffer.subarray(0, length), { stream: true })).split("\0");
    rest = (entries.pop() ?? "").slice(0, MAX_ENTRY); // what is cut off is never looked for, and could be megabytes
    const found = entries.find((entry) => entry.startsWith(`${name}=`));
    if (found !== undefined) return found.slice(name.length + 1);
  }
  return undefined;
}

/** Processes come and go, and many belong to others. */
export function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isOutOfReach(error)) return undefined;
    throw error;
  }
}

function isOutOfReach(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied ||
    // ESRCH, for which the runtime has no class and no code: it ended between two looks, or is the kernel's own.
    (error instanceof Error && error.constructor === Error);
}
