import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { statOf } from "../../core/supervisor/proc.ts";
import {
  type Behaviour,
  freeRange,
  hasStandIn,
  installStandIn,
  type StandIn,
} from "../support/cloudflared.ts";
import { denoEnvironment, type Program, run, startProgram } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { helloMessage, inRecords, serverName } from "../core/data_plane/preface/samples.ts";
import { can } from "./can.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const ignore = Deno.build.os !== "linux" || !(can() && hasStandIn());

/** A gateway in a process of its own, with the stand-in for cloudflared. */
class Gateway implements AsyncDisposable {
  readonly standIn: StandIn;
  readonly program: Program;
  readonly file: string;

  private constructor(standIn: StandIn, program: Program, file: string) {
    this.standIn = standIn;
    this.program = program;
    this.file = file;
  }

  static async start(standIn: StandIn, more = ""): Promise<Gateway> {
    const file = `${standIn.path}-${crypto.randomUUID()}.yaml`;
    await Deno.writeTextFile(file, config(standIn, more));
    const args = ["run", "--no-prompt", "--no-check", "-A", main, "gateway", "--config", file];
    const program = await startProgram(Deno.execPath(), {
      args,
      env: denoEnvironment(),
      stopDeadlineMs: 10_000,
    });
    await program.waitForOutput(/listen 127\.0\.0\.1:\d+/, { deadlineMs: 30_000 });
    return new Gateway(standIn, program, file);
  }

  get port(): number {
    return Number(this.program.output.match(/listen 127\.0\.0\.1:(\d+)/)?.[1]);
  }

  get watchdog(): number | undefined {
    return childrenOf(this.program.pid).find((pid) => commandLine(pid).includes("postern-watchdog"));
  }

