import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import denoJson from "../../deno.json" with { type: "json" };
import {
  denoEnvironment,
  freePort,
  type Program,
  run,
  type RunResult,
  startProgram,
  temporaryFolder,
} from "../support/processes.ts";

const ROOT = new URL("../../", import.meta.url);

/** What `deno task TASK ARGS` runs, from any folder. */
function commandLine(task: "gateway" | "agent" | "postern", args: readonly string[]): string[] {
  const [program, ...own] = denoJson.tasks[task].split(" ");
  assert.equal(program, "deno");
  return [...own.map((one) => one === "cli/main.ts" ? fileURLToPath(new URL(one, ROOT)) : one), ...args];
}

/** A folder in which nothing has been run yet, and the commands that a user runs in it. */
export class FreshFolder implements AsyncDisposable {
  readonly path: string;
  /** Where the gateway takes the public and agents; the same for every gateway that is started here. */
  readonly port: number = freePort();
  /** The one public port that tcp services may have. */
  readonly tunnelPort: number = freePort();
  readonly adminPort: number = freePort();
  readonly #stack: AsyncDisposableStack;

  private constructor(path: string, stack: AsyncDisposableStack) {
    this.path = path;
    this.#stack = stack;
  }

  static async make(): Promise<FreshFolder> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await temporaryFolder());
    return new FreshFolder(path, stack.move());
  }

  /** Where agents connect, for `--gateway`. */
  get gateway(): string {
    return `wss://tunnel.localhost:${this.port}`;
  }

  /** PEM of the CA that the gateway has made. */
  get ca(): string {
    return Deno.readTextFileSync(`${this.path}/.postern/ca.pem`);
  }

  /** `deno task gateway`, on ports that nobody else has. Resolves when it listens. */
  async startGateway(...more: readonly string[]): Promise<Program> {
    const program = await this.#start("gateway", [
      ...this.#places().flatMap((one) => ["--set", one]),
      ...more,
    ]);
    await program.waitForOutput(new RegExp(`listen 127\\.0\\.0\\.1:${this.port}$`, "m"), {
      deadlineMs: 30_000,
    });
    return program;
  }

  /** A quick command, such as `http 3000 --name demo`, to the gateway of this folder. */
  start(...args: readonly string[]): Promise<Program> {
    return this.#start("postern", [...args, "--gateway", this.gateway]);
  }

  /** `deno task agent`. */
  startAgent(env: Readonly<Record<string, string>>): Promise<Program> {
    return this.#start("agent", [], env);
  }

  /** `deno task postern ARGS`, to its end. */
  run(...args: readonly string[]): Promise<RunResult> {
    return run(Deno.execPath(), {
      args: commandLine("postern", args),
      cwd: this.path,
      env: denoEnvironment(),
      deadlineMs: 30_000,
    });
  }

  async #start(
    task: "gateway" | "agent" | "postern",
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Program> {
    return this.#stack.use(
      await startProgram(Deno.execPath(), {
        args: commandLine(task, args),
        cwd: this.path,
        env: { ...denoEnvironment(), ...env },
      }),
    );
  }

  #places(): string[] {
    return [
      `listeners[0].address=127.0.0.1:${this.port}`,
      "listeners[1].address=127.0.0.1:0",
      `admin.address=127.0.0.1:${this.adminPort}`,
      `plugins.ws-agent.ports="${this.tunnelPort}"`,
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The public address that a quick command prints first of all. */
export async function publicAddress(command: Program): Promise<string> {
  const [, address = ""] = await command.waitForOutput(/^([a-z]+:\/\/\S+)$/m, { deadlineMs: 30_000 });
  return address;
}
