import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { FakeGateway } from "../plugins/ws-agent/agent/fake_gateway.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { hasProgram } from "../support/permissions.ts";
import { denoEnvironment, type Program, startProgram, temporaryFolder } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS || !hasProgram("deno");
const MAIN = new URL("../../cli/main.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

async function start(file: string, env: Record<string, string>): Promise<Program> {
  return await startProgram("deno", {
    args: ["run", "--no-prompt", "-A", "--config", CONFIG, MAIN, "agent", "--config", file],
    env: { ...denoEnvironment(), ...env },
  });
}

/** What an agent has logged, one object a line. */
function logged(program: Program): Record<string, unknown>[] {
  return program.output.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

Deno.test({
  name: "an agent runs by its config, follows its changes without dropping what stays, and ends in order",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using echo = startEcho();
    await using other = startEcho();
    await using gateway = new FakeGateway();
    const file = `${folder.path}/agent.yaml`;
    const config = (services: string) =>
      `gateway: ws://127.0.0.1:${gateway.port}\ntoken: "\${TUNNEL_TOKEN}"\nconnections: 1\nservices:\n${services}`;
    const first = `  - { name: first, protocol: tcp, target: "${echo.target}" }\n`;
    await Deno.writeTextFile(file, config(first));
    await using program = await start(file, { TUNNEL_TOKEN: "from-the-environment" });
    const session = await gateway.registered(0);
    assert.equal(session.auth.token, "from-the-environment");
    const stream = await session.open("first");
    await writeAll(stream, new TextEncoder().encode("still "));

    await program.waitForOutput(/"event":"agent_started"/);
    await Deno.writeTextFile(
      file,
      config(`${first}  - { name: second, protcol: tcp, target: "${other.target}" }\n`),
    );
    await program.waitForOutput(/"event":"reload_refused"/);
    await Deno.writeTextFile(
      file,
      config(`${first}  - { name: second, protocol: tcp, target: "${other.target}" }\n`),
    );
    program.kill("SIGHUP");
    await gateway.registered(1);
    await writeAll(stream, new TextEncoder().encode("here"));
    await stream.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(stream)), "still here");
    stream.close();
    assert.equal(session.ended, false);

    program.kill("SIGTERM");
    assert.equal((await program.status).code, 0, program.output);
    await until(() => gateway.live.length === 0, { what: "the sessions to end" });
    const events = logged(program);
    const refused = events.find(({ event }) => event === "reload_refused");
    assert.match(
      String(refused?.["reason"]),
      /agent\.yaml:6:\d+: services\[1\]\.protcol: Unknown key; did you mean "protocol"\?/,
    );
    const started = events.find(({ event }) => event === "agent_started");
    assert.equal(started?.["net"], [`127.0.0.1:${gateway.port}`, echo.target].toSorted().join(" "));
    assert.doesNotMatch(program.output, /from-the-environment/);
  },
});

Deno.test({
  name: "an agent whose token is refused ends with 3; one whose gateway is not there keeps trying",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using gateway = new FakeGateway({ authFail: () => "The token is not known" });
    const file = `${folder.path}/agent.yaml`;
    const config = (port: number) =>
      `gateway: ws://127.0.0.1:${port}\ntoken: t\nservices: [{ name: a, protocol: http, target: 1 }]\n`;
    await Deno.writeTextFile(file, config(gateway.port));
    await using refused = await start(file, {});
    assert.equal((await refused.status).code, 3, refused.output);
    assert.match(refused.output, /^postern: The gateway refuses this agent: The token is not known$/m);

    await Deno.writeTextFile(file, config(1));
    await using waiting = await start(file, {});
    await waiting.waitForOutput(/(?:"event":"gateway_unreachable"[^]*){3}/);
    waiting.kill("SIGINT");
    assert.equal((await waiting.status).code, 0);
  },
});

const WRONG: readonly (readonly [text: string | undefined, says: RegExp])[] = [
  [undefined, /agent\.yaml: There is no such file; --config names another\n$/],
  ["services: [", /agent\.yaml:\d+:\d+: /],
  [
    "gateway: wss://g\ntoken: t\nservices: [{ name: a, protocol: http, target: 1, hostnme: a.b }]",
    /:3:50: services\[0\]\.hostnme: Unknown key; did you mean "hostname"\?/,
  ],
  [
    "gateway: wss://g\ntoken: t\ntls: { ca: missing.pem }\nservices: [{ name: a, protocol: http, target: 1 }]",
    /Cannot read the CA ".*missing\.pem"/,
  ],
];

Deno.test({
  name: "a wrong agent.yaml ends with 1 and says what and where",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const file = `${folder.path}/agent.yaml`;
    for (const [text, says] of WRONG) {
      if (text !== undefined) await Deno.writeTextFile(file, text);
      const { code, stdout, stderr } = await runHere("agent", "--config", file);
      assert.deepEqual([code, stdout], [1, ""], stderr);
      assert.match(stderr, says);
    }
  },
});
