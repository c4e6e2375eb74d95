import assert from "node:assert/strict";
import { findProgram, granted, hasProgram } from "../support/permissions.ts";
import { freeAddress, run, runOrThrow, startProgram, temporaryFolder } from "../support/processes.ts";

const ignore = !hasProgram("sh");

Deno.test("granted() knows what this run may do", () => {
  assert.equal(granted("net"), Deno.permissions.querySync({ name: "net" }).state === "granted");
  assert.equal(granted(), true);
});

Deno.test("hasProgram() is false for what is not installed", () => {
  assert.equal(hasProgram("no-such-program"), false);
  assert.equal(hasProgram("/no/such/program"), false);
});

Deno.test({
  name: "run() gives a program its input and returns its output and code",
  ignore,
  async fn() {
    const result = await run("sh", { args: ["-c", "cat; echo no >&2; exit 3"], input: "in" });
    assert.deepEqual(
      [result.stdout, result.stderr, result.code, result.signal],
      ["in", "no\n", 3, null],
    );
  },
});

Deno.test({
  name: "run() kills a program at its deadline",
  ignore,
  async fn() {
    const result = await run("sleep", { args: ["60"], deadlineMs: 50 });
    assert.equal(result.signal, "SIGKILL");
  },
});

Deno.test({
  name: "run() survives a program that does not read its input",
  ignore,
  async fn() {
    const result = await run("true", { input: new Uint8Array(1 << 20) });
    assert.equal(result.code, 0);
  },
});

Deno.test({
  name: "runOrThrow() throws with the output of what failed",
  ignore,
  async fn() {
    await assert.rejects(runOrThrow("sh", { args: ["-c", "echo because >&2; exit 1"] }), /code 1:\nbecause/);
  },
});

Deno.test({
  name: "a program sees nothing of the environment but what it was given",
  ignore,
  async fn() {
    const { stdout } = await run("env", { env: { ONE: "1" } });
    assert.deepEqual(
      stdout.trim().split("\n").map((line) => line.split("=")[0]).sort(),
      ["HOME", "LANG", "ONE", "PATH"],
    );
  },
});

Deno.test({
  name: "a program is ended by TERM, and its output is kept to then",
  ignore,
  async fn() {
    const program = await startProgram("sh", { args: ["-c", "echo ready; echo at once >&2; exec sleep 60"] });
    {
      await using running = program;
      await running.waitForOutput(/ready\nat once/);
    }
    assert.equal((await program.status).signal, "SIGTERM");
  },
});

Deno.test({
  name: "a program that ignores TERM is killed",
  ignore,
  async fn() {
    const args = ["-c", "trap '' TERM; echo ready; exec sleep 60"];
    const program = await startProgram("sh", { args, stopDeadlineMs: 50 });
    {
      await using running = program;
      await running.waitForOutput(/ready/);
    }
    assert.equal((await program.status).signal, "SIGKILL");
  },
});

Deno.test({
  name: "waiting for a program that has ended fails with its output",
  ignore,
  async fn() {
    await using program = await startProgram("sh", { args: ["-c", "echo wrong port; exit 7"] });
    await assert.rejects(program.waitForPort(freeAddress()), /code 7[^]*wrong port/);
  },
});

Deno.test({
  name: "a temporary folder is gone at the end of its scope",
  ignore,
  async fn() {
    let path = "";
    {
      await using folder = await temporaryFolder();
      path = folder.path;
      assert.ok((await Deno.stat(path)).isDirectory);
    }
    await assert.rejects(Deno.stat(path), Deno.errors.NotFound);
  },
});

Deno.test({
  name: "findProgram() finds daemons that are not on a user's PATH",
  ignore: !hasProgram("initdb"),
  fn() {
    assert.match(findProgram("initdb") ?? "", /^\/.*\/initdb$/);
  },
});
