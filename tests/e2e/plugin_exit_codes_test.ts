/** How a gateway with `mtls-postgres` or `cloudflared` starts, or does not, and what a script and a person are told. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { createAuthority } from "../support/certificates.ts";
import { writePem } from "../support/openssl.ts";
import { denoEnvironment, freePort, startProgram, temporaryFolder } from "../support/processes.ts";
import { can } from "./can.ts";
import { DOMAIN, ISSUER } from "./mtls_gateway.ts";

const ignore = !can();
const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

interface Files {
  readonly folder: string;
  /** Parts of a config that is right, but for what a case puts in their place. */
  readonly tls: string;
  readonly mtls: Readonly<Record<string, unknown>>;
}

interface Case {
  readonly name: string;
  readonly yaml: (files: Files) => string | Promise<string>;
  readonly code: number;
  /** On the one line that it says. */
  readonly says: RegExp;
}

function mtlsYaml({ tls, mtls }: Files, more: Readonly<Record<string, unknown>> = {}): string {
  return `${tls}\nplugins: { mtls-postgres: ${JSON.stringify({ ...mtls, ...more })} }`;
}

const cases: readonly Case[] = [
  {
    name: "a CA file that is not there",
    yaml: (files) => mtlsYaml(files, { caCertificates: [`${files.folder}/nowhere.pem`] }),
    code: 1,
    says: /nowhere\.pem/,
  },
  {
    name: "an empty CA file",
    async yaml(files) {
      return mtlsYaml(files, { caCertificates: [await writePem(files.folder, "empty", "")] });
    },
    code: 2,
    says: /empty\.pem/,
  },
  {
    name: "no server certificate for its names",
    yaml: (files) => mtlsYaml({ ...files, tls: "" }),
    code: 2,
    says: /no certificate for it; add one for "\*\.connect\.example\.com"/,
  },
  {
    name: "a plugin before it that takes its names and asks for no certificate",
    yaml: (files) =>
      `${files.tls}\nplugins: { static: { routes: [{ sni: "*.${DOMAIN}", terminate: true, to: "127.0.0.1:1" }] },
        mtls-postgres: ${JSON.stringify(files.mtls)} }`,
    code: 2,
    says: /mtls-postgres/,
  },
  {
    name: "a misspelled key of mtls-postgres",
    yaml: (files) => mtlsYaml(files, { isuer: "x" }),
    code: 1,
    says: /:\d+:\d+: plugins\.mtls-postgres\.isuer: .*issuer/,
  },
  {
    name: "a misspelled key of cloudflared",
    yaml: () => `plugins: { cloudflared: { names: ["*"], idleTimout: 5s } }`,
    code: 1,
    says: /:\d+:\d+: plugins\.cloudflared\.idleTimout: .*idleTimeout/,
  },
];

async function makeFiles(folder: string): Promise<Files> {
  const [clients, servers] = [await createAuthority("Clients"), await createAuthority("Servers")];
  const { certificate, key } = await servers.issue({ names: [`*.${DOMAIN}`] });
  const pair = {
    cert: await writePem(folder, "server", certificate),
    key: await writePem(folder, "server-key", key),
  };
  const mtls = {
    domain: DOMAIN,
    issuer: ISSUER,
    caCertificates: [await writePem(folder, "clients", clients.certificate)],
    database: { host: "127.0.0.1", port: freePort(), user: "nobody", name: "nothing" },
  };
  return { folder, tls: `tls: { certificates: [${JSON.stringify(pair)}] }`, mtls };
}

async function start(folder: string, yaml: string) {
  const file = `${folder}/postern.yaml`;
  const listeners = `listeners: [{ address: "127.0.0.1:0" }]\nadmin: { address: "127.0.0.1:0" }`;
  await Deno.writeTextFile(file, `${listeners}\nlog: { format: json }\n${yaml}`);
  const args = ["run", "--no-prompt", "--no-check", "-A", main, "gateway", "--config", file];
  return await startProgram(Deno.execPath(), { args, env: denoEnvironment() });
}

for (const { name, yaml, code, says } of cases) {
  Deno.test({
    name: `no gateway with ${name}: it ends with ${code}, and says why in a line`,
    ignore,
    async fn() {
      await using folder = await temporaryFolder();
      await using program = await start(folder.path, await yaml(await makeFiles(folder.path)));
      assert.equal((await program.status).code, code, program.output);
      const line = program.output.split("\n").find((one) => one.startsWith("postern: "));
      assert.match(line ?? "", says, program.output);
      assert.doesNotMatch(program.output, /\n {4}at /, "no stack");
    },
  });
}

for (
  const [name, says, yaml] of [
    ["its database", /"event":"database_down"/, (files: Files) => mtlsYaml(files)],
    [
      "its program",
      /listen 127/,
      () => `plugins: { cloudflared: { command: no-such-program, names: ["*.example.com"] } }`,
    ],
  ] as const
) {
  Deno.test({
    name: `a gateway starts without ${name}, and ends with 0 when it is told to`,
    ignore,
    async fn() {
      await using folder = await temporaryFolder();
      await using program = await start(folder.path, yaml(await makeFiles(folder.path)));
      await program.waitForOutput(/listen 127\.0\.0\.1:\d+/, { deadlineMs: 30_000 });
      await program.waitForOutput(says);
      program.kill("SIGTERM");
      assert.equal((await program.status).code, 0, program.output);
    },
  });
}