  /** A client that has sent its ClientHello. */
  async client(name: string): Promise<Deno.TcpConn> {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port: this.port });
    await writeAll(conn, helloFor(name));
    return conn;
  }

  /** A client that has got back what it sent. */
  async open(name: string): Promise<Deno.TcpConn> {
    const conn = await this.client(name);
    await readBack(conn, helloFor(name).length);
    return conn;
  }

  async started(count: number): Promise<void> {
    await until(() => this.standIn.starts.length >= count, { what: `${count} starts` });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

function config({ path }: StandIn, more: string): string {
  return `listeners: [{ address: "127.0.0.1:0" }]
admin: { address: "127.0.0.1:0" }
log: { level: debug, format: json }
limits: { drainTimeout: 1s }
plugins:
  cloudflared: { command: "${path}", names: ["*.example.com"], ports: ${freeRange()}, ${more} }`;
}

function helloFor(name: string): Uint8Array {
  return inRecords(helloMessage({ extensions: [serverName(name)] }));
}

async function readBack(conn: Deno.TcpConn, length: number): Promise<void> {
  const buffer = new Uint8Array(length);
  for (let at = 0; at < length;) {
    at += await conn.read(buffer.subarray(at)) ?? assert.fail(`Ended after ${at} bytes`);
  }
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
async function untilTakesSignals({ program }: Gateway): Promise<void> {
  await program.waitFor(() => {
    const [, caught] = Deno.readTextFileSync(`/proc/${program.pid}/status`).match(/^SigCgt:\s*(.*)$/m) ?? [];
    return (BigInt(`0x${caught}`) & 1n << 14n) !== 0n;
  }, { what: "it to take signals" });
}

async function untilNoneLeft(standIn: StandIn): Promise<void> {
  await until(() => standIn.alive.length === 0, { what: () => `${standIn.alive} to end` });
}

/** One process of each kind: in use, idle, starting, and told to stop, which it does not heed. */
async function oneOfEach(gateway: Gateway): Promise<Deno.TcpConn[]> {
  const { standIn } = gateway;
  standIn.behave({ neverListen: true, ignoreTerm: true }, "cft-starting.example.com");
  standIn.behave({ ignoreTerm: true, crashAfter: 100 } satisfies Behaviour, "cft-hanging.example.com");
  const inUse = await gateway.open("in-use.example.com");
  const hanging = await gateway.open("hanging.example.com");
  const starting = await gateway.client("starting.example.com");
  await gateway.started(3);
  closeQuietly(hanging);
  await gateway.program.waitForOutput(/"event":"cloudflared_stopping"[^\n]*cft-hanging/);
  assert.equal(standIn.alive.length, 3);
  return [inUse, starting];
}

const WAYS: readonly [how: string, end: (gateway: Gateway) => Promise<void>][] = [
  ["SIGTERM", async (gateway) => {
    await untilTakesSignals(gateway);
    gateway.program.kill("SIGTERM");
    assert.equal((await gateway.program.status).code, 130, "two connections did not end in time");
    assert.deepEqual(gateway.standIn.alive, [], "none is left when the gateway has ended");
  }],
  ["SIGINT, twice", async (gateway) => {
    await untilTakesSignals(gateway);
    gateway.program.kill("SIGINT");
    await gateway.program.waitForOutput(/"event":"draining"/);
    gateway.program.kill("SIGINT");
    assert.equal((await gateway.program.status).code, 130);
  }],
  ["SIGKILL", async (gateway) => {
    gateway.program.kill("SIGKILL");
    await gateway.program.status;
  }],
];

for (const [how, end] of WAYS) {
  Deno.test({
    name: `cloudflared: no process is left behind by a gateway that ends by ${how}`,
    ignore,
    async fn() {
      await using standIn = await installStandIn();
      await using gateway = await Gateway.start(standIn, "idleTimeout: 10ms");
      const clients = await oneOfEach(gateway);
      const { watchdog } = gateway;
      assert.ok(watchdog !== undefined);
      await end(gateway);
      await untilNoneLeft(standIn);
      await until(() => ["Z", "X", undefined].includes(statOf(watchdog)?.state), {
        what: "the watchdog to end",
      });
      clients.forEach(closeQuietly);
    },
  });
}

Deno.test({
  name: "cloudflared: what outlives a gateway that was killed with its watchdog ends at the next start",
  ignore,
  async fn() {
    await using standIn = await installStandIn();
    await using gateway = await Gateway.start(standIn, "idleTimeout: 10ms");
    const clients = await oneOfEach(gateway);
    for (const event of [/"event":"watchdog_died"/, /"event":"no_watchdog"/]) { // it is started again, once
      Deno.kill(await gateway.program.waitFor(() => gateway.watchdog, { what: "a watchdog" }), "SIGKILL");
      await gateway.program.waitForOutput(event);
    }
    const before = standIn.alive;
    gateway.program.kill("SIGKILL");
    await gateway.program.status;
    assert.deepEqual(standIn.alive, before, "there was something to sweep");
    await using next = await Gateway.start(standIn);
    await untilNoneLeft(standIn);
    for (const pid of before) assert.match(next.program.output, new RegExp(`"orphan_killed","pid":${pid},`));
    clients.forEach(closeQuietly);
    closeQuietly(await next.open("db.example.com"));
  },
});

Deno.test({
  name:
    "cloudflared: secrets are in no command line, no other environment, no log line, no status and no metric",
  ignore,
  async fn() {
    const planted = "planted-4711";
    await using standIn = await installStandIn({
      say: [`Cf-Access-Client-Secret: ${planted}-secret`, `{"id":"${planted}-id"}`],
    });
    await using gateway = await Gateway.start(
      standIn,
      `serviceToken: { id: "${planted}-id", secret: "${planted}-secret" }`,
    );
    const client = await gateway.open("db.example.com");
    const [process] = standIn.starts;
    assert.ok(process);
    assert.equal(process.env["TUNNEL_SERVICE_TOKEN_SECRET"], `${planted}-secret`, "it does get it");
    const tree = [gateway.program.pid, ...childrenOf(gateway.program.pid)];
    assert.ok(tree.includes(process.pid));
    for (const pid of tree) {
      assert.doesNotMatch(Deno.readTextFileSync(`/proc/${pid}/cmdline`), /planted/);
      if (pid !== process.pid) assert.doesNotMatch(Deno.readTextFileSync(`/proc/${pid}/environ`), /planted/);
    }
    const [, admin = ""] = gateway.program.output.match(/(http:\/\/127\.0\.0\.1:\d+)/) ?? [];
    const cli = ["run", "--no-prompt", "--no-check", "-A", main];
    const status = await run(Deno.execPath(), {
      args: [...cli, "status", "--json", "--admin", admin],
      env: denoEnvironment(),
    });
    const check = await run(Deno.execPath(), {
      args: [...cli, "check", "--config", gateway.file],
      env: denoEnvironment(),
    });
    const explain = await run(Deno.execPath(), {
      args: [...cli, "explain", "db.example.com", "--config", gateway.file],
      env: denoEnvironment(),
    });
    assert.match(status.stdout, /"hostname": "cft-db\.example\.com"/, status.stderr);
    assert.match(status.stdout, new RegExp(`"pid": ${process.pid},`));
    assert.match(check.stdout, /serviceToken/, check.stderr);
    assert.match(explain.stdout, /--hostname cft-db\.example\.com/, explain.stderr);
    const metrics = await (await fetch(`${admin}/metrics`)).text();
    assert.match(metrics, /postern_cloudflared_processes\{[^}]*state="ready"[^}]*\} 1/);
    assert.match(gateway.program.output, /cloudflared_output.*\*\*\*/);
    for (const text of [gateway.program.output, status, check, explain, metrics]) {
      assert.doesNotMatch(JSON.stringify(text), /planted/);
    }
    closeQuietly(client);
  },
});
