/** What the plugin needs of the world; a test hands in its own. */
export interface Tools {
  /**
   * Starts a program without input, its output piped.
   *
   * @throws What `Deno.Command.spawn` throws.
   */
  spawn(program: string, options: SpawnOptions): Child;
  /** Whether it is granted to start this program; a name is granted only if the PATH had it at the gateway's start. */
  mayRun(program: string): boolean;
  /** Whether nobody listens on this port of 127.0.0.1. */
  isFree(port: number): boolean;
  /** Whether a connection to this port of 127.0.0.1 is accepted. Never rejects. */
  answers(port: number): Promise<boolean>;
  /** Milliseconds that only grow. */
  now(): number;
  /** From 0 up to 1. */
  random(): number;
  /** Does `task` later. @returns What calls it off. */
  after(ms: number, task: () => void): () => void;
}

export interface SpawnOptions {
  readonly args: readonly string[];
  /** The whole environment: nothing of the gateway's own is passed on. */
  readonly env: Readonly<Record<string, string>>;
}

/** A program that was started; `Deno.ChildProcess` has this shape. */
export interface Child {
  readonly pid: number;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  readonly status: Promise<{ readonly code: number; readonly signal: string | null }>;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

const LOOPBACK = "127.0.0.1";

/** The real ones. They need the permission to run the program, and 127.0.0.1. */
export function systemTools(): Tools {
  return {
    spawn: (program, { args, env }) =>
      new Deno.Command(program, {
        args: [...args],
        env: { ...env },
        clearEnv: true,
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    mayRun: (program) => Deno.permissions.querySync({ name: "run", command: program }).state === "granted",
    isFree(port) {
      try {
        Deno.listen({ hostname: LOOPBACK, port }).close();
        return true;
      } catch (error) {
        // Also a port below 1024 without the right to it: the program could not have it either.
        if (error instanceof Deno.errors.NotCapable) throw error;
        return false;
      }
    },
    async answers(port) {
      try {
        using conn = await Deno.connect({ hostname: LOOPBACK, port });
        // Where nobody listens, the kernel may pick the very port for our own end: TCP connects it to itself.
        return conn.localAddr.port !== port;
      } catch {
        return false;
      }
    },
    now: () => performance.now(),
    random: () => Math.random(),
    after(ms, task) {
      const timer = setTimeout(task, ms);
      return () => clearTimeout(timer);
    },
  };
}
