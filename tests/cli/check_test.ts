import assert from "node:assert/strict";
import { parse } from "yaml";
import { createCertificate } from "../support/certificates.ts";
import { temporaryFolder } from "../support/processes.ts";
import { type CliResult, MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;
const TOKEN = "a-token-that-nobody-may-see-0123456789";
const PASSWORD = "a-password-that-nobody-may-see";
const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;

const GOOD = `\
listeners: [{ address: "127.0.0.1:7443" }]
admin: { address: "127.0.0.1:7090", token: "${TOKEN}" }
limits: { idleTimeout: 5m }
declarations:
  apart: { module: "${troubled}", isolation: worker, permissions: { net: ["{to}"] } }
plugins:
  static: { routes: [{ sni: DB.example.com, to: "127.0.0.1:1" }] }
  apart: { to: "127.0.0.1:7999" }
`;

/** Checks a config with this text; its name in what is printed is `FILE`. */
async function check(text: string, ...args: readonly string[]): Promise<CliResult> {
  await using folder = await temporaryFolder();
  const file = `${folder.path}/postern.yaml`;
  await Deno.writeTextFile(file, text);
  const { code, stdout, stderr } = await runHere("check", "--config", file, ...args);
  return { code, stdout: stdout.replaceAll(file, "FILE"), stderr: stderr.replaceAll(file, "FILE") };
}

/** Line, column and key of each complaint. */
function places({ stderr }: CliResult): (string | undefined)[] {
  return stderr.trimEnd().split("\n").map((line) => line.match(/^postern: FILE:(\d+:\d+: \S+): /)?.[1]);
}

Deno.test({
  name: "check prints what every part is granted, and the config with its defaults",
  ignore,
  async fn() {
    const { code, stdout, stderr } = await check(GOOD);
    assert.deepEqual([code, stderr], [0, ""]);
    const [head, permissions, config = ""] = stdout.split("\n\n");
    assert.equal(head, "FILE is fine.");
    assert.deepEqual(permissions?.split("\n"), [
      "Permissions:",
      "  data plane, with its inline plugins: net",
      "  admin: net: 127.0.0.1:7090",
      "  plugin apart: net: 127.0.0.1:7999",
    ]);
    const shown = parse(config.slice(config.indexOf("\n")));
    assert.equal(shown.limits.idleTimeoutMs, 300_000);
    assert.equal(shown.limits.connectTimeoutMs, 5_000, "a default");
    assert.deepEqual(shown.plugins.static.routes[0].sni, ["db.example.com"]);
  },
});

Deno.test({
  name: "check shows no secret, neither from the file nor from --set",
  ignore,
  async fn() {
    const noRoutes = "plugins.static.routes=[]";
    for (const args of [[], ["--set", `admin.token=${TOKEN}x`, "--set", noRoutes]]) {
      const { code, stdout, stderr } = await check(GOOD, ...args);
      assert.equal(code, 0, stderr);
      assert.doesNotMatch(stdout, new RegExp(TOKEN));
      assert.match(stdout, /token: "\*\*\*"/);
    }
    const wrong = await check(GOOD.replace(`"${TOKEN}"`, `{ password: "${PASSWORD}" }`));
    assert.equal(wrong.code, 1);
    assert.doesNotMatch(wrong.stderr, new RegExp(PASSWORD), "nor when it is wrong");
  },
});

Deno.test({
  name: "check --plugins takes only these, in this order",
  ignore,
  async fn() {
    const { code, stdout } = await check(GOOD, "--plugins", "static");
    assert.equal(code, 0);
    assert.doesNotMatch(stdout, /plugin apart/);
    const shown = parse(stdout.slice(stdout.indexOf("Config, ")).replace(/.*\n/, ""));
    assert.deepEqual(Object.keys(shown.plugins), ["static"]);
  },
});

Deno.test({
  name: "check ends with 1, and a line with file, line and column for each fault",
  ignore,
  async fn() {
    const shape = await check(
      GOOD.replace("idleTimeout: 5m", "idleTimeout: soon").replace("admin:", "amin:"),
    );
    assert.deepEqual([shape.code, shape.stdout], [1, ""]);
    assert.deepEqual(places(shape), ["2:1: amin", "3:24: limits.idleTimeout"]);
    const section = await check(GOOD.replace("sni: DB", "snii: DB"));
    assert.deepEqual([section.code, section.stdout], [1, ""]);
    assert.deepEqual(places(section), [
      "7:22: plugins.static.routes[0]",
      "7:24: plugins.static.routes[0].snii",
    ]);
    assert.match(section.stderr, /did you mean "sni"\?\n$/);
  },
});

Deno.test({
  name: "check ends with 1 for a file that is not there, and for certificates that are not",
  ignore,
  async fn() {
    const missing = await runHere("check", "--config", "/nonexistent/postern.yaml");
    assert.deepEqual([missing.code, missing.stdout], [1, ""]);
    assert.match(missing.stderr, /^postern: .*\/nonexistent\/postern\.yaml.*\n$/);
    const tls = `tls: { certificates: [{ cert: /nonexistent/c.pem, key: /nonexistent/k.pem }] }\n`;
    const result = await check(GOOD + tls);
    assert.equal(result.code, 1, result.stderr);
    assert.deepEqual(places(result), ["9:31: tls.certificates[0].cert", "9:56: tls.certificates[0].key"]);
    assert.match(result.stderr, /Cannot read "\/nonexistent\/c\.pem"/);
  },
});

/** Files beside the config: `good` is a pair, `other` a key of nobody's, `text` neither. */
async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  await using folder = await temporaryFolder();
  const good = await createCertificate("*.example.com");
  const files = {
    "good.pem": good.certificate,
    "good.key": good.key,
    "other.key": (await createCertificate("x.example")).key,
    "text.pem": "nothing of use",
    "ca.pem": good.ca,
  };
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${folder.path}/${name}`, text);
  return await use(folder.path);
}

const MTLS = "domain: db.example.com, issuer: example.com, database: embedded";
const TUNNELS = `domain: tunnels.example, plainHttp: true, plainEndpoint: true, ` +
  `jwt: { secret: "0123456789abcdef0123456789abcdef" }`;

/** Each fault by itself and several together: line, column and key, and what is said of it. */
const FAULTS: readonly { what: string; yaml: string; places: readonly string[]; says: RegExp }[] = [
  {
    what: "variables that are not set, all of them",
    yaml: 'admin: { token: "${NOT_SET_A}" }\nlog: { level: "${NOT_SET_B}" }\n',
    places: ["2:17: admin.token", "3:15: log.level"],
    says: /NOT_SET_A[^]*NOT_SET_B/,
  },
  {
    what: "a certificate that is none and a key of another one, in two pairs",
    yaml: `tls:
  certificates:
    - { cert: text.pem, key: good.key }
    - { cert: good.pem, key: other.key }
    - { cert: good.pem, key: text.pem }
    - { cert: good.pem, key: good.key }
`,
    places: [
      "4:15: tls.certificates[0].cert",
      "5:15: tls.certificates[1].cert",
      "6:30: tls.certificates[2].key",
    ],
    says: /No certificate in .*\n.*does not belong to.*\n.*No private key in/,
  },
  {
    what: "certificates and sections of two plugins at once",
    yaml: `tls: { certificates: [{ cert: gone.pem, key: good.key }] }
plugins:
  static: { routes: [{ sni: a.example, too: "127.0.0.1:1" }] }
  mtls-postgres: { ${MTLS}, caCertificates: [ca.pem, gone-ca.pem] }
`,
    places: [
      "2:31: tls.certificates[0].cert",
      "4:22: plugins.static.routes[0].to",
      "4:40: plugins.static.routes[0].too",
      "5:110: plugins.mtls-postgres.caCertificates[1]",
    ],
    says: /"gone-ca.pem": There is no such file/,
  },
  {
    what: "routes that rule each other out",
    yaml: `plugins:
  static:
    routes:
      - { sni: a.example, to: "127.0.0.1:1" }
      - { sni: [b.example, A.example], to: "127.0.0.1:2" }
      - { protocol: ssh, terminate: true, to: "127.0.0.1:3" }
`,
    places: ["6:11: plugins.static.routes[1].sni", "7:37: plugins.static.routes[2].terminate"],
    says: /is taken by routes\[0\] already[^]*no TLS to terminate/,
  },
  {
    what: "an address twice, and a plugin that nobody declared",
    yaml: 'admin: { address: "127.0.0.1:7443" }\nplugins: { statik: {} }\n',
    places: ["2:19: admin.address", "3:12: plugins.statik"],
    says: /same address as listeners\[0\][^]*did you mean "static"/,
  },
];

for (const { what, yaml, places: expected, says } of FAULTS) {
  Deno.test({
    name: `check tells the place of each fault: ${what}`,
    ignore,
    fn: () =>
      inFolder(async (folder) => {
        const file = `${folder}/postern.yaml`;
        await Deno.writeTextFile(file, 'listeners: [{ address: "127.0.0.1:7443" }]\n' + yaml);
        const { code, stdout, stderr } = await runHere("check", "--config", file);
        assert.deepEqual([code, stdout], [1, ""]);
        assert.deepEqual(places({ code, stdout, stderr: stderr.replaceAll(file, "FILE") }), expected);
        assert.match(stderr, says);

        const asJson = await runHere("check", "--config", file, "--json");
        assert.deepEqual([asJson.code, asJson.stderr], [1, ""]);
        const { ok, problems, config } = JSON.parse(asJson.stdout);
        assert.deepEqual([ok, config], [false, undefined]);
        assert.deepEqual(
          problems.map(({ line, column, path }: { line: number; column: number; path: string }) =>
            `${line}:${column}: ${path}`
          ),
          expected,
        );
      }),
  });
}

Deno.test({
  name: "check warns of what is in the way of something else, and is fine",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const file = `${folder}/postern.yaml`;
      await Deno.writeTextFile(
        file,
        `listeners: [{ address: "127.0.0.1:30443" }]
tls: { certificates: [{ cert: good.pem, key: good.key }] }
plugins:
  static: { routes: [{ sni: [a.example.com, b.example], terminate: true, to: "127.0.0.1:1" }] }
  cloudflared: { command: "true", names: ["*.db.example.com", "*.example"] }
  mtls-postgres: { ${MTLS}, caCertificates: [ca.pem] }
  ws-agent: { ${TUNNELS} }
`,
      );
      const { code, stdout, stderr } = await runHere("check", "--config", file, "--json");
      assert.deepEqual([code, stderr], [0, ""]);
      const { ok, problems, warnings, permissions, config } = JSON.parse(stdout);
      assert.deepEqual([ok, problems], [true, []]);
      assert.deepEqual(
        warnings.map((
          { event, plugin, name, address }: Record<string, string>,
        ) => [event, plugin, name ?? address]),
        [
          ["certificate_missing", "static", "b.example"],
          ["certificate_missing", "mtls-postgres", "*.db.example.com"],
          ["plugin_name_shared", "mtls-postgres", "*.db.example.com"],
          ["port_shared", "ws-agent", "127.0.0.1:30443"],
        ],
      );
      assert.deepEqual(permissions.admin.net, ["127.0.0.1:9090"]);
      assert.equal(config.plugins["ws-agent"].jwt.secret, "***");
      const text = await runHere("check", "--config", file);
      assert.match(text.stdout, /^# port_shared \{"plugin":"ws-agent","ports":"30000-31000"/m);
    }),
});
