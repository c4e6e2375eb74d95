import { requireProgram } from "./permissions.ts";
import { until } from "./until.ts";

/** Where something listens, in the shape that `Deno.connect` takes. */
export interface Address {
  readonly hostname: string;
  readonly port: number;
}

export interface ProgramOptions {
  readonly args?: readonly string[];
  /** Added to an otherwise almost empty environment (`PATH`, `HOME`, `LANG=C`). */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What asks it to end. @default "SIGTERM" */
  readonly stopSignal?: Deno.Signal;
  /** How long it may take to end before it is killed. @default 5000 */
  readonly stopDeadlineMs?: number;
}

export interface RunOptions {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Written to its stdin, which is closed then. @default nothing */
  readonly input?: string | Uint8Array;
  /** @default 15000 */
  readonly deadlineMs?: number;
}

export interface RunResult {
  readonly code: number;
  /** What ended it, when that was a signal: `SIGKILL` after the deadline. */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The same as `stdout`, undecoded. */
  readonly bytes: Uint8Array;
}

/** As much of a program's output as is kept in memory, from its end. A message of a failed test needs no more. */
const OUTPUT_TAIL_BYTES = 64 * 1024;

/** Programs that have been started and not stopped. */
const running = new Set<Program>();

/** What the names of all temporary folders of the tests begin with. */
const PREFIX = "postern-test-";

/**
 * A real program that runs beside a test; `await using` ends it.
 *
 * Its output goes to a file: a pipe that is read all the time would be a pending operation, which Deno's sanitizer
 * reports when a program is shared by several tests of a file.
 */
export class Program implements AsyncDisposable {
  readonly pid: number;
  /** Settles when the program has ended. Never rejects. */
  readonly status: Promise<Deno.CommandStatus>;
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #folder: string;
  readonly #options: ProgramOptions;
  #ended: Deno.CommandStatus | undefined;
  #disposal: Promise<void> | undefined;

