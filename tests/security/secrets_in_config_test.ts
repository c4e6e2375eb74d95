/** A config that is wrong near a secret is told without it; one that is right is shown without it. */
import assert from "node:assert/strict";
import { parseConfig } from "../../core/config/parse_config.ts";
import { formatProblem } from "../../core/config/problem.ts";
import { createAuthority } from "../support/certificates.ts";
import { writePem } from "../support/openssl.ts";
import { granted } from "../support/permissions.ts";
import { denoEnvironment, run, temporaryFolder } from "../support/processes.ts";

const SECRET = "planted-secret-b61f";
/** The YAML library asks the environment for two switches of its own. */
const readsYaml = { ignore: !granted("env") };
const LISTENERS = `listeners: [{ address: "127.0.0.1:0" }]\n`;

const wrong: Readonly<Record<string, string>> = {
  "a list": `admin: { token: [${SECRET}] }`,
  "a mapping": `admin: { token: { is: ${SECRET} } }`,
  "a key of a mapping": `admin: { token: { ${SECRET}: 1 } }`,
  "with a space": `admin: { token: "${SECRET} ${SECRET}" }`,
  "not ASCII": `admin: { token: "${SECRET}ü" }`,
  "an open quote": `admin:\n  token: "${SECRET}\n`,
  "quotes within quotes": `admin:\n  token: "${SECRET}"${SECRET}"\n`,
  "a colon in it": `admin:\n  token: ${SECRET}: ${SECRET}\n`,
  "an alias": `admin: { token: *${SECRET} }`,
  "a tag": `admin: { token: !${SECRET} x }`,
  "an unknown variable": `admin: { token: "${SECRET}\${NOT_SET}" }`,
  "a malformed variable": 'admin: { token: "${NOT SET ' + SECRET + '}" }',
  "given twice": `admin:\n  token: ${SECRET}\n  token: ${SECRET}\n`,
  "under a misspelled key": `admin: { tokens: ${SECRET} }`,
  "a number too many": `admin: { token: ${SECRET}, 5 }`,
  "a tab before it": `admin:\n\ttoken: ${SECRET}\n`,
  "wrong elsewhere": `admin: { token: ${SECRET}, address: nonsense, port: 1 }`,
  "within a URL": `admin: { address: "http://user:${SECRET}@127.0.0.1" }`,
};

function problemsOf(text: string, set: readonly string[] = [], env: Record<string, string> = {}): string {
  const options = { env: (name: string) => env[name], set, declarations: {} };
  const result = parseConfig({ text, file: "postern.yaml" }, options);
  assert.equal(result.ok, false, "it is wrong");
  return result.ok ? "" : result.problems.map(formatProblem).join("\n");
}

for (const [name, text] of Object.entries(wrong)) {
  Deno.test(`a token that is wrong, ${name}: the error does not show it`, readsYaml, () => {
    const problems = problemsOf(`${LISTENERS}${text}`);
    assert.ok(!problems.includes(SECRET), problems);
    assert.match(problems, /postern\.yaml:\d+:\d+/);
  });
}

for (
  const set of [
    "admin.token=[SECRET]",
    "admin.token=[SECRET",
    "admin.token.x=SECRET",
    "admin.tokn=SECRET",
    "SECRET",
  ]
) {
  Deno.test(`--set ${set}: the error does not show the secret`, readsYaml, () => {
    const problems = problemsOf(LISTENERS, [set.replaceAll("SECRET", SECRET)]);
    assert.ok(!problems.includes(SECRET), problems);
  });
}

Deno.test(
  "a token from the environment that is wrong: the error names the variable at most",
  readsYaml,
  () => {
    const problems = problemsOf(`${LISTENERS}admin: { token: "\${TOKEN}" }`, [], {
      TOKEN: `${SECRET} with spaces`,
    });
    assert.ok(!problems.includes(SECRET), problems);
  },
);

Deno.test({
  name: "`postern check` shows neither token nor key, of a config that is right and of one that is wrong",
  ignore: !granted("read", "write", "run", "env", "net"),
  async fn() {
    await using folder = await temporaryFolder();
    const { certificate, key } = await (await createAuthority()).issue({ names: ["localhost"] });
    const secretOf = (pem: string) => pem.split("\n")[1] ?? assert.fail("no PEM");
    const check = async (yaml: string) => {
      await Deno.writeTextFile(`${folder.path}/postern.yaml`, yaml);
      const main = new URL("../../cli/main.ts", import.meta.url).pathname;
      const { code, stdout, stderr } = await run(Deno.execPath(), {
        args: ["run", "--no-prompt", "-A", main, "check", "--config", `${folder.path}/postern.yaml`],
        env: { ...denoEnvironment(), TOKEN: SECRET },
        deadlineMs: 30_000,
      });
      for (const secret of [SECRET, secretOf(key)]) {
        assert.ok(!`${stdout}${stderr}`.includes(secret), stdout + stderr);
      }
      return { code, said: stdout + stderr };
    };
    const cert = await writePem(folder.path, "cert", certificate);
    const keyFile = await writePem(folder.path, "key", key);
    const yaml = (cert: string, key: string) =>
      `${LISTENERS}admin: { token: "\${TOKEN}" }\ntls: { certificates: [{ cert: ${cert}, key: ${key} }] }\nplugins: { static: {} }\n`;

    const right = await check(yaml(cert, keyFile));
    assert.equal(right.code, 0, right.said);
    assert.match(right.said, /token: "?\*\*\*"?\n/);

    const swapped = await check(yaml(keyFile, cert));
    assert.equal(swapped.code, 1, swapped.said);
    const broken = await writePem(
      folder.path,
      "broken",
      key.replace("-----END", `${secretOf(key)}\n-----END`),
    );
    assert.equal((await check(yaml(cert, broken))).code, 1);
  },
});
