import assert from "node:assert/strict";
import type { LogEvent } from "../../../core/log.ts";
import { createLog } from "../../../core/log.ts";
import { sweepOrphans } from "../../../core/supervisor/orphans.ts";
import { statOf, variableOf } from "../../../core/supervisor/proc.ts";
import { granted, hasProgram } from "../../support/permissions.ts";
import {
  denoEnvironment,
  type Program,
  run,
  startProgram,
  temporaryFolder,
} from "../../support/processes.ts";
import { until } from "../../support/until.ts";

const ignore = Deno.build.os !== "linux" || !granted("read", "write", "env", "run", "sys", "ffi", "net");

/** The id of a process that has ended. */
async function deadPid(): Promise<number> {
  const { stdout } = await run("sh", { args: ["-c", "echo $$"] });
  return Number(stdout);
}

/** Runs `sleep` by a line of shell. Resolves when it sleeps, so that its environment is what it will be. */
async function sleeper(line: string, env: Readonly<Record<string, string>> = {}): Promise<Program> {
  const program = await startProgram("sh", { args: ["-c", line], env, stopSignal: "SIGKILL" });
  const sleeps = () => Deno.readTextFileSync(`/proc/${program.pid}/comm`) === "sleep\n";
  await program.waitFor(sleeps, { what: "it to sleep" });
  return program;
}

function sweep(): { events: LogEvent[]; killed: number } {
  const events: LogEvent[] = [];
  const killed = sweepOrphans(createLog("test", "debug", (event) => events.push(event)));
  return { events, killed };
}

/** Whether a sweep ends the process. */
async function isSwept(program: Program, gateway: number): Promise<boolean> {
  const { events } = sweep();
  const told = events.find(({ event, fields }) => event === "orphan_killed" && fields.pid === program.pid);
  if (told === undefined) {
    assert.ok(!["Z", "X", undefined].includes(statOf(program.pid)?.state), "killed without a word");
    return false;
  }
  assert.deepEqual(told.fields, { pid: program.pid, gateway });
  assert.equal((await program.status).signal, "SIGKILL");
  return true;
}

for (
  const { what, line, variable, swept } of [
    { what: "a process whose gateway is gone", line: "exec sleep 300", variable: "dead", swept: true },
    {
      what: "one with a large environment",
      line: `exec env LARGE="$(head -c 100000 /dev/zero | tr '\\0' x)" sleep 300`,
      variable: "dead",
      swept: true,
    },
    { what: "one whose gateway lives", line: "exec sleep 300", variable: "own", swept: false },
    {
      what: "one that has it within another variable",
      line: `exec env A="POSTERN_GATEWAY_PID=$DEAD" B="
POSTERN_GATEWAY_PID=$DEAD
" MY_POSTERN_GATEWAY_PID="$DEAD" sleep 300`,
      variable: "none",
      swept: false,
    },
    { what: "one that has no number there", line: "exec sleep 300", variable: "nonsense", swept: false },
  ]
) {
  Deno.test({
    name: `sweepOrphans() ${swept ? "kills" : "leaves"} ${what}`,
    ignore,
    async fn() {
      const dead = await deadPid();
      const value =
        { dead: String(dead), own: String(Deno.pid), nonsense: `${dead}x`, none: undefined }[variable];
      const env = { DEAD: String(dead), ...(value !== undefined && { POSTERN_GATEWAY_PID: value }) };
      await using program = await sleeper(line, env);
      assert.equal(await isSwept(program, dead), swept);
    },
  });
}

Deno.test({
  name: "sweepOrphans() leaves the grandchildren of a gateway that lives, also when their parent is gone",
  ignore,
  async fn() {
    const env = { POSTERN_GATEWAY_PID: String(Deno.pid) };
    await using parent = await startProgram("sh", { args: ["-c", "sleep 300 & echo $!; wait"], env });
    const pid = Number((await parent.waitForOutput(/\d+/))[0]);
    try {
      parent.kill("SIGKILL");
      await parent.status;
      assert.deepEqual(sweep().events.filter(({ fields }) => fields.pid === pid), []);
      assert.notEqual(statOf(pid), undefined);
    } finally {
      Deno.kill(pid, "SIGKILL");
    }
  },
});

