import assert from "node:assert/strict";
import denoJson from "../../../deno.json" with { type: "json" };
import { readDeclarations } from "../../../core/config/declarations.ts";
import { DEVELOPMENT_CONFIG } from "../../../core/config/development.ts";
import { formatProblem } from "../../../core/config/problem.ts";
import { parseConfig } from "../../../core/config/parse_config.ts";
import { configKeys } from "../../../core/config/schema.ts";
import type { SchemaKey } from "../../../core/config/schema_walk.ts";
import { granted } from "../../support/permissions.ts";

const ignore = !granted("read");

interface Row {
  readonly key: string;
  readonly defaultText: string;
  readonly reload: string;
}

async function readDocs(): Promise<string> {
  return await Deno.readTextFile(new URL("../../../docs/configuration.md", import.meta.url));
}

/** The rows of the tables of keys: `| key | type | default | reload | meaning |`. */
function rowsOf(docs: string): Row[] {
  const rows = docs.split("\n").map((line) => line.split("|").map((cell) => cell.trim()));
  return rows.filter((cells) => cells.length === 7 && cells[1]?.startsWith("`")).map((cells) => ({
    key: cells[1]?.replaceAll("`", "") ?? "",
    defaultText: cells[3] ?? "",
    reload: cells[4] ?? "",
  }));
}

function leavesOf(keys: readonly SchemaKey[]): SchemaKey[] {
  return keys.filter(({ path }) =>
    !keys.some((other) => other.path.startsWith(`${path}.`) || other.path.startsWith(`${path}[`))
  );
}

function defaultOf({ required, default: value }: SchemaKey): string {
  if (required) return "required";
  return value === undefined || typeof value === "object" ? "none" : `\`${value}\``;
}

Deno.test({
  name: "docs/configuration.md has every key with its default, and no other",
  ignore,
  async fn() {
    const rows = rowsOf(await readDocs());
    const leaves = leavesOf(configKeys());
    assert.ok(leaves.length > 20);
    assert.deepEqual(
      rows.map(({ key, defaultText }) => `${key} = ${defaultText}`),
      leaves.map((leaf) => `${leaf.path} = ${defaultOf(leaf)}`),
    );
    for (const { key, reload } of rows) assert.match(reload, /^(?:live|restart)$/, key);
  },
});

Deno.test({
  name: "Every example in docs/configuration.md is a config that is accepted",
  ignore: ignore || !granted("env"),
  async fn() {
    const examples = Array.from((await readDocs()).matchAll(/```yaml\n([^]*?)```/g), ([, text = ""]) => text);
    assert.equal(examples.length, 4);
    const declarations = readDeclarations(denoJson, new URL("../../../deno.json", import.meta.url));
    const options = { env: () => "value", declarations };
    for (const text of examples) {
      const result = parseConfig({ text, file: "example" }, options);
      assert.deepEqual(result.ok ? [] : result.problems.map(formatProblem), []);
    }
    assert.equal(examples.at(-1), DEVELOPMENT_CONFIG.text, "the development config is the one in the code");
  },
});
