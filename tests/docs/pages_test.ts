import assert from "node:assert/strict";
import type { Command } from "commander";
import denoJson from "../../deno.json" with { type: "json" };
import { createProgram } from "../../cli/cli.ts";
import { describePermissions } from "../../cli/describe_gateway.ts";
import { adminPermissions } from "../../core/admin/permissions.ts";
import { NO_PERMISSIONS, type WorkerPermissions } from "../../core/config/permissions.ts";
import { configKeys } from "../../core/config/schema.ts";
import { PLANE_PERMISSIONS } from "../../core/supervisor/supervisor.ts";
import { agentKeys } from "../../plugins/ws-agent/agent/agent_file.ts";
import { granted } from "../support/permissions.ts";
import { blocks } from "./blocks.ts";
import { type Page, pages, readPage } from "./pages.ts";
import { posternWords, shellCommands } from "./shell_words.ts";

const ignore = !granted("read");
const ROOT = new URL("../../", import.meta.url);

/** Prose without its blocks of code. */
function prose({ text }: Page): string {
  return text.replaceAll(/^```[^]*?^```$/gm, "");
}

/** `postern` that parses and does nothing. */
function inert(): Command {
  const program = createProgram();
  const disarm = (command: Command): void => {
    command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
    command.action(() => {});
    command.commands.forEach(disarm);
  };
  program.commands.forEach(disarm);
  return program.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
}

Deno.test("The commands of an example are found, quoted words and all", () => {
  const block = "$ FOO=bar postern token create --name 'a b' # why\n" +
    'deno task --env-file=x.env gateway --set "a=b c" \\\n  --threads 2\nls | postern status > out\npostern explain a#b';
  assert.deepEqual(shellCommands(block).map(posternWords), [
    ["token", "create", "--name", "a b"],
    ["gateway", "--set", "a=b c", "--threads", "2"],
    undefined,
    ["status"],
    ["explain", "a#b"],
  ]);
});

Deno.test({
  name: "every command line in the blocks of the pages is one that postern takes",
  ignore,
  async fn() {
    let parsed = 0;
    for (const page of await pages()) {
      const examples = ["sh", "console"].flatMap((language) => blocks(page.text, language));
      for (const words of examples.flatMap(shellCommands).map(posternWords)) {
        if (words === undefined) continue;
        await inert().parseAsync(words, { from: "user" }).catch((error) =>
          assert.fail(`${page.path}: postern ${words.join(" ")}: ${error.message}`)
        );
        parsed++;
      }
    }
    assert.ok(parsed > 20, `${parsed} commands`);
  },
});

Deno.test({
  name: "every command that the pages speak of is there, with its options",
  ignore,
  async fn() {
    for (const page of await pages()) {
      for (const [, line = ""] of prose(page).matchAll(/`(?:deno task )?postern ([^`]+)`/g)) {
        const words = line.split(/[\s,]+/);
        let command = createProgram();
        while (words.length > 0) {
          const next = command.commands.find((one) => one.name() === words[0]);
          if (next === undefined) break;
          command = next;
          words.shift();
        }
        // A command line as such is written `postern <command>`.
        assert.ok(command.parent !== null || /^[<-]/.test(line), `${page.path}: postern ${line}`);
        for (const word of words.filter((word) => word.startsWith("--"))) {
          const [name] = word.split("=");
          assert.ok(
            name === "--help" || name === "--version" || command.options.some(({ long }) => long === name),
            `${page.path}: postern ${line}`,
          );
        }
      }
    }
  },
});

/** How GitHub makes the anchor of a heading. */
function anchorOf(heading: string): string {
  const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1");
  return text.toLowerCase().replaceAll(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-");
}

Deno.test({
  name: "every link between the pages leads somewhere",
  ignore,
  async fn() {
    const all = await pages();
    const extra = ["CHANGELOG.md", "plugins/ws-agent/PROTOCOL.md"];
    for (const path of extra) all.push({ path, text: await readPage(path) });
    for (const page of all) {
      for (const [, target = ""] of prose(page).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(target)) continue;
        const url = new URL(target, new URL(page.path, ROOT));
        const anchor = decodeURIComponent(url.hash.slice(1));
        url.hash = "";
        const found = await Deno.stat(url).catch(() => assert.fail(`${page.path}: there is no ${target}`));
        if (anchor === "" || !found.isFile) continue;
        const headings = Array.from(
          prose({ path: "", text: await Deno.readTextFile(url) }).matchAll(/^#+ (.*)$/gm),
          ([, heading = ""]) => anchorOf(heading),
        );
        assert.ok(headings.includes(anchor), `${page.path}: ${target} has no such heading`);
      }
    }
  },
});

Deno.test({
  name: "README links to every page below docs",
  ignore,
  async fn() {
    const [readme, ...others] = await pages();
    for (const { path } of others) assert.ok(readme?.text.includes(`](${path})`), path);
  },
});

/** The keys in the table of a plugin's page. */
async function pluginKeys(name: string): Promise<string[]> {
  const page = await readPage(`docs/plugins/${name}.md`);
  return Array.from(page.matchAll(/^\| `([\w.]+)`/gm), ([, key = ""]) => `plugins.${name}.${key}`);
}

Deno.test({
  name: "the keys that pages on installing, operating and moving name are keys",
  ignore,
  async fn() {
    const known = [
      ...configKeys().map(({ path }) => path),
      ...agentKeys().map(({ path }) => path),
      ...(await Promise.all(Object.keys(denoJson.plugins).map(pluginKeys))).flat(),
    ];
    const isKey = (name: string) =>
      known.some((key) => key === name || key.startsWith(`${name}.`) || key.startsWith(`${name}[`));
    let seen = 0;
    for (const page of await pages()) {
      if (!/migrate|install|operating/.test(page.path)) continue;
      const text = prose(page).replaceAll("[plugin].", "plugins.ws-agent.");
      for (
        const [, name = ""] of text.matchAll(/`((?:listeners\[\]|services\[\]|tls|admin|plugins)\.[^`\s]+)`/g)
      ) {
        assert.ok(isKey(name), `${page.path}: ${name}`);
        seen++;
      }
    }
    assert.ok(seen > 60, `${seen} keys`);
  },
});

