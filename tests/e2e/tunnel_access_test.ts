/** `postern access`: a private service on a local port, seen and ended by other processes. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { AccessManager } from "../../plugins/ws-agent/access/mod.ts";
import { formatGateway } from "../../plugins/ws-agent/agent/gateway_address.ts";
import { readToEnd, serveTcp, startEcho } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { psql, startPostgres } from "../support/postgres.ts";
import {
  denoEnvironment,
  freePort,
  hostPort,
  type Program,
  run,
  startProgram,
  temporaryFolder,
} from "../support/processes.ts";
import { http, tcp, Tunnels } from "../support/tunnels.ts";
import { can } from "./can.ts";

const ignore = !can();
const CLI = new URL("../../cli/main.ts", import.meta.url).pathname;
const PRIVATE = { private: true } as const;

/** `postern access` as users run it, in a runtime folder of the test. */
class AccessCommands implements AsyncDisposable {
  readonly #tunnels: Tunnels;
  readonly #stack: AsyncDisposableStack;
  readonly folder: string;
  readonly #ca: string;

  private constructor(tunnels: Tunnels, stack: AsyncDisposableStack, folder: string, ca: string) {
    this.#tunnels = tunnels;
    this.#stack = stack;
    this.folder = folder;
    this.#ca = ca;
  }

  static async of(tunnels: Tunnels): Promise<AccessCommands> {
    const stack = new AsyncDisposableStack();
    const { path } = stack.use(await temporaryFolder());
    return new AccessCommands(tunnels, stack, path, await tunnels.caFile());
  }

  async start(service: string, ...more: readonly string[]): Promise<Program> {
    return this.#stack.use(
      await startProgram(Deno.execPath(), {
        args: ["run", "--no-prompt", "-A", CLI, "access", service, ...this.#gateway(), ...more],
        env: this.#env,
        cwd: this.folder,
      }),
    );
  }

  /** A command that ends by itself. */
  async run(...args: readonly string[]) {
    return await run(Deno.execPath(), {
      args: ["run", "--no-prompt", "-A", CLI, "access", ...args],
      env: this.#env,
      cwd: this.folder,
    });
  }

  async list(): Promise<Record<string, unknown>[]> {
    return JSON.parse((await this.run("list", "--json")).stdout);
  }

  /** What lies in the runtime folder. */
  async sockets(): Promise<string[]> {
    return await Array.fromAsync(Deno.readDir(`${this.folder}/postern/access`), ({ name }) => name);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  #gateway(): string[] {
    return ["--gateway", formatGateway(this.#tunnels.settings([]).gateway), "--ca", this.#ca];
  }

  get #env(): Record<string, string> {
    return {
      ...denoEnvironment(),
      POSTERN_TOKEN: this.#tunnels.tokens.alice,
      XDG_RUNTIME_DIR: this.folder,
    };
  }
}

/** Where a command has said that it listens, and its id. */
async function readyOf(program: Program): Promise<{ port: number; id: string }> {
  const [, id = ""] = await program.waitForOutput(/its id is ([0-9a-f]{8})\n/, { deadlineMs: 20_000 });
  const [, port] = /^(?:http:\/\/)?127\.0\.0\.1:(\d+)\n/m.exec(program.output) ?? [];
  return { port: Number(port), id };
}

async function echoed(port: number, text: string): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await writeAll(conn, new TextEncoder().encode(text));
  const seen = new Uint8Array(text.length);
  for (let length = 0; length < seen.length;) length += await conn.read(seen.subarray(length)) ?? Infinity;
  assert.equal(new TextDecoder().decode(seen), text);
  return conn;
}

