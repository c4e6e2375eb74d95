import { delay } from "../core/delay.ts";
import { join } from "node:path";
import { closeQuietly, writeAll } from "../core/byte_stream.ts";
import { messageOf } from "../core/errors.ts";
import { z } from "../core/plugin/mod.ts";
import { CommandError } from "./command_error.ts";
import { EXIT } from "./exit_codes.ts";

/*
 * Each `postern access` that runs has a Unix socket in a folder that only its user may enter. That is all there is to find them
 * by: a process that is there answers, one that was killed leaves a socket that nobody answers at, and the next look removes it. No
 * secret and no process id has to be trusted.
 */

/** What one process tells of its access. */
export interface RunningAccess {
  readonly id: string;
  readonly pid: number;
  readonly service: string;
  readonly local: string;
  readonly state: string;
  readonly remainingMs: number;
  readonly connections: number;
  readonly open: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

const count = z.number().min(0);
const runningAccess: z.ZodType<RunningAccess> = z.object({
  id: z.string(),
  pid: z.int(),
  service: z.string(),
  local: z.string(),
  state: z.string(),
  remainingMs: count,
  connections: count,
  open: count,
  bytesIn: count,
  bytesOut: count,
});

/** What may be asked, as a line of its own. */
type Question = "status" | "stop";

const ID = /^[0-9a-f]{8}$/;
const SOCKET = /^([0-9a-f]{8})\.sock$/;
const MAX_QUESTION_BYTES = 16;
const MAX_ANSWER_BYTES = 16 * 1024;
/** A process that is busy answers later than that, and is listed the next time. */
const ANSWER_MS = 2000;
/** How long to wait after the system has failed to accept. */
const ACCEPT_RETRY_MS = 100;

/** What whoever asks is answered. */
interface Answers {
  /** Asked each time. */
  readonly status: () => RunningAccess;
  /** Told at most once a question. */
  readonly stop: () => void;
}

/** Where the sockets are: `XDG_RUNTIME_DIR` is its user's alone, and empty after a restart. */
export function accessFolder(env: (name: string) => string | undefined): string {
  const runtime = env("XDG_RUNTIME_DIR") || undefined;
  if (runtime !== undefined) return join(runtime, "postern", "access");
  const home = env("HOME") || undefined;
  if (home !== undefined) return join(home, ".local", "state", "postern", "access");
  throw wrong("There is no place for what runs: set XDG_RUNTIME_DIR or HOME");
}

/**
 * Answers for an access until it is disposed.
 *
 * @throws {CommandError} The folder is not its user's alone, or the socket cannot be made.
 */
export async function serveAccess(
  folder: string,
  id: string,
  options: Answers,
): Promise<AsyncDisposable> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  await checkFolder(folder);
  const path = join(folder, `${id}.sock`);
  // Under its name only when it answers: a socket that does not is taken for one that was left behind.
  const early = join(folder, `.${id}.new`);
  const listener = listen(early);
  await Deno.rename(early, path);
  const answering = answerConnections(listener, options);
  return {
    async [Symbol.asyncDispose]() {
      await Deno.remove(path).catch(() => {});
      await answering[Symbol.asyncDispose]();
    },
  };
}

/**
 * Answers whoever connects, also after an accept that has failed, until it is disposed. Owns the listener.
 *
 * @param options.retryMs How long to wait then.
 */
export function answerConnections(
  listener: Pick<Deno.UnixListener, "accept" | "close">,
  { retryMs = ACCEPT_RETRY_MS, ...options }: Answers & { readonly retryMs?: number },
): AsyncDisposable {
  const open = new Set<Deno.UnixConn>();
  const life = new AbortController();
  const answering = (async () => {
    while (!life.signal.aborted) {
      try {
        const conn = await listener.accept();
        open.add(conn);
        void answer(conn, options).finally(() => open.delete(conn));
      } catch {
        await delay(retryMs, life.signal); // too many open files, as a rule
      }
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      life.abort();
      closeQuietly(listener);
      await answering;
      for (const conn of open) closeQuietly(conn);
    },
  };
}

/** Those that run on this machine, of this user; what others have left behind is removed. */
export async function listAccesses(folder: string): Promise<RunningAccess[]> {
  const ids: string[] = [];
  try {
    await checkFolder(folder);
    for await (const { name } of Deno.readDir(folder)) {
      const [, id] = SOCKET.exec(name) ?? [];
      if (id !== undefined) ids.push(id);
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  const all = await Promise.all(ids.toSorted().map((id) => ask(folder, id, "status")));
  return all.filter((one) => one !== undefined);
}

/** @returns How it was then; `undefined`: there is none. */
export async function stopAccess(folder: string, id: string): Promise<RunningAccess | undefined> {
  if (!ID.test(id)) return undefined;
  try {
    await checkFolder(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  return await ask(folder, id, "stop");
}

function listen(path: string): Deno.UnixListener {
  try {
    return Deno.listen({ transport: "unix", path });
  } catch (cause) {
    const message = `Cannot make the socket "${path}": ${messageOf(cause)}`;
    throw new CommandError(message, EXIT.couldNotStart, { cause });
  }
}

/** Nobody else may put a socket there, or reach one. */
async function checkFolder(folder: string): Promise<void> {
  const { isDirectory, uid, mode } = await Deno.lstat(folder);
  if (isDirectory && uid === Deno.uid() && ((mode ?? 0o777) & 0o077) === 0) return;
  throw wrong(`"${folder}" must be a folder of yours that nobody else may enter (mode 0700)`);
}

async function answer(
  conn: Deno.UnixConn,
  { status, stop }: Answers,
): Promise<void> {
  const timer = setTimeout(() => closeQuietly(conn), ANSWER_MS);
  try {
    const question = await readLine(conn, MAX_QUESTION_BYTES);
    if (question !== "status" && question !== "stop") return;
    await writeAll(conn, new TextEncoder().encode(`${JSON.stringify(status())}\n`));
    if (question === "stop") stop();
  } catch {
    // Whoever asked has gone.
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}

/** @returns `undefined`: nobody is there, and the socket is gone now; or nobody answers in time. */
async function ask(folder: string, id: string, question: Question): Promise<RunningAccess | undefined> {
  const path = join(folder, `${id}.sock`);
  let conn: Deno.UnixConn;
  try {
    conn = await Deno.connect({ transport: "unix", path });
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) await Deno.remove(path).catch(() => {});
    return undefined;
  }
  const timer = setTimeout(() => closeQuietly(conn), ANSWER_MS);
  try {
    await writeAll(conn, new TextEncoder().encode(`${question}\n`));
    const parsed = runningAccess.safeParse(JSON.parse(await readLine(conn, MAX_ANSWER_BYTES)));
    return parsed.success && parsed.data.id === id ? parsed.data : undefined;
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    closeQuietly(conn);
  }
}

/** Up to the first line feed, or the end. */
async function readLine(conn: Deno.UnixConn, maxBytes: number): Promise<string> {
  const seen = new Uint8Array(maxBytes);
  for (let length = 0; length < maxBytes;) {
    const read = await conn.read(seen.subarray(length));
    if (read === null) break;
    length += read;
    const end = seen.subarray(0, length).indexOf(0x0a);
    if (end >= 0) return new TextDecoder().decode(seen.subarray(0, end));
  }
  return "";
}

function wrong(message: string): CommandError {
  return new CommandError(message, EXIT.wrongUsage);
}
