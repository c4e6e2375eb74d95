import assert from "node:assert/strict";
import { MAY_RUN_COMMANDS, runHere } from "../cli/run_cli.ts";
import { createCertificate } from "../support/certificates.ts";
import { temporaryFolder } from "../support/processes.ts";
import { formatProblem } from "../../core/config/problem.ts";
import { parseAgentFile } from "../../plugins/ws-agent/agent/agent_file.ts";
import { readTokenFile } from "../../plugins/ws-agent/auth/token_file.ts";
import { blocks } from "./blocks.ts";
import { pages } from "./pages.ts";

const ignore = !MAY_RUN_COMMANDS;
const ROOT = new URL("../../", import.meta.url);
const PLUGIN_PAGES = new URL("docs/plugins/", ROOT);
/** Where configs of services have what they write; here it is the folder of the config. */
const STATE_FOLDER = "/var/lib/postern/";
/** Pages of plugins, above; the plugin that is written on a page is not declared. */
const CHECKED_ELSEWHERE = /^docs\/(?:plugins\/|writing-a-plugin)/;
const VARIABLES = {
  EU_WEST_TOKEN: "a token",
  DB_PASSWORD: "a password",
  JWT_SECRET: "a secret of at least thirty-two bytes",
  CF_ID: "an-id.access",
  CF_SECRET: "a-secret",
  POSTERN_ADMIN_TOKEN: "a-token-0123456789",
};
/** What the configs of the pages name, beside pairs of certificate and key. */
const FILES = ["ca1.pem", "ca2.pem", "seed.sql"];
const TOKEN_FILE = "tokens.yaml";
const PAIRS = [["cert.pem", "key.pem"], ["server.pem", "server-key.pem"], [
  ".postern/cert.pem",
  ".postern/key.pem",
]];

async function pluginPages(): Promise<string[]> {
  const names = await Array.fromAsync(Deno.readDir(PLUGIN_PAGES), ({ name }) => name);
  return names.filter((name) => name.endsWith(".md")).toSorted();
}

async function declaredPlugins(): Promise<string[]> {
  const manifest = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  return Object.keys(manifest.plugins);
}

/** A folder with every file that a config of the pages names, and the variables that they name set. */
async function surroundings(): Promise<AsyncDisposable & { readonly path: string }> {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await temporaryFolder());
  for (const [name, value] of Object.entries(VARIABLES)) {
    const before = Deno.env.get(name);
    Deno.env.set(name, value);
    stack.defer(() => before === undefined ? Deno.env.delete(name) : Deno.env.set(name, before));
  }
  const { certificate, key, ca } = await createCertificate("*.connect.example.com");
  await Deno.mkdir(`${path}/.postern`);
  for (const [cert, own] of PAIRS) {
    await Deno.writeTextFile(`${path}/${cert}`, certificate);
    await Deno.writeTextFile(`${path}/${own}`, key);
  }
  for (const name of FILES) await Deno.writeTextFile(`${path}/${name}`, ca);
  for (const file of [TOKEN_FILE, `.postern/${TOKEN_FILE}`]) {
    await Deno.writeTextFile(`${path}/${file}`, "[]\n");
  }
  const owned = stack.move();
  return { path, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Has `postern check` read each config, as somebody would who has copied it from the page. */
async function checkAll(page: string, configs: readonly string[], folder: string): Promise<void> {
  for (const config of configs) {
    const file = `${folder}/postern.yaml`;
    await Deno.writeTextFile(file, config.replaceAll(STATE_FOLDER, `${folder}/`));
    const { code, stderr } = await runHere("check", "--config", file);
    assert.deepEqual([code, stderr], [0, ""], `${page} shows a config that is refused:\n${config}`);
  }
}

Deno.test({
  name: "every plugin that is declared has a page, and check takes every config on it as it stands",
  ignore,
  async fn() {
    await using folder = await surroundings();
    const names = await pluginPages();
    assert.deepEqual(names, (await declaredPlugins()).map((name) => `${name}.md`).toSorted());
    for (const page of names) {
      const yaml = blocks(await Deno.readTextFile(new URL(page, PLUGIN_PAGES)), "yaml");
      const configs = yaml.filter((text) => !isTokenFile(text));
      assert.ok(configs.length > 0, `${page} shows no config`);
      await checkAll(page, configs, folder.path);
    }
  },
});

function isTokenFile(yaml: string): boolean {
  return /^- id:/.test(yaml);
}

Deno.test({
  name: "the page of ws-agent shows a token file that is one",
  ignore,
  async fn() {
    const page = await Deno.readTextFile(new URL("ws-agent.md", PLUGIN_PAGES));
    const [text = assert.fail("There is none")] = blocks(page, "yaml").filter(isTokenFile);
    const result = readTokenFile(text, TOKEN_FILE);
    assert.deepEqual(result.ok ? [] : result.problems.map(formatProblem), []);
  },
});

Deno.test({
  name: "check takes every whole config of the README and of the pages below docs",
  ignore,
  async fn() {
    await using folder = await surroundings();
    let checked = 0;
    for (const page of await pages()) {
      if (CHECKED_ELSEWHERE.test(page.path)) continue;
      const configs = blocks(page.text, "yaml").filter((config) => /^listeners:/m.test(config));
      await checkAll(page.path, configs, folder.path);
      checked += configs.length;
    }
    assert.ok(checked > 8, `${checked} configs`);
  },
});

Deno.test({
  name: "every agent's config of the README and of the pages below docs is one",
  ignore,
  async fn() {
    let checked = 0;
    for (const page of await pages()) {
      for (const text of blocks(page.text, "yaml").filter((one) => /^gateway:/.test(one))) {
        const result = parseAgentFile({ text, file: "agent.yaml" }, () => "a-value");
        assert.deepEqual(result.ok ? [] : result.problems.map(formatProblem), [], page.path);
        checked++;
      }
    }
    assert.ok(checked > 3, `${checked} configs`);
  },
});

Deno.test({
  name:
    "the page of a plugin explains every key of its section and no other, and configuration.md links to it",
  ignore,
  async fn() {
    await using folder = await surroundings();
    const configuration = await Deno.readTextFile(new URL("docs/configuration.md", ROOT));
    for (const page of await pluginPages()) {
      const name = page.replace(/\.md$/, "");
      assert.ok(configuration.includes(`](plugins/${page})`), page);
      if (name === "static") continue; // its table is about what is in `routes`, the only key
      const text = await Deno.readTextFile(new URL(page, PLUGIN_PAGES));
      const [config = ""] = blocks(text, "yaml");
      const file = `${folder.path}/postern.yaml`;
      await Deno.writeTextFile(file, config);
      const { code, stderr } = await runHere("check", "--config", file, "--set", `plugins.${name}.0xyz=1`);
      assert.equal(code, 1, stderr);
      const [, known = ""] = /; known here: (.*)/.exec(stderr) ?? assert.fail(stderr);
      assert.deepEqual(keysOfTable(text), known.split(", ").toSorted(), page);
    }
  },
});

/** The keys in the page's table of keys, each without what is below it: `database` for `database.host`. */
function keysOfTable(page: string): string[] {
  const [, table = ""] = /^\| key +\| value .*\n((?:\|.*\n)+)/m.exec(page) ?? [];
  const keys = Array.from(table.matchAll(/^\| `(\w+)[^`]*`/gm), ([, key = ""]) => key);
  return [...new Set(keys)].toSorted();
}
