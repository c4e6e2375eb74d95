import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { FakeGateway, type FakeGatewayOptions } from "../plugins/ws-agent/agent/fake_gateway.ts";
import { readToEnd, serveTcp } from "../support/echo.ts";
import {
  denoEnvironment,
  freePort,
  type Program,
  startProgram,
  temporaryFolder,
} from "../support/processes.ts";
import { hasProgram } from "../support/permissions.ts";
import { until } from "../support/until.ts";
import { MAY_RUN_COMMANDS } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS || !hasProgram("deno");
const MAIN = new URL("../../cli/main.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

/** Runs a command as a user would, in a folder that has nothing of the development gateway. */
async function start(
  cwd: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Program> {
  return await startProgram("deno", {
    args: ["run", "--no-prompt", "-A", "--config", CONFIG, MAIN, ...args],
    env: { ...denoEnvironment(), ...env },
    cwd,
  });
}

function startHttp() {
  return serveTcp(async (conn) => {
    await conn.read(new Uint8Array(4096));
    await writeAll(
      conn,
      new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
    );
  });
}

Deno.test({
  name: "http prints the public address first, then a line a request, and ends in order at Ctrl-C",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using web = startHttp();
    await using gateway = new FakeGateway();
    const { port } = web.address;
    await using program = await start(folder.path, [
      "http",
      `${port}`,
      "--name",
      "demo",
      "--gateway",
      `ws://127.0.0.1:${gateway.port}`,
    ], {
      POSTERN_TOKEN: "a-token",
    });
    const session = await gateway.registered(0);
    assert.equal(session.auth.token, "a-token");
    assert.deepEqual([...session.services.values()], [{
      type: "registerService",
      name: "demo",
      protocol: "http",
      target: `127.0.0.1:${port}`,
    }]);
    await gateway.registered(1);
    await program.waitForOutput(/^https:\/\/demo\.example\.com\n/);
    const stream = await session.open("demo");
    await writeAll(stream, new TextEncoder().encode("GET /a?b HTTP/1.1\r\nHost: demo.example.com\r\n\r\n"));
    await readToEnd(stream);
    stream.close();
    await program.waitForOutput(/^https:\S+\n\d\d:\d\d:\d\d GET \/a 200 [\d.]+ ms\n$/);
    program.kill("SIGINT");
    assert.equal((await program.status).code, 0);
    await until(() => gateway.live.length === 0, { what: "the sessions to end" });
    assert.ok(session.received.some(({ type }) => type === "unregister"));
  },
});

Deno.test({
  name:
    "http --inspect says where requests are shown, and shows and replays them from a worker that is as confined as others",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using web = startHttp();
    await using gateway = new FakeGateway();
    const inspector = `127.0.0.1:${freePort()}`;
    const at = ["--gateway", `ws://127.0.0.1:${gateway.port}`, "--token", "t", "--connections", "1"];
    await using program = await start(folder.path, [
      "http",
      `${web.address.port}`,
      "--inspect",
      inspector,
      ...at,
    ]);
    const session = await gateway.registered(0);
    await program.waitForOutput(new RegExp(`^postern: Requests are shown at http://${inspector}$`, "m"));
    const [[, { name = "" } = {}] = []] = session.services;
    const stream = await session.open(name);
    await writeAll(stream, new TextEncoder().encode("GET /shown HTTP/1.1\r\nHost: demo.example.com\r\n\r\n"));
    await readToEnd(stream);
    stream.close();
    const page = await (await fetch(`http://${inspector}/exchanges/1`)).text();
    assert.match(page, /<title>GET \/shown – Postern inspector<[^]*Response, 200 OK[^]*>\nok<\/pre>/);
    const [, token = ""] = /name="token" value="([0-9a-f]+)"/.exec(page) ?? [];
    const replay = await fetch(`http://${inspector}/exchanges/1/replay`, {
      method: "POST",
      body: new URLSearchParams({ token }),
    });
    assert.match(await replay.text(), /Replay of[^]*Response, 200 OK/);
    for (const asset of ["style.css", "script.js"]) {
      assert.equal((await (await fetch(`http://${inspector}/${asset}`)).text()).length > 500, true);
    }
    const taken = await start(folder.path, ["http", "1", "--inspect", inspector, ...at]);
    assert.equal((await taken.status).code, 2);
    assert.match(
      taken.output,
      /^postern: Cannot show requests: "[0-9.:]+" is in use; give --inspect another port\n$/m,
    );
    program.kill("SIGINT");
    assert.equal((await program.status).code, 0);
  },
});

Deno.test({
  name: "tcp says that nothing listens yet, and goes on",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using gateway = new FakeGateway();
    const port = freePort();
    await using program = await start(folder.path, [
      "tcp",
      `${port}`,
      "--remote-port",
      "30022",
      "--token",
      "t",
    ], {
      POSTERN_GATEWAY: `ws://127.0.0.1:${gateway.port}`,
    });
    const session = await gateway.registered(0);
    const [service] = session.services.values();
    assert.deepEqual([service?.name, service?.remotePort], [`tcp-${port}`, 30022]);
    await program.waitForOutput(
      new RegExp(`^postern: Nothing listens on 127\\.0\\.0\\.1:${port} yet\n`, "m"),
    );
    await program.waitForOutput(/^https:/m);
  },
});

