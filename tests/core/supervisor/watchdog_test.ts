import assert from "node:assert/strict";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { statOf } from "../../../core/supervisor/proc.ts";
import { Watchdog } from "../../../core/supervisor/watchdog.ts";
import { granted } from "../../support/permissions.ts";
import { startProgram } from "../../support/processes.ts";
import { until } from "../../support/until.ts";

const ignore = Deno.build.os !== "linux" || !granted("read", "write", "env", "run", "sys", "ffi", "net");
const OURS = { POSTERN_GATEWAY_PID: String(Deno.pid) };

/** SIGHUP, SIGINT and SIGTERM as bits. */
const TRAPPED = 1n << 0n | 1n << 1n | 1n << 14n;

class Watched implements AsyncDisposable {
  readonly events: LogEvent[] = [];
  readonly watchdog = Watchdog.start(createLog("test", "debug", (event) => this.events.push(event)));

  /** The events so far, and what each says. */
  get told(): (readonly [level: string, event: string, reason: unknown])[] {
    return this.events.map(({ level, event, fields }) => [level, event, fields.reason] as const);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watchdog.stop();
  }
}

/** Whether it waits for the gateway's end: its traps are set then. */
function isWatching(pid: number | undefined): boolean {
  const [, ignored] = Deno.readTextFileSync(`/proc/${pid}/status`).match(/^SigIgn:\s*(.*)$/m) ?? [];
  return (BigInt(`0x${ignored}`) & TRAPPED) === TRAPPED;
}

async function untilWatching({ watchdog }: Watched): Promise<number> {
  const { pid } = watchdog;
  assert.ok(pid !== undefined);
  await until(() => isWatching(pid), { what: "the watchdog to watch" });
  return pid;
}

Deno.test({
  name: "a watchdog outlives the signals that end a gateway, and ends with it",
  ignore,
  async fn() {
    const watched = new Watched();
    const pid = await untilWatching(watched);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.kill(pid, signal);
    assert.ok(isWatching(pid));
    await watched.watchdog.stop();
    await watched.watchdog.stop();
    assert.equal(statOf(pid), undefined);
    assert.deepEqual(watched.told, []);
  },
});

Deno.test({
  name: "a watchdog sees nothing of the gateway: not its environment, not its files, not its terminal",
  ignore,
  async fn() {
    using _listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    await using watched = new Watched();
    const pid = await untilWatching(watched);
    const names = Deno.readTextFileSync(`/proc/${pid}/environ`).split("\0").map((entry) =>
      entry.split("=")[0]
    );
    assert.deepEqual(names.filter((name) => name !== "" && name !== "PWD"), ["PATH"]);
    const fileOf = (fd: string) => Deno.readLinkSync(`/proc/${pid}/fd/${fd}`).replace(/\d+/, "N");
    assert.deepEqual(["0", "1", "2"].map(fileOf), ["pipe:[N]", "/dev/null", "/dev/null"]);
    const sockets = [...Deno.readDirSync(`/proc/${pid}/fd`)].filter(({ name }) =>
      fileOf(name).startsWith("socket")
    );
    assert.deepEqual(sockets, []);
    assert.equal(Deno.readLinkSync(`/proc/${pid}/cwd`), "/");
    assert.equal(sessionOf(pid), pid);
  },
});

function sessionOf(pid: number): number {
  return Number(Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]?.split(" ")[3]);
}

Deno.test({
  name:
    "a watchdog that is told of the end spares the children of the process, and kills what has lost its parent",
  ignore,
  async fn() {
    await using child = await startProgram("sleep", { args: ["300"], env: OURS });
    await using parent = await startProgram("sh", { args: ["-c", "sleep 300 & echo $!; wait"], env: OURS });
    const [pid] = await parent.waitForOutput(/\d+/);
    const watched = new Watched();
    await untilWatching(watched);
    parent.kill("SIGKILL");
    await parent.status;
    await watched.watchdog.stop();
    await until(() => isGone(Number(pid)), { what: "the grandchild to end" });
    assert.equal(child.ended, undefined);
  },
});

/** Dead is gone, buried or not. */
function isGone(pid: number): boolean {
  const state = statOf(pid)?.state;
  return state === undefined || state === "Z" || state === "X";
}

Deno.test({
  name: "a watchdog that dies is started once more, with a warning each time",
  ignore,
  async fn() {
    await using watched = new Watched();
    const first = await untilWatching(watched);
    Deno.kill(first, "SIGKILL");
    await until(() => ![first, undefined].includes(watched.watchdog.pid), { what: "another watchdog" });
    const second = await untilWatching(watched);
    Deno.kill(second, "SIGKILL");
    await until(() => watched.events.length === 2, { what: "a second warning" });
    assert.deepEqual(watched.told, [
      ["warn", "watchdog_died", "SIGKILL"],
      ["warn", "no_watchdog", "it died again: SIGKILL"],
    ]);
    assert.equal(watched.watchdog.pid, undefined);
  },
});

Deno.test({
  name: "a watchdog that finds no tools says that there is none",
  ignore,
  async fn() {
    const path = Deno.env.get("PATH") ?? "";
    Deno.env.set("PATH", "/nowhere");
    await using watched = new Watched();
    Deno.env.set("PATH", path);
    await until(() => watched.events.length > 0, { what: "a warning" });
    assert.deepEqual(watched.told, [["warn", "no_watchdog", "it needs /proc, tr and grep"]]);
  },
});

Deno.test({
  name: "where nothing may be run, there is no watchdog: a warning, and no exception",
  ignore: !granted("env"),
  permissions: { env: true },
  async fn() {
    await using watched = new Watched();
    const [[level, event, reason] = []] = watched.told;
    assert.deepEqual([level, event, watched.told.length], ["warn", "no_watchdog", 1]);
    assert.match(String(reason), /run/);
  },
});
