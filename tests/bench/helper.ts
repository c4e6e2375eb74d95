import type { BackendPorts, Job, Results } from "./jobs.ts";

/** How long a helper may take beyond the seconds of its job: opening 15,000 connections takes a few. */
const GRACE_MS = 60_000;

/** A process of this bench that is spoken to in lines of JSON. It ends with its stdin. */
export class Helper implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;

  constructor(command: string, args: readonly string[]) {
    this.#child = new Deno.Command(command, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).pipeThrough(splitLines())
      .getReader();
  }

  async send(message: unknown): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(JSON.stringify(message) + "\n"));
  }

  async receive<Message>(deadlineMs: number): Promise<Message> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error(`No answer in ${deadlineMs} ms`)), deadlineMs);
    try {
      const { value, done } = await Promise.race([this.#lines.read(), late]);
      if (done) throw new Error("A helper process of the bench ended early");
      return JSON.parse(value);
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    const killer = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await this.#child.status;
    clearTimeout(killer);
    await this.#lines.cancel();
  }
}

/** A process that makes load. One job at a time. */
export class JobRunner<J extends { readonly kind: string }, R extends Readonly<Record<J["kind"], unknown>>>
  implements AsyncDisposable {
  readonly #helper: Helper;

  constructor(command: string, args: readonly string[]) {
    this.#helper = new Helper(command, args);
  }

  async run<K extends J["kind"]>(job: J & { readonly kind: K }): Promise<R[K]> {
    const seconds = "seconds" in job ? Number(job.seconds) : 0;
    await this.#helper.send(job);
    const answer = await this.#helper.receive<{ result: R[K] } | { error: string }>(
      seconds * 1000 + GRACE_MS,
    );
    if ("error" in answer) throw new Error(`The load generator failed at "${job.kind}": ${answer.error}`);
    return answer.result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#helper[Symbol.asyncDispose]();
  }
}

/** Load for whatever relays the bytes that come. */
export class LoadGenerator extends JobRunner<Job, Results> {
  constructor() {
    super(Deno.execPath(), script("./load.ts"));
  }
}

/** Starts the process with the backends, with ports of its own for each of `peers`. */
export async function startBackends(
  peers: readonly string[],
): Promise<AsyncDisposable & { portsOf(peer: string): BackendPorts }> {
  const helper = new Helper(Deno.execPath(), [...script("./backend.ts"), JSON.stringify(peers)]);
  const ports = await helper.receive<Record<string, BackendPorts>>(GRACE_MS);
  return {
    portsOf(peer) {
      const own = ports[peer];
      if (!own) throw new RangeError(`No backend was started for "${peer}"`);
      return own;
    },
    [Symbol.asyncDispose]: () => helper[Symbol.asyncDispose](),
  };
}

/** Arguments for Deno to run a module of this folder. */
function script(module: string): string[] {
  return ["run", "--no-prompt", "-A", new URL(module, import.meta.url).pathname];
}

function splitLines(): TransformStream<string, string> {
  let rest = "";
  return new TransformStream({
    transform(text, controller) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) controller.enqueue(line);
    },
  });
}
