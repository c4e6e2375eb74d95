import type { BackendPorts, Job, Results } from "./jobs.ts";

/** How long a helper may take beyond the seconds of its job: opening 15,000 connections takes a few. */
const GRACE_MS = 60_000;

/** A Deno process of this bench that is spoken to in lines of JSON. It ends with its stdin. */
class Helper implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;

  constructor(script: string, args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "-A", new URL(script, import.meta.url).pathname, ...args],
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

/** The process that makes the load. One job at a time. */
export class LoadGenerator implements AsyncDisposable {
  readonly #helper = new Helper("./load.ts", []);

  async run<K extends Job["kind"]>(job: Job & { readonly kind: K }): Promise<Results[K]> {
    const seconds = "seconds" in job ? job.seconds : 0;
    await this.#helper.send(job);
    const answer = await this.#helper.receive<{ result: Results[K] } | { error: string }>(
      seconds * 1000 + GRACE_MS,
    );
    if ("error" in answer) throw new Error(`The load generator failed at "${job.kind}": ${answer.error}`);
    return answer.result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#helper[Symbol.asyncDispose]();
  }
}

/** Starts the process with the backends, with ports of its own for each of `peers`. */
export async function startBackends(
  peers: readonly string[],
): Promise<AsyncDisposable & { portsOf(peer: string): BackendPorts }> {
  const helper = new Helper("./backend.ts", [JSON.stringify(peers)]);
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
