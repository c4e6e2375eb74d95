import assert from "node:assert/strict";
import { createCertificate } from "../support/certificates.ts";
import { temporaryFolder } from "../support/processes.ts";
import { type CliResult, MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;

const CONFIG = `\
listeners: [{ address: "127.0.0.1:7443" }, { address: "127.0.0.1:7080", kind: http }]
plugins:
  static:
    routes:
      - { sni: db.example.com, to: "127.0.0.1:1", proxyProtocol: v2 }
      - { sni: app.example.com, terminate: true, to: "127.0.0.1:2" }
      - { protocol: ssh, to: ["127.0.0.1:3", "127.0.0.1:4"] }
  ws-agent: { domain: tunnels.example, jwt: { secret: "0123456789abcdef0123456789abcdef" }, plainHttp: true }
`;

async function explain(...args: readonly string[]): Promise<CliResult> {
  await using folder = await temporaryFolder();
  const file = `${folder.path}/postern.yaml`;
  await Deno.writeTextFile(file, CONFIG);
  return await runHere("explain", "--config", file, ...args);
}

/** The first line, and the one with the decision. */
function ends(stdout: string): [first: string | undefined, last: string | undefined] {
  const lines = stdout.trimEnd().split("\n");
  return [lines[0], lines.at(-1)];
}

const TO_DATABASE = "= forward to 127.0.0.1:1 (PROXY header: v2)";
const NOBODY = "= no plugin takes it:";

const CASES: readonly (readonly [args: string, first: string, last: string])[] = [
  ["db.example.com", 'tls connection for "db.example.com" at 127.0.0.1:7443 (stream)', TO_DATABASE],
  [
    "DB.Example.COM. --protocol postgres",
    'postgres connection for "db.example.com" at 127.0.0.1:7443 (stream)',
    TO_DATABASE,
  ],
  [
    "app.example.com",
    'tls connection for "app.example.com" at 127.0.0.1:7443 (stream)',
    `= refused: there is no certificate for "app.example.com"`,
  ],
  [
    "any.example --protocol ssh",
    'ssh connection for "any.example" at 127.0.0.1:7443 (stream)',
    "= forward to 127.0.0.1:3, then 127.0.0.1:4",
  ],
  [
    "any.example --protocol http --port 7080",
    'http connection for "any.example" at 127.0.0.1:7080 (http)',
    "= the plugin answers itself",
  ],
  [
    "demo.localhost --port 7080",
    'tls connection for "demo.localhost" at 127.0.0.1:7080 (http)',
    "= refused: this listener takes plain HTTP only",
  ],
  [
    "no.example",
    'tls connection for "no.example" at 127.0.0.1:7443 (stream)',
    `${NOBODY} refused: TLS alert unrecognized_name`,
  ],
  [
    "no.example --protocol postgres",
    'postgres connection for "no.example" at 127.0.0.1:7443 (stream)',
    `${NOBODY} refused: TLS alert unrecognized_name, or PostgreSQL error 28000 without TLS`,
  ],
  [
    "any.example --protocol http --plugins static",
    'http connection for "any.example" at 127.0.0.1:7443 (stream)',
    `${NOBODY} refused: 404`,
  ],
  [
    "any.example --protocol http --plugins static --port 7080",
    'http connection for "any.example" at 127.0.0.1:7080 (http)',
    `${NOBODY} redirect to https`,
  ],
  [
    "any.example --protocol ssh --plugins ws-agent",
    'ssh connection for "any.example" at 127.0.0.1:7443 (stream)',
    `${NOBODY} refused: one line of text`,
  ],
];

Deno.test({
  name: "explain says what becomes of a connection, for each protocol",
  ignore,
  async fn() {
    for (const [args, ...expected] of CASES) {
      const { code, stdout, stderr } = await explain(...args.split(" "));
      assert.deepEqual([code, stderr], [0, ""], args);
      assert.deepEqual(ends(stdout), expected, args);
    }
  },
});

Deno.test({
  name: "explain shows the steps of every plugin that was asked, in their order",
  ignore,
  async fn() {
    assert.deepEqual(
      (await explain("no.example")).stdout.split("\n"),
      [
        'tls connection for "no.example" at 127.0.0.1:7443 (stream)',
        'static: The client speaks tls and asks for "no.example"',
        "static: routes[0] (db.example.com) does not fit: another name",
        "static: routes[1] (app.example.com) does not fit: another name",
        "static: routes[2] (protocol ssh) does not fit: another protocol",
        "static: No route takes it: the next plugin is asked",
        'ws-agent: "no.example" is taken only while an agent has it registered as its hostname',
        "= no plugin takes it: refused: TLS alert unrecognized_name",
        "",
      ],
    );
    const asked = (await explain("app.tunnels.example", "--plugins", "ws-agent,static")).stdout;
    assert.doesNotMatch(asked, /^static:/m, "who comes after the decision is not asked");
  },
});

Deno.test({
  name: "explain refuses what is no name, and a port where nothing listens, with 1",
  ignore,
  async fn() {
    for (
      const [args, says] of [
        [["a_b..c"], '"a_b..c" is not a DNS name'],
        [[""], '"" is not a DNS name'],
        [["a.example", "--port", "1"], "Nothing listens on port 1"],
      ] as const
    ) {
      assert.deepEqual(await explain(...args), { code: 1, stdout: "", stderr: `postern: ${says}\n` });
    }
  },
});

Deno.test({
  name: "explain says that a client certificate is required",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { certificate, key, ca } = await createCertificate("*.connect.example.com");
    for (const [name, text] of Object.entries({ "cert.pem": certificate, "key.pem": key, "ca.pem": ca })) {
      await Deno.writeTextFile(`${folder.path}/${name}`, text);
    }
    await Deno.writeTextFile(
      `${folder.path}/postern.yaml`,
      `listeners: [{ address: "127.0.0.1:7443" }]
tls: { certificates: [{ cert: ${folder.path}/cert.pem, key: ${folder.path}/key.pem }] }
plugins:
  mtls-postgres: { domain: connect.example.com, issuer: example.com, caCertificates: [ca.pem], database: embedded }`,
    );
    const { stdout } = await runHere(
      "explain",
      "--config",
      `${folder.path}/postern.yaml`,
      "host-1.connect.example.com",
    );
    assert.equal(ends(stdout)[1], "= end TLS here (client certificate: require), then ask again");
  },
});
