import assert from "node:assert/strict";
import { parse } from "yaml";
import { CommandError } from "../../cli/command_error.ts";
import { withToken } from "../../cli/token_document.ts";
import { changeTokens } from "../../cli/token_store.ts";
import { parseTokenFile } from "../../plugins/ws-agent/auth/token_file.ts";
import { digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { denoEnvironment, run, temporaryFolder } from "../support/processes.ts";
import { type CliResult, MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;
const DAY_MS = 86_400_000;

/** A folder with a token file in it, and the command to try on it. */
async function tokenFile(text?: string) {
  const folder = await temporaryFolder();
  const file = `${folder.path}/tokens.yaml`;
  if (text !== undefined) await Deno.writeTextFile(file, text);
  return {
    folder: folder.path,
    file,
    token: (...args: readonly string[]): Promise<CliResult> => runHere("token", ...args, "--file", file),
    read: () => Deno.readTextFile(file),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** Who may do what with a file. */
async function modeOf(path: string): Promise<number> {
  return ((await Deno.stat(path)).mode ?? 0) & 0o777;
}

const EXISTING = `# our agents
- id: build # the machines in the cellar
  sha256: "${"ab".repeat(32)}"
  created: 2026-01-01

# the laptop
- { id: laptop, name: "Ada's", sha256: ${"cd".repeat(32)}, created: 2026-02-02, expires: 2026-03-03 }
`;

Deno.test({
  name: "token create prints the token alone, and keeps its digest in a file that nobody else may read",
  ignore,
  async fn() {
    await using tokens = await tokenFile();
    const { code, stdout, stderr } = await tokens.token("create");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^pst_[\w-]{43}\n$/);
    const [entry, ...others] = parseTokenFile(await tokens.read(), "f");
    assert.deepEqual(others, []);
    assert.deepEqual(Object.keys(entry ?? {}).toSorted(), ["created", "id", "sha256"]);
    assert.equal(entry?.sha256, digestOf(stdout.trim()).toHex());
    assert.ok(Math.abs(Date.now() - entry.created) < DAY_MS);
    assert.ok(stderr.includes(`Token ${entry.id} is in ${tokens.file}.`), stderr);
    for (const told of [stderr, await tokens.read()]) assert.ok(!told.includes(stdout.trim()));
    assert.equal(await modeOf(tokens.file), 0o600);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(tokens.folder), ({ name }) => name), ["tokens.yaml"]);
  },
});

Deno.test({
  name: "token create writes down who it is for and what it may register",
  ignore,
  async fn() {
    await using tokens = await tokenFile();
    const limits = [
      "--subdomain",
      "CI-*",
      "--subdomain",
      "*",
      "--hostname",
      "API.customer.com",
      "--port",
      "30000-30100",
    ];
    const { code, stderr } = await tokens.token(
      ...["create", "--name", "ci: x", "--expires", "30d", ...limits, "--port", "1", "--protocol", "http"],
    );
    assert.equal(code, 0, stderr);
    const [entry] = parse(await tokens.read());
    assert.equal(entry.name, "ci: x");
    assert.ok(Math.abs(Date.parse(entry.expires) - Date.now() - 30 * DAY_MS) < 60_000);
    assert.deepEqual(entry.allow, {
      subdomains: ["ci-*", "*"],
      hostnames: ["api.customer.com"],
      ports: ["30000-30100", "1"],
      protocols: ["http"],
    });
  },
});

Deno.test({
  name: "token create --protocol alone still allows what there is of that protocol",
  ignore,
  async fn() {
    for (
      const [protocols, allow] of [
        [["http"], { subdomains: ["*"], protocols: ["http"] }],
        [["udp"], { ports: ["1-65535"], protocols: ["udp"] }],
        [["tls", "tcp"], { subdomains: ["*"], ports: ["1-65535"], protocols: ["tls", "tcp"] }],
      ] as const
    ) {
      await using tokens = await tokenFile();
      await tokens.token("create", ...protocols.flatMap((one) => ["--protocol", one]));
      assert.deepEqual(parse(await tokens.read())[0].allow, allow);
    }
  },
});

Deno.test({
  name: "comments and other entries stay when a token is added or revoked, and so does who may read the file",
  ignore,
  async fn() {
    await using tokens = await tokenFile(EXISTING);
    await Deno.chmod(tokens.file, 0o644);
    assert.equal((await tokens.token("create", "--name", "new")).code, 0);
    assert.equal((await tokens.token("revoke", "laptop")).code, 0);
    const text = await tokens.read();
    for (const comment of ["# our agents\n", "# the machines in the cellar\n", "# the laptop\n"]) {
      assert.ok(text.includes(comment), text);
    }
    const [build, laptop, added] = parseTokenFile(text, "f");
    assert.deepEqual([build, { ...laptop, revoked: undefined }], [
      ...parseTokenFile(EXISTING, "f").slice(0, 1),
      { ...parseTokenFile(EXISTING, "f")[1], revoked: undefined },
    ]);
    assert.equal(typeof laptop?.revoked, "number");
    assert.equal(added?.name, "new");
    assert.equal(await modeOf(tokens.file), 0o640, "its group may, all others may not");
  },
});

for (const text of ["", "[]\n", "# nothing yet\n"]) {
  Deno.test({
    name: `token create takes a file of ${JSON.stringify(text)}`,
    ignore,
    async fn() {
      await using tokens = await tokenFile(text);
      assert.equal((await tokens.token("create")).code, 0);
      assert.equal(parseTokenFile(await tokens.read(), "f").length, 1);
    },
  });
}

Deno.test({
  name: "a file behind a link is changed where it is",
  ignore,
  async fn() {
    await using tokens = await tokenFile(EXISTING);
    const link = `${tokens.folder}/link.yaml`;
    await Deno.symlink("tokens.yaml", link);
    assert.equal((await runHere("token", "create", "--file", link)).code, 0);
    assert.ok((await Deno.lstat(link)).isSymlink);
    assert.equal(parseTokenFile(await tokens.read(), "f").length, 3);
  },
});

Deno.test({
  name: "tokens that are made at the same time are all there",
  ignore,
  async fn() {
    await using tokens = await tokenFile(EXISTING);
    await Promise.all(
      Array.from(
        { length: 20 },
        (_, i) =>
          changeTokens(
            tokens.file,
            ({ text }) =>
              withToken(text, { id: `t${i}`, sha256: digestOf(`${i}`).toHex(), created: "2026-01-01" }),
          ),
      ),
    );
    assert.equal(parseTokenFile(await tokens.read(), "f").length, 22);
  },
});

Deno.test({
  name: "a broken file is told with its place, and left as it is",
  ignore,
  async fn() {
    const broken = EXISTING.replace("expires:", "exipres:");
    await using tokens = await tokenFile(broken);
    for (const args of [["create"], ["revoke", "build"], ["list"]]) {
      const { code, stdout, stderr } = await tokens.token(...args);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(
        stderr.replaceAll(tokens.file, "FILE"),
        /^postern: FILE:7:\d+: laptop\.exipres: Unknown key; did you mean "expires"\?\n$/,
      );
      assert.equal(await tokens.read(), broken);
    }
  },
});

Deno.test({
  name: "what the gateway would not take is not written",
  ignore,
  async fn() {
    await using tokens = await tokenFile(EXISTING);
    await assert.rejects(changeTokens(tokens.file, ({ text }) => `${text}- broken`), CommandError);
    assert.equal(await tokens.read(), EXISTING);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(tokens.folder), ({ name }) => name), ["tokens.yaml"]);
  },
});