const ORIGINALS: Readonly<Record<string, readonly string[]>> = {
  "from-tcp-tunnel-proxy": [
    "listenAddr",
    "idleTimeout",
    "startupTimeout",
    "readHelloTimeout",
    "deriveTunnelHostname",
  ],
  "from-mtls-proxy": [
    "--listen",
    "--ca-certs",
    "--server-cert",
    "--server-key",
    "--issuer",
    "--db-host",
    "--db-port",
    "--db-user",
    "--db-password",
    "--db-name",
    "--log-level",
  ],
  "from-go-tunnel": [
    "GATEWAY_HOST",
    "GATEWAY_PORT",
    "TUNNEL_HOST",
    "TUNNEL_PORT",
    "DASHBOARD_PORT",
    "JWT_SECRET",
    "ACME_CACHE",
    "ACME_ENV",
    "tunnel_addr",
    "skip_tls_verify",
    "jwt_secret",
    "jwt_issuer",
    "jwt_expire_sec",
    "tunnels[].hostname",
    "tunnels[].target",
    'mode: "http"',
    'mode: "tcp"',
  ],
};

for (const [page, settings] of Object.entries(ORIGINALS)) {
  Deno.test({
    name: `docs/migrate/${page}.md has a row for every setting of the original, with an answer`,
    ignore,
    async fn() {
      const rows = (await readPage(`docs/migrate/${page}.md`)).split("\n").filter((line) =>
        line.startsWith("| `")
      );
      for (const setting of settings) {
        const row = rows.find((line) => line.startsWith(`| \`${setting}\``)) ?? assert.fail(setting);
        assert.match(row.split("|").slice(2).join(""), /\w/, setting);
      }
    },
  });
}

Deno.test({
  name: "docs/security.md says what each worker is granted, as the code grants it",
  ignore,
  async fn() {
    const page = await readPage("docs/security.md");
    const table = page.split(/^## /m).find((part) => part.startsWith("What each worker may do\n")) ??
      assert.fail();
    const granted = new Map(
      Array.from(
        table.matchAll(/^\| (.+?) +\| (.+?) +\|/gm),
        ([, worker = "", grants = ""]) => [worker.replace(/, .*/, ""), grants.replaceAll("`", "")] as const,
      ),
    );
    const admin = adminPermissions({ hostname: "127.0.0.1", port: 9090 }) as WorkerPermissions;
    assert.equal(granted.get("data plane"), describePermissions(PLANE_PERMISSIONS));
    assert.equal(granted.get("admin"), describePermissions(admin));
    assert.equal(granted.get("plugin checks"), describePermissions(NO_PERMISSIONS));
    for (const [name, { isolation, permissions }] of Object.entries(denoJson.plugins)) {
      if (isolation === "inline") {
        assert.ok(table.includes(`\`${name}\``), `${name} is said to run in the data plane`);
        assert.deepEqual(permissions, {}, name);
      } else {
        const declared = describePermissions({ ...NO_PERMISSIONS, ...permissions });
        assert.equal(granted.get(`plugin \`${name}\``), declared, name);
      }
    }
  },
});
