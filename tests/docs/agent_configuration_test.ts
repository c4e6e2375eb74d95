import assert from "node:assert/strict";
import { agentKeys, parseAgentFile } from "../../plugins/ws-agent/agent/agent_file.ts";
import { granted } from "../support/permissions.ts";
import { blocks } from "./blocks.ts";

const ignore = !granted("read", "env");
const PAGE = new URL("../../docs/agent-configuration.md", import.meta.url);

Deno.test("docs/agent-configuration.md: every example is a config as it stands", { ignore }, async () => {
  const examples = blocks(await Deno.readTextFile(PAGE), "yaml");
  assert.ok(examples.length > 0);
  for (const text of examples) {
    const result = parseAgentFile({ text, file: "agent.yaml" }, () => "a-value");
    assert.ok(result.ok, JSON.stringify(result));
  }
});

Deno.test("docs/agent-configuration.md explains every key and no other", { ignore }, async () => {
  const [, table = ""] = /^\| key +\| type .*\n((?:\|.*\n)+)/m.exec(await Deno.readTextFile(PAGE)) ?? [];
  const documented = Array.from(table.matchAll(/^\| `([^`]+)`/gm), ([, key = ""]) => key);
  const known = agentKeys().map(({ path }) => path);
  const leaves = known.filter((key) =>
    !known.some((other) => other.startsWith(`${key}.`) || other.startsWith(`${key}[`))
  );
  assert.deepEqual(documented.toSorted(), leaves.toSorted());
});
