import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { ServiceManager } from "../../../core/service_manager/service_manager.ts";
import { granted } from "../../support/permissions.ts";
import {
  denoEnvironment,
  freeAddress,
  hostPort,
  type Program,
  startProgram,
  temporaryFolder,
} from "../../support/processes.ts";

const ignore = Deno.build.os === "windows" || !granted("read", "write", "env", "run", "sys", "ffi", "net");
const MAIN = fileURLToPath(new URL("../../../cli/main.ts", import.meta.url));

/** Stands in for systemd: hears what is sent to `NOTIFY_SOCKET`. */
class StandIn implements Disposable {
  readonly path: string;
  readonly #socket: Deno.DatagramConn;

  constructor(folder: string) {
    this.path = `${folder}/notify.sock`;
    this.#socket = Deno.listenDatagram({ transport: "unixpacket", path: this.path });
  }

  /** The assignments of the next datagram. Rejects when none comes. */
  async next(): Promise<string[]> {
    const receiving = this.#socket.receive();
    receiving.catch(() => {}); // the socket is closed when nobody waits any more
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("Nothing was told in half a minute")), 30_000);
    try {
      const [bytes] = await Promise.race([receiving, late]);
      return new TextDecoder().decode(bytes).trimEnd().split("\n");
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

async function startPostern(folder: string, manager: StandIn, ...args: readonly string[]): Promise<Program> {
  return await startProgram(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", "-A", MAIN, ...args],
    cwd: folder,
    env: { ...denoEnvironment(), NOTIFY_SOCKET: manager.path, TMPDIR: folder },
  });
}

function listed(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), ({ name }) => name).toSorted();
}

Deno.test({
  name: "a gateway tells systemd when it is ready, what came of a reload, and that it stops",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    using manager = new StandIn(folder.path);
    const config = `${folder.path}/postern.yaml`;
    const good = `listeners: [{ address: "127.0.0.1:0" }]\nadmin: { address: "${
      hostPort(freeAddress())
    }" }\nplugins: { static: {} }\n`;
    await Deno.writeTextFile(config, good);
    await using program = await startPostern(folder.path, manager, "gateway", "--log-level", "warn");
    assert.deepEqual(await manager.next(), ["READY=1", "STATUS=Serving"], program.output);
    assert.deepEqual(listed(folder.path), ["notify.sock", "postern.yaml"], "nothing of its own is left");

    program.kill("SIGHUP");
    assert.deepEqual(await manager.next(), ["RELOADING=1", "STATUS=Reading the config again"]);
    assert.deepEqual(await manager.next(), ["READY=1", "STATUS=Serving"]);

    await Deno.writeTextFile(`${config}.new`, `${good}READY: 1\n`);
    await Deno.rename(`${config}.new`, config); // in one step: half a config is another mistake
    assert.equal((await manager.next())[0], "RELOADING=1");
    const [state, status = "", ...more] = await manager.next();
    assert.deepEqual([state, more], ["READY=1", []]);
    assert.match(status, /^STATUS=Serving with the config before; refused: .*READY: Unknown key/);

    program.kill("SIGTERM");
    assert.equal((await manager.next())[0], "STOPPING=1");
    assert.equal((await program.status).code, 0, program.output);
    assert.doesNotMatch(program.output, /service_manager_failed/);
  },
});

Deno.test({
  name: "a gateway serves also when nobody can read what it says of itself",
  ignore: ignore || Deno.build.os !== "linux",
  async fn() {
    await using folder = await temporaryFolder();
    using manager = new StandIn(folder.path);
    const admin = hostPort(freeAddress());
    await Deno.writeTextFile(
      `${folder.path}/postern.yaml`,
      `listeners: [{ address: "127.0.0.1:0" }]\nadmin: { address: "${admin}" }\nplugins: { static: {} }\n`,
    );
    const deno = [Deno.execPath(), "run", "--no-prompt", "--no-check", "-A", MAIN];
    await using program = await startProgram("sh", {
      args: ["-c", 'exec "$@" 2>/dev/full', "sh", ...deno, "gateway", "--log-format", "json"],
      cwd: folder.path,
      env: { ...denoEnvironment(), NOTIFY_SOCKET: manager.path, TMPDIR: folder.path },
    });
    assert.equal((await manager.next())[0], "READY=1", program.output);
    program.kill("SIGTERM");
    assert.equal((await manager.next())[0], "STOPPING=1");
    assert.equal((await program.status).code, 0, program.output);
  },
});

Deno.test({
  name: "an agent tells systemd that it is ready and that it stops, also while its gateway is away",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    using manager = new StandIn(folder.path);
    await Deno.writeTextFile(
      `${folder.path}/agent.yaml`,
      `gateway: ws://${
        hostPort(freeAddress())
      }\ntoken: a-token\nservices: [{ name: a, protocol: tcp, target: "127.0.0.1:1" }]\n`,
    );
    await using program = await startPostern(folder.path, manager, "agent");
    assert.deepEqual(await manager.next(), ["READY=1", "STATUS=Running"], program.output);
    program.kill("SIGTERM");
    assert.equal((await manager.next())[0], "STOPPING=1");
    assert.equal((await program.status).code, 0, program.output);
  },
});

Deno.test({
  name: "a service manager that can't be reached is told to the log, once, and holds up nothing",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    for (const socket of [`${folder.path}/nobody.sock`, "@abstract"]) {
      const events: LogEvent[] = [];
      using manager = await ServiceManager.connect(
        socket,
        createLog("test", "debug", (event) => events.push(event)),
      );
      await manager?.tell("ready", "one");
      await manager?.tell("stopping", "two");
      assert.deepEqual(events.map(({ level, event }) => [level, event]), [[
        "warn",
        "service_manager_failed",
      ]]);
    }
    assert.equal(
      await ServiceManager.connect(undefined, createLog("test", "debug", ({ event }) => assert.fail(event))),
      undefined,
    );
  },
});

Deno.test({
  name: "a service manager that takes its time hears everything in the end, in order",
  ignore: ignore || Deno.build.os !== "linux",
  async fn() {
    await using folder = await temporaryFolder();
    using stand = new StandIn(folder.path);
    const events: LogEvent[] = [];
    using manager = await ServiceManager.connect(
      stand.path,
      createLog("test", "debug", (event) => events.push(event)),
    );
    // More than its queue holds (net.unix.max_dgram_qlen): nobody reads them so far.
    const held = Number(await Deno.readTextFile("/proc/sys/net/unix/max_dgram_qlen"));
    const told = Array.from({ length: held + 50 }, (_, i) => manager?.tell("ready", `status ${i}`));
    await Promise.all(told);
    assert.deepEqual(events.map(({ event }) => event), ["service_manager_failed"]);
    for (let i = 0; i < told.length; i++) {
      assert.deepEqual(await stand.next(), ["READY=1", `STATUS=status ${i}`]);
    }
    await manager?.tell("stopping", "end");
    assert.equal((await stand.next())[0], "STOPPING=1");
  },
});

Deno.test({
  name: "a status is one line, whatever is in it",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    using stand = new StandIn(folder.path);
    using manager = await ServiceManager.connect(
      stand.path,
      createLog("test", "debug", ({ event }) => assert.fail(event)),
    );
    await manager?.tell("reloading", `a\nSTOPPING=1\u0085${"x".repeat(1000)}`);
    const [state, status = "", ...more] = await stand.next();
    assert.deepEqual([state, more], ["RELOADING=1", []]);
    assert.match(status, /^STATUS=a STOPPING=1 x{100,200}$/);
  },
});