  /** Use {@link startProgram}. */
  constructor(name: string, child: Deno.ChildProcess, folder: string, options: ProgramOptions) {
    this.#name = name;
    this.#child = child;
    this.#folder = folder;
    this.#options = options;
    this.pid = child.pid;
    this.status = child.status.then((status) => this.#ended = status);
    running.add(this);
  }

  /** Its exit status, or `undefined` while it runs. */
  get ended(): Deno.CommandStatus | undefined {
    return this.#ended;
  }

  /** What it has printed so far on stdout and stderr, in the order in which it came: the last 64 KiB of it. */
  get output(): string {
    return readTail(logOf(this.#folder), OUTPUT_TAIL_BYTES);
  }

  /** Resolves when the output matches. Rejects with the output when the program ends first or time is up. */
  async waitForOutput(pattern: RegExp, options: { deadlineMs?: number } = {}): Promise<RegExpMatchArray> {
    return await this.waitFor(() => this.output.match(pattern), { what: `output ${pattern}`, ...options });
  }

  /** Resolves when a TCP connection to `address` succeeds; otherwise as {@link waitForOutput}. */
  async waitForPort(address: Address, options: { deadlineMs?: number } = {}): Promise<void> {
    const what = `${address.hostname}:${address.port} to listen`;
    await this.waitFor(() => listens(address), { what, ...options });
  }

  /** Polls `condition` while the program runs; rejects with its output when it ends first or time is up. */
  async waitFor<T>(
    condition: () => T | Promise<T>,
    options: { readonly what: string; readonly deadlineMs?: number },
  ): Promise<Exclude<T, false | undefined | null | 0 | "">> {
    const explain = () => `"${this.#name}": ${options.what}. Its output:\n${this.output}`;
    return await until(async () => {
      const value = await condition();
      if (!value && this.#ended) {
        throw new Error(`Ended with code ${this.#ended.code}, waiting for ${explain()}`);
      }
      return value;
    }, { deadlineMs: options.deadlineMs ?? 10_000, what: explain });
  }

  /** Sends a signal; nothing happens when the program has ended. */
  kill(signal: Deno.Signal): void {
    if (this.#ended) return;
    try {
      this.#child.kill(signal);
    } catch (error) {
      // It may have ended, with its status still on the way to us.
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  /** Asks it to end, kills it when it does not within the deadline, and removes its output. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#disposal ??= this.#stop();
  }

  async #stop(): Promise<void> {
    this.kill(this.#options.stopSignal ?? "SIGTERM");
    const killer = setTimeout(() => this.kill("SIGKILL"), this.#options.stopDeadlineMs ?? 5000);
    await this.status;
    clearTimeout(killer);
    running.delete(this);
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Ends every program that was started here and runs still: for whoever is told to end in the middle of its work. */
export async function stopPrograms(): Promise<void> {
  // Whoever was about to start one more may have done so meanwhile.
  while (running.size > 0) {
    await Promise.allSettled([...running].map((program) => program[Symbol.asyncDispose]()));
  }
}

/** Starts a program by its name (see `findProgram`) or path. Resolves at once: wait for its port or its output. */
export async function startProgram(program: string, options: ProgramOptions = {}): Promise<Program> {
  const path = requireProgram(program);
  const folder = await Deno.makeTempDir({ prefix: PREFIX });
  const command = new Deno.Command("/bin/sh", {
    args: ["-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", logOf(folder), path, ...options.args ?? []],
    env: environment(options.env),
    clearEnv: true,
    stdin: "null",
    stdout: "null",
    stderr: "null",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  return new Program(program, command.spawn(), folder, options);
}

/** Runs a program to its end. A failure is a result, not an exception; after the deadline it is killed. */
export async function run(program: string, options: RunOptions = {}): Promise<RunResult> {
  const child = new Deno.Command(requireProgram(program), {
    args: [...options.args ?? []],
    env: environment(options.env),
    clearEnv: true,
    stdin: options.input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  }).spawn();
  const killer = setTimeout(() => child.kill("SIGKILL"), options.deadlineMs ?? 15_000);
  try {
    const fed = options.input === undefined ? undefined : feed(child.stdin, options.input);
    const [output] = await Promise.all([child.output(), fed]);
    const decoder = new TextDecoder();
    return {
      code: output.code,
      signal: output.signal,
      stdout: decoder.decode(output.stdout),
      stderr: decoder.decode(output.stderr),
      bytes: output.stdout,
    };
  } finally {
    clearTimeout(killer);
  }
}

/** {@link run}, for what must succeed: throws with its output when the exit code is not 0. */
export async function runOrThrow(program: string, options: RunOptions = {}): Promise<RunResult> {
  const result = await run(program, options);
  if (result.code !== 0) {
    throw new Error(`"${program}" ended with code ${result.code}:\n${result.stdout}${result.stderr}`);
  }
  return result;
}

const FIRST_FREE_PORT = 10_000, FREE_PORTS = 20_000;
let nextPort = Math.floor(Math.random() * FREE_PORTS);

/**
 * A port of 127.0.0.1 on which nobody listens, another one at each call. Not one of those that the system gives out by itself (from 32768 on Linux):
 * a connection of another test could have it by the time that it is needed.
 */
export function freePort(): number {
  for (let tries = 0; tries < 100; tries++) {
    const port = FIRST_FREE_PORT + nextPort++ % FREE_PORTS;
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error("No port is free");
}

/** A loopback address with a {@link freePort}. */
export function freeAddress(): Address {
  return { hostname: "127.0.0.1", port: freePort() };
}

/** `host:port`, as configs want it. */
export function hostPort(address: Address): string {
  return `${address.hostname.includes(":") ? `[${address.hostname}]` : address.hostname}:${address.port}`;
}

/** A folder that is removed at the end of the scope. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempDir({ prefix: PREFIX });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/**
 * Runs `open` with a stack for what it acquires. When it throws, the stack is unwound; otherwise what it returns gets
 * a disposal that does, once.
 */
export async function owning<T extends object>(
  open: (stack: AsyncDisposableStack) => Promise<T>,
): Promise<T & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const value = await open(stack);
  const owned = stack.move();
  return { ...value, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Whether the tests run as root: daemons then need to be told which user to be. */
export function isRoot(): boolean {
  return Deno.uid() === 0;
}

/** What `deno` itself needs to find its cache, for {@link ProgramOptions.env}. */
export function denoEnvironment(): Record<string, string> {
  const names = ["HOME", "DENO_DIR", "XDG_CACHE_HOME"];
  return Object.fromEntries(names.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  }));
}

async function listens(address: Address): Promise<boolean> {
  try {
    (await Deno.connect({ ...address })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}

async function feed(stdin: WritableStream<Uint8Array>, input: string | Uint8Array): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(typeof input === "string" ? new TextEncoder().encode(input) : input);
    await writer.close();
  } catch (error) {
    // It ended before it read everything: its exit code tells the rest.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Nothing of the developer's own settings (PGHOST, proxies, .curlrc by HOME) reaches a program. */
function environment(own: Readonly<Record<string, string>> = {}): Record<string, string> {
  const path = Deno.env.get("PATH") ?? "";
  return {
    PATH: `${path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`,
    HOME: "/nonexistent",
    LANG: "C",
    ...own,
  };
}

function logOf(folder: string): string {
  return `${folder}/output`;
}

function readTail(path: string, most: number): string {
  try {
    using file = Deno.openSync(path);
    const { size } = file.statSync();
    file.seekSync(Math.max(0, size - most), Deno.SeekMode.Start);
    const bytes = new Uint8Array(Math.min(size, most));
    const length = file.readSync(bytes) ?? 0;
    return new TextDecoder().decode(bytes.subarray(0, length));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