Deno.test({
  name: "sweepOrphans() is not misled by a younger process that has the id of the gateway that is gone",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const file = `${folder.path}/pid`;
    const line =
      `until [ -s ${file} ]; do sleep 0.01; done; POSTERN_GATEWAY_PID=$(cat ${file}) exec sleep 300`;
    await using older = await startProgram("sh", { args: ["-c", line] });
    const younger = await until(async () => {
      const program = await sleeper("exec sleep 300");
      if ((statOf(program.pid)?.startTime ?? 0) > (statOf(older.pid)?.startTime ?? 0)) return program;
      await program[Symbol.asyncDispose](); // within the same tick of 10 ms
    }, { what: "a younger process" });
    await using _ = younger;
    await Deno.writeTextFile(file, String(younger.pid));
    const ready = () => variableOf(older.pid, "POSTERN_GATEWAY_PID") === String(younger.pid);
    await older.waitFor(ready, { what: "its environment" });
    assert.equal(await isSwept(older, younger.pid), true);
    assert.notEqual(statOf(younger.pid), undefined);
  },
});

Deno.test({
  name: "sweepOrphans() counts a gateway as gone that is dead, but that nobody has buried",
  ignore,
  async fn() {
    // Its child ends once the shell, which would bury it, has become a `sleep`, which does not.
    const line = `(until grep -q sleep /proc/$$/comm; do sleep 0.01; done) & echo $!; exec sleep 300`;
    await using parent = await startProgram("sh", { args: ["-c", line] });
    const pid = Number((await parent.waitForOutput(/\d+/))[0]);
    await parent.waitFor(() => statOf(pid)?.state === "Z", { what: "its child to be dead" });
    await using program = await sleeper("exec sleep 300", { POSTERN_GATEWAY_PID: String(pid) });
    assert.equal(await isSwept(program, pid), true);
  },
});

for (
  const { what, args, env } of [
    {
      what: "a gateway that was itself started by somebody's plugin",
      args: () => ["gateway"],
      env: (dead: number) => ({ POSTERN_GATEWAY_PID: String(dead) }),
    },
    {
      what: "a process that has the variable in its command line only",
      args: (dead: number) => [`POSTERN_GATEWAY_PID=${dead}`],
      env: () => ({}),
    },
  ]
) {
  Deno.test({
    name: `sweepOrphans() leaves ${what}`,
    ignore,
    async fn() {
      const dead = await deadPid();
      await using program = await startProgram(Deno.execPath(), {
        args: ["eval", "setInterval(() => {}, 1e6)", ...args(dead)],
        env: { ...denoEnvironment(), ...env(dead) },
      });
      const ready = () => Deno.readLinkSync(`/proc/${program.pid}/exe`) === Deno.execPath();
      await program.waitFor(ready, { what: "it to be started" });
      assert.equal(await isSwept(program, dead), false);
    },
  });
}

Deno.test({
  name: "sweepOrphans() leaves what runs in another container: process ids mean something else there",
  ignore: ignore || !hasProgram("unshare"),
  async fn() {
    const dead = await deadPid();
    const env = { POSTERN_GATEWAY_PID: String(dead) };
    const args = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "sleep", "300"];
    await using unshare = await startProgram("unshare", { args, env });
    const inside = await childOf(unshare);
    if (inside === undefined) return; // the system lets nobody make a namespace
    const { events } = sweep(); // `unshare` itself is on this side, and is killed
    assert.deepEqual(events.filter(({ fields }) => fields.pid === inside), []);
  },
});

/** The process that `unshare` starts, or `undefined` when it may not. */
async function childOf(program: Program): Promise<number | undefined> {
  const children = `/proc/${program.pid}/task/${program.pid}/children`;
  return await until(() => {
    if (program.ended) return { pid: undefined };
    const pid = Number(Deno.readTextFileSync(children));
    return pid > 0 && Deno.readTextFileSync(`/proc/${pid}/comm`) === "sleep\n" ? { pid } : undefined;
  }, { what: "unshare" }).then(({ pid }) => pid);
}

Deno.test({
  name: "sweepOrphans() says once that it cannot look, and goes on",
  ignore: !granted("read"),
  permissions: { read: true },
  fn() {
    const { events, killed } = sweep();
    assert.equal(killed, 0);
    assert.deepEqual(events.map(({ level, event }) => [level, event]), [["info", "no_orphan_sweep"]]);
  },
});
