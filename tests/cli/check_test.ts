import assert from "node:assert/strict";
import { parse } from "yaml";
import { temporaryFolder } from "../support/processes.ts";
import { type CliResult, MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;
const TOKEN = "a-token-that-nobody-may-see-0123456789";
const PASSWORD = "a-password-that-nobody-may-see";
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;

const GOOD = `\
listeners: [{ address: "127.0.0.1:7443" }]
admin: { address: "127.0.0.1:7090", token: "${TOKEN}" }
limits: { idleTimeout: 5m }
declarations:
  apart: { module: "${troubled}", isolation: worker, permissions: { net: ["{to}"] } }
plugins:
  static: { routes: [{ sni: DB.example.com, to: "127.0.0.1:1" }] }
  apart: { to: "127.0.0.1:7999" }
`;

/** Checks a config with this text; its name in what is printed is `FILE`. */
async function check(text: string, ...args: readonly string[]): Promise<CliResult> {
  await using folder = await temporaryFolder();
  const file = `${folder.path}/postern.yaml`;
  await Deno.writeTextFile(file, text);
  const { code, stdout, stderr } = await runHere("check", "--config", file, ...args);
  return { code, stdout: stdout.replaceAll(file, "FILE"), stderr: stderr.replaceAll(file, "FILE") };
}

/** Line, column and key of each complaint. */
function places({ stderr }: CliResult): (string | undefined)[] {
  return stderr.trimEnd().split("\n").map((line) => line.match(/^postern: FILE:(\d+:\d+: \S+): /)?.[1]);
}

Deno.test({
  name: "check prints what every part is granted, and the config with its defaults",
  ignore,
  async fn() {
    const { code, stdout, stderr } = await check(GOOD);
    assert.deepEqual([code, stderr], [0, ""]);
    const [head, permissions, config = ""] = stdout.split("\n\n");
    assert.equal(head, "FILE is fine.");
    assert.deepEqual(permissions?.split("\n"), [
      "Permissions:",
      "  data plane, with its inline plugins: net",
      "  admin: net: 127.0.0.1:7090",
      "  plugin apart: net: 127.0.0.1:7999",
    ]);
    const shown = parse(config.slice(config.indexOf("\n")));
    assert.equal(shown.limits.idleTimeoutMs, 300_000);
    assert.equal(shown.limits.connectTimeoutMs, 5_000, "a default");
    assert.deepEqual(shown.plugins.static.routes[0].sni, ["db.example.com"]);
  },
});

Deno.test({
  name: "check shows no secret, neither from the file nor from --set",
  ignore,
  async fn() {
    const noRoutes = "plugins.static.routes=[]";
    for (const args of [[], ["--set", `admin.token=${TOKEN}x`, "--set", noRoutes]]) {
      const { code, stdout, stderr } = await check(GOOD, ...args);
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stdout, new RegExp(TOKEN));
      assert.match(stdout, /token: "\*\*\*"/);
    }
    const wrong = await check(GOOD.replace(`"${TOKEN}"`, `{ password: "${PASSWORD}" }`));
    assert.equal(wrong.code, 1);
    assert.doesNotMatch(wrong.stderr, new RegExp(PASSWORD), "nor when it is wrong");
  },
});

Deno.test({
  name: "check --plugins takes only these, in this order",
  ignore,
  async fn() {
    const { code, stdout } = await check(GOOD, "--plugins", "static");
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /plugin apart/);
    const shown = parse(stdout.slice(stdout.indexOf("Config, ")).replace(/.*\n/, ""));
    assert.deepEqual(Object.keys(shown.plugins), ["static"]);
  },
});

Deno.test({
  name: "check ends with 1, and a line with file, line and column for each fault",
  ignore,
  async fn() {
    const shape = await check(
      GOOD.replace("idleTimeout: 5m", "idleTimeout: soon").replace("admin:", "amin:"),
    );
    assert.deepEqual([shape.code, shape.stdout], [1, ""]);
    assert.deepEqual(places(shape), ["2:1: amin", "3:24: limits.idleTimeout"]);
    const section = await check(GOOD.replace("sni: DB", "snii: DB"));
    assert.deepEqual([section.code, section.stdout], [1, ""]);
    assert.deepEqual(places(section), [
      "7:22: plugins.static.routes[0]",
      "7:24: plugins.static.routes[0].snii",
    ]);
    assert.match(section.stderr, /did you mean "sni"\?\n$/);
  },
});

Deno.test({
  name: "check ends with 1 for a file that is not there, and for certificates that are not",
  ignore,
  async fn() {
    const missing = await runHere("check", "--config", "/nonexistent/postern.yaml");
    assert.deepEqual([missing.code, missing.stdout], [1, ""]);
    assert.match(missing.stderr, /^postern: .*\/nonexistent\/postern\.yaml.*\n$/);
    const tls = `tls: { certificates: [{ cert: /nonexistent/c.pem, key: /nonexistent/k.pem }] }\n`;
    const { code, stderr } = await check(GOOD + tls);
    assert.equal(code, 1, stderr);
    assert.match(stderr, /^postern: .*\/nonexistent\/c\.pem.*\n$/);
  },
});
