import assert from "node:assert/strict";
import { chooseGateway, DEVELOPMENT_GATEWAY, type GatewayOptions } from "../../cli/gateway_choice.ts";
import { formatGateway } from "../../plugins/ws-agent/agent/gateway_address.ts";
import { createAuthority } from "../support/certificates.ts";
import { granted } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";

const ignore = !granted("read", "write", "env");

async function choose(folder: string, options: GatewayOptions = {}, env: Record<string, string> = {}) {
  const { gateway, credentials, tls } = await chooseGateway(options, (name) => env[name], folder);
  return [formatGateway(gateway), "token" in credentials && credentials.token, tls.extraCa, tls.insecure];
}

Deno.test(
  "options come before the environment, and both before the development gateway",
  { ignore },
  async () => {
    await using folder = await temporaryFolder();
    const { certificate } = await createAuthority();
    await Deno.writeTextFile(`${folder.path}/agent-token`, "development\n");
    await Deno.writeTextFile(`${folder.path}/ca.pem`, certificate);
    assert.deepEqual(await choose(folder.path), [DEVELOPMENT_GATEWAY, "development", certificate, false]);
    const env = { POSTERN_GATEWAY: "g.example.com", POSTERN_TOKEN: "of-the-environment" };
    assert.deepEqual(await choose(folder.path, {}, env), [
      "wss://g.example.com/tunnel/v1",
      "of-the-environment",
      undefined,
      false,
    ]);
    const options = { gateway: "ws://other.example.com", token: "given", insecure: true };
    assert.deepEqual(await choose(folder.path, options, env), [
      "ws://other.example.com/tunnel/v1",
      "given",
      undefined,
      true,
    ]);
  },
);

Deno.test("the development gateway's token is for nobody on another machine", { ignore }, async () => {
  await using folder = await temporaryFolder();
  await Deno.writeTextFile(`${folder.path}/agent-token`, "development");
  for (const gateway of ["wss://tunnel.example.com", "localhost.example.com", "127.0.0.2"]) {
    await assert.rejects(choose(folder.path, { gateway }), /No token/);
  }
  for (const gateway of ["ws://127.0.0.1:8080", "tunnel.localhost:9443"]) {
    assert.equal((await choose(folder.path, { gateway }))[1], "development");
  }
});

Deno.test("what can't be used is told", { ignore }, async () => {
  await using folder = await temporaryFolder();
  const ca = `${folder.path}/other.pem`;
  await Deno.writeTextFile(ca, "no certificate");
  const cases: [GatewayOptions, RegExp][] = [
    [{}, /^CommandError: No gateway: give --gateway/],
    [{ gateway: "g.example.com" }, /No token: give it in POSTERN_TOKEN/],
    [{ gateway: "g.example.com", token: "with a space" }, /has characters that no token has/],
    [{ gateway: "g.example.com", token: "t", ca }, /There is no certificate in/],
    [{ gateway: "g.example.com", token: "t", ca: `${ca}.missing` }, /Cannot read the CA/],
  ];
  for (const [options, message] of cases) await assert.rejects(choose(folder.path, options), message);
});