Deno.test({
  name: "access, access list and access stop, with one that was killed: it is gone from the list by itself",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using tunnels = await Tunnels.start();
    await tunnels.agent([tcp("inner", echo.target, PRIVATE)]);
    await using commands = await AccessCommands.of(tunnels);
    const port = freePort();
    const [program, killed] = await Promise.all([
      commands.start("inner", "--local-port", String(port), "--ttl", "10m"),
      commands.start("alice/inner"),
    ]);
    const [ready, other] = await Promise.all([readyOf(program), readyOf(killed)]);
    assert.equal(ready.port, port);
    assert.match(program.output, /^postern: alice\/inner for (?:10:00|9:5\d); its id is/m);
    using conn = await echoed(port, "hello");
    assert.deepEqual((await commands.list()).map(({ id }) => id).toSorted(), [ready.id, other.id].toSorted());
    killed.kill("SIGKILL");
    await killed.status;
    assert.equal((await commands.sockets()).length, 2, "it had no time to clean up");
    const [row, ...more] = await commands.list();
    assert.deepEqual(more, []);
    assert.deepEqual(
      [row?.["id"], row?.["pid"] !== undefined, row?.["service"], row?.["local"], row?.["state"]],
      [ready.id, true, "alice/inner", `127.0.0.1:${port}`, "connected"],
    );
    assert.deepEqual(
      [row?.["connections"], row?.["open"], row?.["bytesIn"], row?.["bytesOut"]],
      [1, 1, 5, 5],
    );
    assert.ok(Number(row?.["remainingMs"]) <= 600_000 && Number(row?.["remainingMs"]) > 540_000);
    assert.deepEqual(await commands.sockets(), [`${ready.id}.sock`]);
    assert.equal(((await Deno.stat(`${commands.folder}/postern/access`)).mode ?? 0) & 0o777, 0o700);
    const wrong = await commands.run("stop", "00000000");
    assert.deepEqual([wrong.code, wrong.stdout], [1, ""], wrong.stderr);
    const stop = await commands.run("stop", ready.id);
    assert.deepEqual([stop.code, stop.stdout], [
      0,
      `${ready.id}: alice/inner on 127.0.0.1:${port} is stopped\n`,
    ], stop.stderr);
    assert.equal((await readToEnd(conn)).length, 0, "what was open is cut");
    assert.equal((await program.status).code, 0, program.output);
    assert.match(program.output, /^postern: Stopped; 1 connection, 5 B in, 5 B out$/m);
    assert.deepEqual(await commands.sockets(), []);
  },
});

Deno.test({
  name: "access ends with its time, cuts what is open, and says so; Ctrl-C is no error; a refusal is",
  ignore,
  async fn() {
    await using web = serveTcp(async (conn) => {
      await conn.read(new Uint8Array(4096));
      await writeAll(conn, new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
      await conn.read(new Uint8Array(1));
    });
    await using tunnels = await Tunnels.start();
    await tunnels.agent([{ ...http("web", web.target), ...PRIVATE }]);
    await using commands = await AccessCommands.of(tunnels);
    const busy = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    using _ = busy;
    const [timed, interrupted, missing, taken, refused] = await Promise.all([
      commands.start("web", "--ttl", "2s"),
      commands.start("web"),
      commands.start("none"),
      commands.start("web", "--local-port", String(busy.addr.port)),
      commands.start("web", "--token", "nonsense"),
    ]);
    const { port } = await readyOf(timed);
    assert.match(timed.output, new RegExp(`^http://127\\.0\\.0\\.1:${port}\n`));
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    using client = new HttpClient(conn, "anything.test");
    assert.equal((await client.request()).text, "ok");
    assert.equal((await readToEnd(conn)).length, 0);
    assert.equal((await timed.status).code, 0, timed.output);
    assert.match(timed.output, /^postern: The time is over; 1 connection, \d+ B in, \d+ B out$/m);
    await readyOf(interrupted);
    interrupted.kill("SIGINT");
    assert.equal((await interrupted.status).code, 0, interrupted.output);
    for (
      const [program, code, says] of [
        [missing, 2, /^postern: No access to "none": There is no private service "none", or this token may/m],
        [taken, 2, /^postern: Another program listens on 127\.0\.0\.1:\d+$/m],
        [refused, 3, /^postern: The gateway refuses this token: This token is not known$/m],
      ] as const
    ) {
      assert.equal((await program.status).code, code, program.output);
      assert.match(program.output, says);
      assert.doesNotMatch(program.output, /\n\s+at /, "no stack");
    }
  },
});

Deno.test({
  name: "psql goes through an access on two data planes, with the database's own TLS",
  ignore: ignore || !can("initdb", "postgres", "psql"),
  async fn() {
    await using server = await startPostgres();
    await using tunnels = await Tunnels.start({ threads: 2 });
    await tunnels.agent([tcp("db", hostPort(server.address), PRIVATE)]);
    await using manager = new AccessManager({
      gateway: tunnels.settings([]).gateway,
      token: tunnels.tokens.alice,
      tls: { extraCa: tunnels.ca, insecure: false },
    });
    const sessions = await Promise.all([1, 2, 3].map(() => manager.startSession({ service: "db" })));
    for (const { local } of sessions) {
      const answer = await psql("SELECT sum(n) FROM generate_series(1, 1000) n", {
        address: { hostname: local.host, port: local.port },
      });
      assert.deepEqual([answer.code, answer.rows], [0, ["500500"]], answer.stderr);
    }
  },
});
