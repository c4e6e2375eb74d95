import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { statOf } from "../../core/supervisor/proc.ts";
import { granted } from "../support/permissions.ts";
import { denoEnvironment, type Program, startProgram, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const plugin = new URL("../testdata/plugins/starts_children.ts", import.meta.url).href;
const ignore = Deno.build.os !== "linux" || !granted("read", "write", "env", "run", "sys", "ffi", "net");

/** What the plugin runs, instead of one `sleep`: a program with a child of its own, which inherits the variable. */
const WITH_CHILD = `command: /bin/sh, args: ["-c", "sleep 300 & wait"]`;

function config(section: string): string {
  return `listeners: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
log: { level: debug, format: json }
declarations:
  starts-children: { module: "${plugin}", isolation: worker, permissions: { run: ["{command}"] } }
plugins: { starts-children: { ${section} } }`;
}

/** A gateway in a process of its own, whose plugin runs a program. */
class Gateway implements AsyncDisposable {
  readonly program: Program;
  readonly port: number;

  private constructor(program: Program, port: number) {
    this.program = program;
    this.port = port;
  }

  static async start(folder: string, section = "command: /bin/sleep"): Promise<Gateway> {
    const file = `${folder}/${crypto.randomUUID()}.yaml`; // one that is written again would be reloaded
    await Deno.writeTextFile(file, config(section));
    const args = ["run", "--no-prompt", "--no-check", "-A", main, "gateway", "--config", file];
    const program = await startProgram(Deno.execPath(), { args, env: denoEnvironment() });
    const [, port] = await program.waitForOutput(/listen 127\.0\.0\.1:(\d+)/, { deadlineMs: 30_000 });
    return new Gateway(program, Number(port));
  }

  /** The program that the plugin has started, or that it has started last. */
  async child(instance = 1): Promise<number> {
    const started = () => [...this.program.output.matchAll(/"event":"child_started","pid":(\d+)/g)];
    const all = await this.program.waitFor(() => started().length === instance && started(), {
      what: `start ${instance} of the plugin`,
    });
    const pid = Number(all.at(-1)?.[1]);
    assert.ok(isRunning(pid), this.program.output);
    return pid;
  }

  get watchdog(): number {
    const watchdog = childrenOf(this.program.pid).find((pid) =>
      commandLine(pid).includes("postern-watchdog")
    );
    assert.ok(watchdog !== undefined, "no watchdog");
    return watchdog;
  }

  async kill(): Promise<void> {
    this.program.kill("SIGKILL");
    await this.program.status;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

/** Dead is gone, buried or not. */
function isRunning(pid: number): boolean {
  return !["Z", "X", undefined].includes(statOf(pid)?.state);
}

/** Those of any of its threads. */
function childrenOf(pid: number): number[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) =>
    Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).split(" ").filter(Boolean).map(Number)
  );
}

function commandLine(pid: number): string[] {
  return Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0");
}

/** It says what it listens on a moment before. */
function catchesSigterm(pid: number): boolean {
  const [, caught] = Deno.readTextFileSync(`/proc/${pid}/status`).match(/^SigCgt:\s*(.*)$/m) ?? [];
  return (BigInt(`0x${caught}`) & 1n << 14n) !== 0n;
}

async function untilGone(pid: number, what: string): Promise<void> {
  await until(() => !isRunning(pid), { what: `${what} to end` });
}

Deno.test({
  name: "a gateway that is killed takes with it what its plugins run, and their children",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using gateway = await Gateway.start(folder.path, WITH_CHILD);
    const { watchdog } = gateway;
    const child = await gateway.child();
    const grandchild = await until(() => childrenOf(child)[0], { what: "the program's own child" });
    await gateway.kill();
    await untilGone(child, "the program");
    await untilGone(grandchild, "the program's own child");
    await untilGone(watchdog, "the watchdog");
  },
});

Deno.test({
  name:
    "what outlives a gateway and its watchdog is killed when the next gateway starts; another's is left alone",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using other = await Gateway.start(folder.path);
    await using killed = await Gateway.start(folder.path);
    const [child, others] = [await killed.child(), await other.child()];
    Deno.kill(killed.watchdog, "SIGKILL");
    await killed.program.waitForOutput(/"event":"watchdog_died"/);
    Deno.kill(killed.watchdog, "SIGKILL"); // the gateway has started another one, once
    await killed.program.waitForOutput(/"event":"no_watchdog"/);
    await killed.kill();
    assert.ok(isRunning(child));

    await using next = await Gateway.start(folder.path);
    const told = `"event":"orphan_killed","pid":${child},"gateway":${killed.program.pid}`;
    assert.ok(next.program.output.includes(told), next.program.output);
    await untilGone(child, "the program");
    assert.ok(isRunning(others) && isRunning(await next.child()));
  },
});

Deno.test({
  name: "a gateway that ends in order leaves nothing behind: no program, no child of it, no watchdog",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    for (const section of ["command: /bin/sleep", WITH_CHILD, `${WITH_CHILD}, disposes: false`]) {
      await using gateway = await Gateway.start(folder.path, section);
      const { watchdog, program } = gateway;
      const child = await gateway.child();
      const grandchild = section.startsWith(WITH_CHILD)
        ? await until(() => childrenOf(child)[0], { what: "the program's own child" })
        : undefined;
      await program.waitFor(() => catchesSigterm(program.pid), { what: "it to take signals" });
      program.kill("SIGTERM");
      assert.equal((await program.status).code, 0, program.output);
      assert.ok(!isRunning(child), "the program");
      assert.ok(!isRunning(watchdog), "the watchdog");
      if (grandchild !== undefined) await untilGone(grandchild, "the program's own child");
    }
  },
});

Deno.test({
  name: "a plugin that crashes takes its programs with it",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using gateway = await Gateway.start(folder.path);
    const child = await gateway.child();
    const response = await fetch(`http://127.0.0.1:${gateway.port}/`).catch(() => undefined);
    await response?.body?.cancel();
    await gateway.program.waitForOutput(/"event":"worker_restarted","worker":"plugin:starts-children"/);
    await untilGone(child, "the program");
    assert.notEqual(await gateway.child(2), child);
  },
});

Deno.test({
  name: "a gateway whose plugins may run nothing has no watchdog",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(
      file,
      `listeners: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
plugins: { static: { routes: [{ protocol: ssh, to: "127.0.0.1:1" }] } }`,
    );
    const args = ["run", "--no-prompt", "--no-check", "-A", main, "gateway", "--config", file];
    await using program = await startProgram(Deno.execPath(), { args, env: denoEnvironment() });
    await program.waitForOutput(/listen 127\.0\.0\.1:/, { deadlineMs: 30_000 });
    assert.deepEqual(childrenOf(program.pid), []);
  },
});