Deno.test({
  name: "token list shows what there is, and nothing that could be shown to a gateway",
  ignore,
  async fn() {
    await using tokens = await tokenFile(EXISTING);
    await tokens.token("revoke", "build");
    const { code, stdout } = await tokens.token("list");
    assert.equal(code, 0);
    assert.deepEqual(stdout.split("\n").map((line) => line.split(/ {2,}/)), [
      ["ID", "NAME", "STATE", "CREATED", "EXPIRES", "MAY REGISTER", "LIMITS"],
      ["build", "revoked", "2026-01-01", "never", "any name of the domain, any port", "none"],
      ["laptop", "Ada's", "expired", "2026-02-02", "2026-03-03", "any name of the domain, any port", "none"],
      [""],
    ]);
    const json = await tokens.token("list", "--json");
    const [build, laptop] = JSON.parse(json.stdout);
    assert.deepEqual(Object.keys(build), ["id", "state", "created", "revoked"]);
    assert.deepEqual(laptop, {
      id: "laptop",
      name: "Ada's",
      state: "expired",
      created: "2026-02-02T00:00:00.000Z",
      expires: "2026-03-03T00:00:00.000Z",
    });
    assert.doesNotMatch(stdout + json.stdout, /abab|cdcd/);
  },
});

Deno.test({
  name: "token create writes down whether it may share, and what it may use; token list shows it",
  ignore,
  async fn() {
    await using tokens = await tokenFile();
    const limits = [
      "--bandwidth",
      "10MiB",
      "--max-streams",
      "100",
      "--max-tunnels",
      "4",
      "--max-services",
      "8",
    ];
    assert.equal((await tokens.token("create", "--share", ...limits)).code, 0);
    assert.equal(
      (await tokens.token("create", "--share", "--protocol", "tcp", "--max-streams", "1")).code,
      0,
    );
    const [shares, tcpOnly] = parseTokenFile(await tokens.read(), "f");
    assert.deepEqual(shares?.allow, {
      subdomains: ["*"],
      hostnames: [],
      ports: [{ first: 1, last: 65_535 }],
      share: true,
    });
    assert.deepEqual(shares?.limits, { bandwidth: 10 * 2 ** 20, streams: 100, tunnels: 4, services: 8 });
    assert.deepEqual([tcpOnly?.allow?.subdomains, tcpOnly?.allow?.share, tcpOnly?.limits], [[], true, {
      streams: 1,
    }]);
    assert.match(await tokens.read(), /bandwidth: 10MiB/);
    const { stdout } = await tokens.token("list");
    assert.match(stdout, /shared between agents +10MiB\/s, 100 streams, 4 tunnels, 8 services\n/);
    const [first] = JSON.parse((await tokens.token("list", "--json")).stdout);
    assert.equal(first.allow.share, true);
    assert.equal(first.limits.bandwidth, 10 * 2 ** 20);
    for (const wrong of [["--bandwidth", "10"], ["--bandwidth", "fast"], ["--max-streams", "0"]]) {
      assert.equal((await tokens.token("create", ...wrong)).code, 1, wrong.join(" "));
    }
  },
});

