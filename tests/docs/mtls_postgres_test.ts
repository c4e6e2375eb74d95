import assert from "node:assert/strict";
import { decodePem } from "../../plugins/mtls-postgres/pem.ts";
import { identify } from "../../plugins/mtls-postgres/identity.ts";
import { MAY_RUN_COMMANDS, runHere } from "../cli/run_cli.ts";
import { hasProgram } from "../support/permissions.ts";
import { runOrThrow, temporaryFolder } from "../support/processes.ts";
import { blocks } from "./blocks.ts";

const PAGE = new URL("../../docs/plugins/mtls-postgres.md", import.meta.url);

/** The part of a page below a heading. */
function section(page: string, heading: string): string {
  return page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? assert.fail(heading);
}

Deno.test({
  name:
    "the commands of docs/plugins/mtls-postgres.md make certificates that its config and the plugin take for alice",
  ignore: !MAY_RUN_COMMANDS || !hasProgram("openssl") || !hasProgram("sh"),
  async fn() {
    await using folder = await temporaryFolder();
    const part = section(await Deno.readTextFile(PAGE), "From nothing");
    const [commands = ""] = blocks(part, "sh");
    const [seed = ""] = blocks(part, "sql");
    const [config = ""] = blocks(part, "yaml");
    await runOrThrow("sh", { args: ["-e", "-c", commands], cwd: folder.path });
    await Deno.writeTextFile(`${folder.path}/seed.sql`, seed);
    await Deno.writeTextFile(`${folder.path}/postern.yaml`, config);

    const { code, stderr } = await runHere("check", "--config", `${folder.path}/postern.yaml`);
    assert.deepEqual([code, stderr], [0, ""]);
    await runOrThrow("openssl", {
      args: ["verify", "-purpose", "sslclient", "-CAfile", "ca1.pem", "alice.pem"],
      cwd: folder.path,
    });
    const chain = decodePem(await Deno.readTextFile(`${folder.path}/alice.pem`), "CERTIFICATE");
    const { org, user } = identify(chain, { issuer: "example.com" });
    assert.deepEqual([org, user], ["acme", "alice"]);
    assert.match(seed, new RegExp(`\\('${user}', '${org}'\\)`));
  },
});
