import assert from "node:assert/strict";
import { checkValue } from "../../core/config/issues.ts";
import { importDefinition } from "../../core/plugin/running.ts";
import { granted } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";
import { blocks } from "./blocks.ts";

const ROOT = new URL("../../", import.meta.url);
const PAGE = new URL("docs/writing-a-plugin.md", ROOT);

/** A file of the page: its first line is a comment with its path. What it imports of this repository is found there. */
function fileOf(code: string): { readonly path: string; readonly code: string } {
  const [, path] = /^\/\/ (\S+)\n/.exec(code) ?? assert.fail(`No path in ${code.split("\n", 1)}`);
  const own = /^plugins\/tenants\//;
  const absolute = code.replaceAll(/(?<=from ")\.\.?\/[^"]+(?=")/g, (specifier) => {
    const url = new URL(specifier, new URL(path ?? "", ROOT));
    return own.test(url.href.slice(ROOT.href.length)) ? specifier : url.href;
  });
  return { path: path ?? "", code: absolute };
}

Deno.test({
  name:
    "the plugin of docs/writing-a-plugin.md type-checks, passes its own tests, and accepts the config shown",
  ignore: !granted("read", "write", "run", "env"),
  async fn() {
    await using folder = await temporaryFolder();
    const page = await Deno.readTextFile(PAGE);
    const files = blocks(page, "ts").map(fileOf);
    assert.deepEqual(files.map(({ path }) => path), [
      "plugins/tenants/mod.ts",
      "tests/plugins/tenants/mod_test.ts",
    ]);
    for (const { path, code } of files) {
      await Deno.mkdir(new URL(".", `file://${folder.path}/${path}`), { recursive: true });
      await Deno.writeTextFile(`${folder.path}/${path}`, code);
    }

    const config = new URL("deno.json", ROOT).pathname;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-prompt", "-A", "--no-lock", "--config", config, `${folder.path}/tests/`],
      env: { NO_COLOR: "1" },
    }).output();
    const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.equal(code, 0, output);
    assert.match(output, /ok \| \d{2} passed \| 0 failed/);

    const { parse } = await import("yaml");
    const [yaml = ""] = blocks(page, "yaml");
    const definition = await importDefinition(`file://${folder.path}/plugins/tenants/mod.ts`);
    assert.equal(checkValue(definition.config, parse(yaml).plugins.tenants).ok, true);
  },
});

Deno.test({
  name: "the smallest plugin of docs/writing-a-plugin.md stays small",
  ignore: !granted("read"),
  async fn() {
    const [smallest = ""] = blocks(await Deno.readTextFile(PAGE), "ts");
    const lines = smallest.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("//"));
    assert.ok(lines.length <= 20, `${lines.length} lines`);
  },
});