const NAMED = ["http", "1", "--name", "demo", "--token", "t"];
const FAILURES: readonly {
  readonly name: string;
  readonly args?: readonly string[];
  readonly gateway?: FakeGatewayOptions;
  readonly code: number;
  readonly says: RegExp;
}[] = [
  {
    name: "no gateway",
    args: ["http", "1"],
    code: 1,
    says: /^postern: No gateway: give --gateway, or start one with deno task gateway\n$/,
  },
  {
    name: "no token",
    args: ["http", "1", "--gateway", "tunnel.example.com"],
    code: 1,
    says: /^postern: No token: give it in POSTERN_TOKEN, or with --token\n$/,
  },
  {
    name: "a gateway that is no address",
    args: [...NAMED, "--gateway", "ftp://x"],
    code: 1,
    says: /^postern: Not the address of a gateway: "ftp:\/\/x" is none; write "wss:\/\/tunnel\.example\.com"/,
  },
  {
    name: "a gateway that is not there",
    args: [...NAMED, "--gateway", "ws://127.0.0.1:1"],
    code: 2,
    says: /^postern: Cannot reach the gateway at 127\.0\.0\.1:1: nothing listens there\n$/m,
  },
  {
    name: "a refused token",
    gateway: { authFail: () => "bad_token: The token is not known \x1b[31m" },
    code: 3,
    says: /^postern: The gateway refuses this agent: The token is not known \ufffd\[31m\n/m,
  },
  {
    name: "a service that the token may not register",
    gateway: { registerFail: () => "not_allowed: The token may not register demo.example.com" },
    code: 2,
    says: /^postern: The gateway does not take "demo": The token may not register demo\.example\.com\n/m,
  },
  {
    name: "a gateway that answers otherwise",
    gateway: { refuse: () => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" },
    code: 2,
    says: /^postern: The gateway answered 404\n/m,
  },
];

for (const { name, args, gateway: options, code, says } of FAILURES) {
  Deno.test({
    name: `${name} is told on one line, with exit code ${code}`,
    ignore,
    async fn() {
      await using folder = await temporaryFolder();
      await using gateway = new FakeGateway(options);
      const wanted = args ?? [...NAMED, "--gateway", `ws://127.0.0.1:${gateway.port}`, "--connections", "1"];
      await using program = await start(folder.path, wanted);
      assert.equal((await program.status).code, code, program.output);
      assert.match(program.output, says);
      assert.doesNotMatch(program.output, /\n\s+at /, "no stack");
    },
  });
}

Deno.test({
  name: "a reader that takes the address and goes ends neither the tunnel nor what is told to people",
  ignore: ignore || !hasProgram("sh"),
  async fn() {
    await using folder = await temporaryFolder();
    await using web = startHttp();
    await using gateway = new FakeGateway();
    const command = '{ deno run --no-prompt -A --config "$0" "$@"; echo "code $?" >&2; } | head -n 1';
    const args = ["http", `${web.address.port}`, "--gateway", `ws://127.0.0.1:${gateway.port}`];
    await using program = await startProgram("sh", {
      args: ["-c", command, CONFIG, MAIN, ...args, "--name", "demo", "--connections", "1"],
      env: { ...denoEnvironment(), POSTERN_TOKEN: "t" },
      cwd: folder.path,
    });
    const session = await gateway.registered(0);
    await program.waitForOutput(/^https:\/\/demo\.example\.com\n/);
    for (let i = 0; i < 3; i++) {
      const stream = await session.open("demo");
      await writeAll(stream, new TextEncoder().encode("GET /a HTTP/1.1\r\nHost: demo.example.com\r\n\r\n"));
      assert.match(new TextDecoder().decode(await readToEnd(stream)), /ok$/);
      stream.close();
    }
    await session.send({ type: "disconnect", reason: "closed_by_admin: Closed for a moment" });
    const next = await gateway.registered(1);
    await program.waitForOutput(
      /ended: Closed for a moment; trying again in [^]*^postern: Connected again$/m,
    );
    await next.send({ type: "disconnect", reason: "superseded: Another one is here" });
    await program.waitForOutput(/^postern: The gateway refuses this agent: Another one is here\ncode 3$/m);
    assert.doesNotMatch(program.output, /GET \/a|Broken pipe/);
  },
});

Deno.test({
  name: "a gateway on this machine is shown the token that the development gateway keeps in this folder",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await Deno.mkdir(`${folder.path}/.postern`);
    await Deno.writeTextFile(`${folder.path}/.postern/agent-token`, "the-token\n");
    await using gateway = new FakeGateway();
    await using program = await start(folder.path, [
      "http",
      "1",
      "--gateway",
      `ws://localhost:${gateway.port}`,
    ]);
    assert.equal((await gateway.session(0)).auth.token, "the-token");
    program.kill("SIGTERM");
    assert.equal((await program.status).code, 0);
  },
});
