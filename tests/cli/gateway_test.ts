import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { curl } from "../support/curl.ts";
import { can } from "../e2e/can.ts";
import {
  denoEnvironment,
  freeAddress,
  hostPort,
  type Program,
  startProgram,
  temporaryFolder,
} from "../support/processes.ts";
import { MAY_RUN_COMMANDS } from "./run_cli.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));
const ignore = !MAY_RUN_COMMANDS;

/** The development gateway on free ports, with `folder` as its working directory. */
async function startDevelopment(folder: string, ...more: readonly string[]) {
  const [https, http, admin] = [freeAddress(), freeAddress(), freeAddress()];
  const set = [
    `listeners[0].address=${hostPort(https)}`,
    `listeners[1].address=${hostPort(http)}`,
    `admin.address=${hostPort(admin)}`,
  ];
  const args = ["run", "--no-prompt", "--no-check", "-A", main, "gateway"];
  const program = await startProgram(Deno.execPath(), {
    args: [...args, ...set.flatMap((one) => ["--set", one]), ...more],
    env: denoEnvironment(),
    cwd: folder,
  });
  const [banner] = await program.waitForOutput(
    /^Postern runs with [^]*?(?:\n {2}plugin .*)+\n(?: {2}expose .*\n {2}trust .*\n)?/m,
    {
      deadlineMs: 30_000,
    },
  );
  return { program, banner, https, http, admin };
}

async function end(program: Program): Promise<void> {
  program.kill("SIGTERM");
  assert.equal((await program.status).code, 0, program.output);
}

async function modes(folder: string): Promise<Record<string, string>> {
  const names = (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).toSorted();
  const mode = async (path: string) => (((await Deno.stat(path)).mode ?? 0) & 0o777).toString(8);
  return Object.fromEntries(
    await Promise.all(["", ...names].map(async (name) => [name, await mode(`${folder}/${name}`)])),
  );
}

Deno.test({
  name:
    "the development gateway says what it does, keeps its secrets to itself, and its CA from start to start",
  ignore: ignore || Deno.build.os === "windows",
  async fn() {
    await using folder = await temporaryFolder();
    const secrets = `${folder.path}/.postern`;
    const first = await startDevelopment(folder.path, "--log-level", "debug", "--log-format", "pretty");
    await using _first = first.program;
    assert.deepEqual(first.banner.split("\n"), [
      "Postern runs with (development config)",
      `  listen ${hostPort(first.https)}`,
      `  http  ${hostPort(first.http)}`,
      `  admin  http://${hostPort(first.admin)}`,
      "  plugin static (inline; net)",
      "  plugin ws-agent (inline; net)",
      `  expose deno task postern http 3000 --name demo --gateway wss://tunnel.localhost:${first.https.port}` +
      `  →  https://demo.localhost:${first.https.port}  →  127.0.0.1:3000`,
      "  trust  .postern/ca.pem (curl --cacert .postern/ca.pem; import it into a browser)",
      "",
    ]);
    const { "": own, ...files } = await modes(secrets);
    assert.equal(own, "700");
    assert.ok(["ca.pem", "cert.pem", "key.pem"].every((name) => name in files), JSON.stringify(files));
    assert.deepEqual([...new Set(Object.values(files))], ["600"], JSON.stringify(files));
    await end(first.program);
    assert.match(first.program.output, /permissions_given_up/, "--log-level debug");
    assert.doesNotMatch(first.program.output, /"event":/, "--log-format pretty");
    const ca = await Deno.readTextFile(`${secrets}/ca.pem`);

    const second = await startDevelopment(folder.path, "--plugins", "static", "--log-format", "json");
    await using _second = second.program;
    assert.match(second.banner, /\n {2}plugin static \(inline; net\)\n$/, "--plugins static");
    assert.equal(await Deno.readTextFile(`${secrets}/ca.pem`), ca);
    await end(second.program);
    assert.match(second.program.output, /"event":"stopped"/, "--log-format json, level info");
    assert.doesNotMatch(second.program.output, /permissions_given_up/);
  },
});

Deno.test({
  name:
    "curl trusts the development gateway by the CA that it has made, and --log-level error keeps it quiet",
  ignore: ignore || !can("curl"),
  async fn() {
    await using folder = await temporaryFolder();
    const { program, banner, https } = await startDevelopment(folder.path, "--log-level", "error");
    await using _ = program;
    const ca = await Deno.readTextFile(`${folder.path}/.postern/ca.pem`);
    const options = { connectTo: https, ca };
    const endpoint = await curl(`https://tunnel.localhost:${https.port}/`, options);
    assert.equal(endpoint.status, 404, endpoint.log);
    assert.match(endpoint.text, /Agents connect at \/tunnel\/v1/);
    const nobodys = await curl(`https://nobody.localhost:${https.port}/`, { connectTo: https });
    assert.equal(nobodys.status, 404, nobodys.log);
    assert.equal(nobodys.text, "404 Not Found: Nothing is registered under this name.\n");
    await end(program);
    assert.equal(program.output, banner);
  },
});