Deno.test({
  name: "token revoke says when there is nothing to revoke",
  ignore,
  async fn() {
    await using tokens = await tokenFile(EXISTING);
    const unknown = await tokens.token("revoke", "bild");
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /^postern: There is no token with this id in .*; did you mean build\?\n$/);
    assert.equal(await tokens.read(), EXISTING);
    const secret = await tokens.token("revoke", "pst_this-is-a-token");
    assert.equal(secret.code, 1);
    assert.doesNotMatch(secret.stderr, /this-is-a-token/);
    await tokens.token("revoke", "build");
    const once = await tokens.read();
    const again = await tokens.token("revoke", "build");
    assert.deepEqual([again.code, again.stderr], [0, "Token build was revoked already\n"]);
    assert.equal(await tokens.read(), once);
  },
});

Deno.test({
  name: "without a file or a folder for it, token says what to do",
  ignore,
  async fn() {
    await using tokens = await tokenFile();
    const list = await tokens.token("list");
    assert.equal(list.code, 1);
    assert.match(list.stderr, /^postern: There is no file ".*"; "postern token create" makes it\n$/);
    const revoke = await tokens.token("revoke", "a");
    assert.equal(revoke.code, 1);
    const nowhere = await runHere("token", "create", "--file", `${tokens.folder}/no/tokens.yaml`);
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /^postern: There is no folder ".*\/no" for .*; make it first\n$/);
    assert.equal(nowhere.stdout, "", "no token that is nowhere kept");
  },
});

Deno.test({
  name: "the file is the one that the config names, whatever else the config lacks",
  ignore,
  async fn() {
    await using tokens = await tokenFile();
    const config = `${tokens.folder}/postern.yaml`;
    const create = () => runHere("token", "create", "--config", config);
    await Deno.writeTextFile(
      config,
      'admin: { token: "${NOT_SET_ANYWHERE}" }\nplugins: { ws-agent: { tokens: ./agents.yaml } }\n',
    );
    const named = await create();
    assert.equal(named.code, 0, named.stderr);
    assert.equal(parseTokenFile(await Deno.readTextFile(`${tokens.folder}/agents.yaml`), "f").length, 1);
    assert.doesNotMatch(named.stderr, /does not name/);
    await Deno.writeTextFile(config, "plugins: { ws-agent: {} }\n");
    const unnamed = await create();
    assert.equal(unnamed.code, 0, unnamed.stderr);
    assert.equal(parseTokenFile(await tokens.read(), "f").length, 1, "beside the config");
    assert.match(unnamed.stderr, /postern\.yaml does not name .*tokens\.yaml yet/);
    await Deno.writeTextFile(config, 'plugins: { ws-agent: { tokens: "${NOT_SET_ANYWHERE}" } }\n');
    const missing = await create();
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /NOT_SET_ANYWHERE is not set/);
    await Deno.writeTextFile(config, "plugins: [\n");
    assert.equal((await create()).code, 1);
    assert.equal((await runHere("token", "create", "--config", `${tokens.folder}/none.yaml`)).code, 1);
  },
});

Deno.test({
  name: "without a config it is the development gateway's file where there is one, else tokens.yaml",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const main = new URL("../../cli/main.ts", import.meta.url).pathname;
    const create = async () => {
      const args = ["run", "--no-prompt", "-A", main, "token", "create"];
      const result = await run(Deno.execPath(), { args, cwd: folder.path, env: denoEnvironment() });
      assert.equal(result.code, 0, result.stderr);
      assert.match(result.stdout, /^pst_[\w-]{43}\n$/);
    };
    const count = async (file: string) =>
      parseTokenFile(await Deno.readTextFile(`${folder.path}/${file}`), "f").length;
    await create();
    assert.equal(await count("tokens.yaml"), 1);
    await Deno.mkdir(`${folder.path}/.postern`);
    await create();
    assert.deepEqual([await count("tokens.yaml"), await count(".postern/tokens.yaml")], [1, 1]);
    await Deno.writeTextFile(
      `${folder.path}/postern.yaml`,
      "plugins: { ws-agent: { tokens: other.yaml } }\n",
    );
    await create();
    assert.equal(await count("other.yaml"), 1);
  },
});
