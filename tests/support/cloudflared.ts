import { findProgram, granted, requireProgram } from "./permissions.ts";
import { temporaryFolder } from "./processes.ts";

/** What the stand-in does other than to listen at once and to send back what it gets. */
export interface Behaviour {
  /** How long it takes until it says that it listens, in milliseconds. */
  readonly startMs?: number;
  /** How long it takes from saying so to listening, in milliseconds. */
  readonly listenMs?: number;
  /** It does not say that it listens. */
  readonly silent?: boolean;
  /** It never listens. */
  readonly neverListen?: boolean;
  /** It ends with this code before it listens. */
  readonly exit?: number;
  /** Lines that it prints before it listens, once it listens, and for each connection. */
  readonly say?: readonly string[];
  readonly then?: readonly string[];
  readonly each?: readonly string[];
  /** It ends with the connection after this many. */
  readonly crashAfter?: number;
  /** It finds its port taken, wherever that is. */
  readonly taken?: boolean;
  /** It drops each connection; with `take`, once it has a byte of it. */
  readonly drop?: boolean;
  readonly take?: boolean;
  /** It does not heed SIGTERM. */
  readonly ignoreTerm?: boolean;
  /** It prints this many bytes before it listens, on stdout and on stderr. */
  readonly babble?: number;
  /** `host:port` of what it sends everything to, and everything back from. */
  readonly backend?: string;
}

/** One start of the stand-in. */
export interface Start {
  readonly pid: number;
  readonly hostname: string;
  readonly port: number;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** A program with cloudflared's command line, in a folder of its own. */
export interface StandIn extends AsyncDisposable {
  /** For `command`. */
  readonly path: string;
  /** From its next start on; for one host name, or for all that have none of their own. */
  behave(behaviour: Behaviour, hostname?: string): void;
  /** Every start so far, in order. */
  readonly starts: readonly Start[];
  /** The processes that run now. */
  readonly alive: readonly number[];
}

/** Debian's own first: what a PATH names may be a script that needs that PATH, and the stand-in has none. */
const PYTHONS = ["/usr/bin/python3", "python3"];
const PROGRAM = new URL("./stand_in_cloudflared.py", import.meta.url);

/** Whether a test may run the stand-in. */
export function hasStandIn(): boolean {
  return granted("read", "write", "env", "run", "net", "sys") && python() !== undefined;
}

/** Puts the stand-in into a temporary folder. Disposal kills what still runs of it. */
export async function installStandIn(behaviour: Behaviour = {}): Promise<StandIn> {
  const folder = await temporaryFolder();
  const path = `${folder.path}/cloudflared`;
  // Isolated and without the site module: it starts in a third of the time.
  const program = `#!${python() ?? requireProgram("python3")} -IS\n${Deno.readTextFileSync(PROGRAM)}`;
  await Deno.writeTextFile(path, program, { mode: 0o755 });
  const standIn: StandIn = {
    path,
    behave(behaviour, hostname) {
      const name = hostname === undefined ? "behaviour" : `behaviour-${hostname}`;
      const temporary = `${folder.path}/.next`;
      Deno.writeTextFileSync(temporary, behaviourText(behaviour));
      Deno.renameSync(temporary, `${folder.path}/${name}`); // never half of it
    },
    get starts() {
      return readStarts(`${folder.path}/starts`);
    },
    get alive() {
      return standIn.starts.map(({ pid }) => pid).filter((pid) => runs(pid, path));
    },
    async [Symbol.asyncDispose]() {
      for (const pid of standIn.alive) Deno.kill(pid, "SIGKILL");
      await folder[Symbol.asyncDispose]();
    },
  };
  standIn.behave(behaviour);
  return standIn;
}

/** A program in front of the real one, for what only its environment can tell it: whom to trust. */
export async function installRealCloudflared(
  env: Readonly<Record<string, string>>,
): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await temporaryFolder();
  const path = `${folder.path}/cloudflared`;
  const settings = Object.entries(env).map(([name, value]) => `${name}='${value}'`).join(" ");
  const script = `#!/bin/sh\n${settings} exec '${requireProgram("cloudflared")}' "$@"\n`;
  await Deno.writeTextFile(path, script, { mode: 0o755 });
  return { path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

/** Ports for `ports`, below those that the kernel gives to clients; some may be taken, which the plugin lives with. */
export function freeRange(size = 100): string {
  const first = 10_000 + Math.floor(Math.random() * 18_000);
  return `${first}-${first + size - 1}`;
}

function python(): string | undefined {
  return PYTHONS.map(findProgram).find((path) => path !== undefined);
}

function behaviourText(behaviour: Behaviour): string {
  return Object.entries(behaviour).flatMap(([key, value]) => {
    if (value === false || value === undefined) return [];
    const name = key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    return values.map((one) => `${name}=${one}\n`);
  }).join("");
}

function readStarts(path: string): Start[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const [told = "", environment = ""] = line.split("\x1f\x1e\x1f");
    const [pid, hostname = "", port, ...args] = told.split("\x1f");
    const env = Object.fromEntries(
      environment.split("\x1f").map((pair) => {
        const equals = pair.indexOf("=");
        return [pair.slice(0, equals), pair.slice(equals + 1)];
      }),
    );
    return { pid: Number(pid), hostname, port: Number(port), args, env };
  });
}

/** Whether this process is there, and is still the stand-in: numbers are used again. */
function runs(pid: number, path: string): boolean {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(path);
  } catch {
    return false;
  }
}
