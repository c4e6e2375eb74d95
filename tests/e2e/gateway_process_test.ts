import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { writeAll } from "../../core/byte_stream.ts";
import { startEcho } from "../support/echo.ts";
import { granted } from "../support/permissions.ts";
import { denoEnvironment, type Program, run, startProgram, temporaryFolder } from "../support/processes.ts";
import { ECHOED, sayHello, SshLikeClient } from "../support/ssh_like.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

/** The command line of a gateway with this config; the shared options of every start. */
function gateway(file: string, ...more: string[]): { args: string[]; env: Record<string, string> } {
  const args = ["run", "--no-prompt", "--no-check", "-A", main, "gateway", "--config", file, ...more];
  return { args, env: denoEnvironment() };
}

function config(to: string, more = ""): string {
  return `listeners: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
log: { level: debug, format: json }
plugins: { static: { routes: [{ protocol: ssh, to: "${to}" }] } }
${more}`;
}

/** A gateway in a process of its own, and the port that it says it listens on. */
async function start(file: string, ...more: string[]): Promise<{ program: Program; port: number }> {
  const program = await startProgram(Deno.execPath(), gateway(file, ...more));
  const [, port] = await program.waitForOutput(/listen 127\.0\.0\.1:(\d+)/, { deadlineMs: 30_000 });
  return { program, port: Number(port) };
}

/** Waits until the gateway takes signals and watches its files: it says neither, but Linux tells who watches. */
async function untilWatching(program: Program): Promise<void> {
  const folder = `/proc/${program.pid}/fdinfo`;
  const watches = async ({ name }: Deno.DirEntry) =>
    (await Deno.readTextFile(`${folder}/${name}`).catch(() => "")).includes("\ninotify wd:");
  await program.waitFor(async () => {
    const found = await Promise.all([...Deno.readDirSync(folder)].map(watches));
    return found.includes(true);
  }, { what: "it to watch its files" });
}

Deno.test({
  name: "a gateway process reloads at SIGHUP, drains at SIGTERM, and exits with 0",
  ignore,
  async fn() {
    await using one = startEcho();
    await using other = startEcho();
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(file, config(one.target));
    const { program, port } = await start(file, "--threads", "2");
    await using _ = program;
    using open = await (await SshLikeClient.connect(port)).greeted();

    await Deno.writeTextFile(file, config(one.target, "nonsense: 1"));
    program.kill("SIGHUP");
    await program.waitForOutput(/"event":"reload_refused".*postern\.yaml:5:1: nonsense: /);
    assert.equal(await sayHello(port), ECHOED);

    await Deno.writeTextFile(file, config(other.target));
    program.kill("SIGHUP");
    await program.waitForOutput(/"event":"reloaded"/);
    assert.equal(await sayHello(port), ECHOED);
    assert.equal(other.accepted, 1);

    program.kill("SIGTERM");
    await program.waitForOutput(/"event":"draining"/);
    await open.echo("till the end");
    assert.equal(await open.finish(), "");
    const { code, signal } = await program.status;
    assert.deepEqual([code, signal], [0, null], program.output);
    assert.match(program.output, /"event":"stopped"/);
  },
});

Deno.test({
  name: "a gateway process reloads at SIGHUP also when its file is as before",
  ignore: ignore || Deno.build.os !== "linux",
  async fn() {
    await using echo = startEcho();
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(file, config(echo.target));
    const { program, port } = await start(file);
    await using _ = program;
    await untilWatching(program);
    assert.doesNotMatch(program.output, /"event":"reloaded"/);
    program.kill("SIGHUP");
    await program.waitForOutput(/"event":"reloaded"/);
    assert.equal(await sayHello(port), ECHOED);
  },
});

Deno.test({
  name: "a gateway process reloads when its file is rewritten, without a signal",
  ignore: ignore || Deno.build.os !== "linux",
  async fn() {
    await using one = startEcho();
    await using other = startEcho();
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(file, config(one.target));
    const { program, port } = await start(file);
    await using _ = program;
    await untilWatching(program);
    assert.equal(await sayHello(port), ECHOED);
    await Deno.writeTextFile(file, config(other.target));
    await program.waitForOutput(/"event":"reloaded"/);
    assert.equal(await sayHello(port), ECHOED);
    assert.deepEqual([one.accepted, other.accepted], [1, 1]);
  },
});

Deno.test({
  name: "a second signal ends a gateway at once, with 130",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(file, config(echo.target, "limits: { drainTimeout: 1h }"));
    const { program, port } = await start(file);
    await using _ = program;
    using _open = await (await SshLikeClient.connect(port)).greeted();
    program.kill("SIGINT");
    await program.waitForOutput(/"event":"draining"/);
    program.kill("SIGTERM");
    const { code } = await program.status;
    assert.equal(code, 130, program.output);
  },
});

Deno.test({
  name: "after its start a gateway can run nothing and write nothing; its workers come up again all the same",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    const plugins = `declarations:
  inline: { module: "${troubled}", isolation: inline }
  isolated: { module: "${troubled}", isolation: worker, permissions: { net: ["127.0.0.1"] } }
plugins: { inline: { to: "${echo.target}", trouble: "throws in a timer" }, isolated: { to: "${echo.target}" } }`;
    await Deno.writeTextFile(file, config(echo.target).replace(/plugins:.*/, plugins));
    const { program, port } = await start(file);
    await using _ = program;
    await program.waitForOutput(/"event":"permissions_given_up","kinds":"write run sys ffi import"/);
    using bringer = await Deno.connect({ hostname: "127.0.0.1", port });
    await writeAll(bringer, new TextEncoder().encode("trouble\r\n\r\n"));
    await program.waitForOutput(/"event":"worker_restarted","worker":"data-plane-0"/);
    assert.equal(await sayHello(port), ECHOED);
    program.kill("SIGTERM");
    assert.equal((await program.status).code, 0, program.output);
  },
});

Deno.test({
  name: "a config that is wrong ends a gateway with 1, and a line for each fault: file, line, column, reason",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(file, config("nowhere", "limts: {}\n").replace("static:", "statick:"));
    const { code, stdout, stderr } = await run(Deno.execPath(), gateway(file));
    assert.deepEqual([code, stdout], [1, ""], stderr);
    const lines = stderr.trimEnd().split("\n");
    assert.equal(lines.length, 2, stderr);
    assert.match(lines[0] ?? "", /postern\.yaml:4:12: plugins\.statick: .*"static"/);
    assert.match(lines[1] ?? "", /postern\.yaml:5:1: limts: .*"limits"/);
  },
});

Deno.test({
  name: "an address in use ends a gateway with 2 and one line that says what to do, however many threads",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const file = `${folder.path}/postern.yaml`;
    using held = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const address = `127.0.0.1:${held.addr.port}`;
    await Deno.writeTextFile(file, config("127.0.0.1:1").replace("127.0.0.1:0", address));
    for (const threads of ["1", "2"]) {
      const { code, stderr } = await run(Deno.execPath(), gateway(file, "--threads", threads));
      assert.equal(code, 2);
      assert.equal(
        stderr,
        `postern: Cannot listen on "${address}": the address is in use; ` +
          "stop the other program or choose another port\n",
      );
    }
  },
});
