import assert from "node:assert/strict";
import { ensureDevelopmentToken } from "../../cli/development_token.ts";
import { CommandError } from "../../cli/command_error.ts";
import { digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { parseTokenFile } from "../../plugins/ws-agent/auth/token_file.ts";
import { temporaryFolder } from "../support/processes.ts";
import { MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;

async function read(tokenFile: string) {
  return parseTokenFile(await Deno.readTextFile(tokenFile), tokenFile);
}

Deno.test({
  name: "a development token is made once, for its user alone to read, and may register anything",
  ignore,
  async fn() {
    await using parent = await temporaryFolder();
    const folder = `${parent.path}/.postern`;
    const { token, tokenFile } = await ensureDevelopmentToken(folder);
    assert.equal(tokenFile, `${folder}/tokens.yaml`);
    assert.equal(await Deno.readTextFile(`${folder}/agent-token`), token);
    const [entry, ...others] = await read(tokenFile);
    assert.deepEqual(others, []);
    assert.deepEqual([entry?.sha256, entry?.name, entry?.allow], [
      digestOf(token).toHex(),
      "development",
      undefined,
    ]);
    for (
      const [path, mode] of [[folder, 0o700], [tokenFile, 0o600], [`${folder}/agent-token`, 0o600]] as const
    ) {
      assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, mode, path);
    }
    assert.deepEqual(await ensureDevelopmentToken(folder), { token, tokenFile });
    assert.equal((await read(tokenFile)).length, 1);
  },
});

Deno.test({
  name: "gateways that start at once make one development token",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const made = await Promise.all(Array.from({ length: 8 }, () => ensureDevelopmentToken(folder.path)));
    assert.equal(new Set(made.map(({ token }) => token)).size, 1);
    assert.equal((await read(made[0]?.tokenFile ?? "")).length, 1);
  },
});

Deno.test({
  name: "a development token that is lost or revoked is replaced; other tokens of the file stay good",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { token: first, tokenFile } = await ensureDevelopmentToken(folder.path);
    await runHere("token", "create", "--name", "mine", "--file", tokenFile);
    await Deno.remove(`${folder.path}/agent-token`);
    const { token: second } = await ensureDevelopmentToken(folder.path);
    assert.notEqual(first, second);
    const [lost, mine, current] = await read(tokenFile);
    assert.deepEqual([typeof lost?.revoked, mine?.revoked, current?.revoked], [
      "number",
      undefined,
      undefined,
    ]);
    await runHere("token", "revoke", current?.id ?? "", "--file", tokenFile);
    const { token: third } = await ensureDevelopmentToken(folder.path);
    assert.notEqual(second, third);
    assert.equal(await Deno.readTextFile(`${folder.path}/agent-token`), third);
  },
});

Deno.test({
  name: "a broken token file of a development gateway is told, and left as it is",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await Deno.writeTextFile(`${folder.path}/tokens.yaml`, "- {");
    await assert.rejects(ensureDevelopmentToken(folder.path), CommandError);
    assert.equal(await Deno.readTextFile(`${folder.path}/tokens.yaml`), "- {");
    assert.deepEqual(await Array.fromAsync(Deno.readDir(folder.path), ({ name }) => name), ["tokens.yaml"]);
  },
});
