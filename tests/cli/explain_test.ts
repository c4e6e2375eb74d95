import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { fetchRoutes } from "../../cli/admin_client.ts";
import { prepareAgain } from "../../cli/config_options.ts";
import { explain } from "../../cli/explain/explanation.ts";
import { explainLive } from "../../cli/explain/live.ts";
import { parseQuestion } from "../../cli/explain/question.ts";
import { createCertificate } from "../support/certificates.ts";
import { startEcho } from "../support/echo.ts";
import { temporaryFolder } from "../support/processes.ts";
import { DOMAIN, http, tcp, Tunnels } from "../support/tunnels.ts";
import { type CliResult, MAY_RUN_COMMANDS, runHere } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;

const troubled = new URL("../testdata/plugins/troubled.ts", import.meta.url).href;

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

async function explained(...args: readonly string[]): Promise<CliResult> {
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
    ":7443",
    "tls connection for no name at 127.0.0.1:7443 (stream)",
    `${NOBODY} refused: TLS alert unrecognized_name`,
  ],
  [
    ":30017",
    "connection to port 30017, which ws-agent opens while somebody has it",
    "= unknown: what is behind port 30017 is for ws-agent to say at run time",
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
      const { code, stdout, stderr } = await explained(...args.split(" "));
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
      (await explained("no.example")).stdout.split("\n"),
      [
        'tls connection for "no.example" at 127.0.0.1:7443 (stream)',
        "listener: It believes no PROXY header: who sends one is refused",
        "preface: The ClientHello is read for its server name, within 10 s and 65536 bytes",
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
    const asked = (await explained("app.tunnels.example", "--plugins", "ws-agent,static")).stdout;
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
        [["a.example:1"], "Nothing listens on port 1"],
        [["a.example:7443", "--port", "7080"], "Port 7443 and --port 7080 are two"],
        [["a.example:70000"], "70000 is no port"],
        [
          ["alice/db"],
          '"alice/db" is not a DNS name; a private service has no public name: postern access alice/db',
        ],
      ] as const
    ) {
      assert.deepEqual(await explained(...args), { code: 1, stdout: "", stderr: `postern: ${says}\n` });
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

Deno.test({
  name: "explain says what each plugin would do, and connects to nothing, starts nothing, asks nobody",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using backend = startEcho();
    await using database = startEcho();
    await using controller = startEcho();
    const command = `${folder.path}/cloudflared`;
    await Deno.writeTextFile(command, `#!/bin/sh\ntouch ${folder.path}/started\n`, { mode: 0o755 });
    const { certificate, key, ca } = await createCertificate(
      "*.db.internal",
      "app.example",
      "*.tunnels.example",
    );
    for (const [name, text] of Object.entries({ "cert.pem": certificate, "key.pem": key, "ca.pem": ca })) {
      await Deno.writeTextFile(`${folder.path}/${name}`, text);
    }
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(
      file,
      `listeners: [{ address: "127.0.0.1:7443", proxyProtocol: { from: ["10.0.0.0/8"] } }]
tls: { certificates: [{ cert: cert.pem, key: key.pem }] }
declarations: { apart: { module: "${troubled}", isolation: worker, permissions: {} } }
plugins:
  static:
    routes:
      - { sni: app.example, terminate: true, to: "${backend.target}", proxyProtocol: v2, healthCheck: {} }
      - { sni: raw.example, to: "${backend.target}" }
  cloudflared: { command: ${command}, names: ["*.cf.example"], hostname: "cft-{sni}" }
  mtls-postgres:
    domain: db.internal
    issuer: example.com
    caCertificates: [ca.pem]
    database: { host: 127.0.0.1, port: ${database.address.port}, user: u, password: hush-hush, name: n }
  ws-agent: { domain: tunnels.example, controller: { url: "http://${controller.target}/" } }
  apart: { to: "${backend.target}" }
`,
    );
    const expires = new Date(new X509Certificate(certificate).validTo).toISOString();
    const ours =
      `certificate: ${folder.path}/cert.pem (*.db.internal, app.example, *.tunnels.example), expires ${expires}`;
    const cases: readonly (readonly [name: string, says: readonly string[], result: string])[] = [
      ["app.example", [
        "listener: It believes a PROXY header from 10.0.0.0/8, and refuses it from others",
        "static: routes[0] (app.example) takes it",
        `static: It goes to ${backend.target}`,
        ours,
      ], `end TLS here, then forward to ${backend.target} (PROXY header: v2)`],
      [
        "raw.example",
        ["certificate: The upstream's own: TLS is passed on as it is"],
        `forward to ${backend.target}`,
      ],
      ["x.cf.example", [
        'cloudflared: The name *.cf.example is for "x.cf.example"',
        "cloudflared: It has no service token",
      ], "forward to 127.0.0.1:45000 (PROXY header: pass)"],
      ["host.db.internal", [
        "cloudflared: not one of its names (*.cf.example)",
        'mtls-postgres: The connectID is "host"',
        ours,
      ], "end TLS here (client certificate: require), then ask again"],
      ["app.tunnels.example", [
        "ws-agent: While nobody has it, the gateway terminates TLS with its certificate for that name and answers 404",
        ours,
      ], "end TLS here, then the plugin answers itself"],
      [
        "no.example",
        ["apart: decides only at run time"],
        "unknown: apart may take it at run time; if not: no plugin takes it: refused: TLS alert unrecognized_name",
      ],
    ];
    const prepared = await prepareAgain({ config: file, set: [] }, file);
    for (const [name, says, result] of cases) {
      const told = await explain(parseQuestion(name, undefined, "tls"), prepared, file);
      const lines = told.steps.map(({ by, says }) => `${by}: ${says}`);
      assert.deepEqual(says.filter((line) => !lines.includes(line)), [], lines.join("\n"));
      assert.equal(told.result, result);
    }
    const { stdout } = await runHere("explain", "--config", file, "host.db.internal", "--json");
    const { serverName, protocol, steps, result } = JSON.parse(stdout);
    assert.deepEqual([serverName, protocol, result], ["host.db.internal", "tls", cases[3]?.[2]]);
    assert.deepEqual(steps[0], { by: "listener", says: cases[0]?.[1][0]?.slice("listener: ".length) });
    assert.doesNotMatch(stdout, /hush-hush/);
    assert.deepEqual([backend, database, controller].map(({ accepted }) => accepted), [0, 0, 0]);
    await assert.rejects(Deno.stat(`${folder.path}/started`), Deno.errors.NotFound);
  },
});

Deno.test({
  name: "explain --live asks the gateway that runs who has the name or the port",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await using echo = startEcho();
    await using tunnels = await Tunnels.start({
      plugins: { static: { routes: [{ sni: "s.example", to: echo.target, healthCheck: {} }] } },
    });
    await using agent = await tunnels.agent([http("app", echo.target), tcp("echo", echo.target)]);
    const [row] = await tunnels.rows();
    const holder = `alice@${row?.id.slice(0, 8)} (healthy, 0 open)`;
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(
      file,
      `listeners: [{ address: "127.0.0.1:7443" }]
plugins:
  ws-agent: { domain: ${DOMAIN}, jwt: { secret: "0123456789abcdef0123456789abcdef" }, ports: 20000-32000 }
  static: { routes: [{ sni: s.example, to: "${echo.target}" }] }
`,
    );
    const port = agent.port("echo");
    const cases: readonly (readonly [asked: string, live: string])[] = [
      [`app.${DOMAIN}`, `ws-agent: app.${DOMAIN}: http tunnel to "app"; ${holder}`],
      [`:${port}`, `ws-agent: port ${port}: tcp tunnel to "echo"; ${holder}`],
      ["s.example", `static: s.example: forward; ${echo.target} (healthy, 0 open)`],
      [`other.${DOMAIN}`, "Nobody has it in the gateway that runs"],
    ];
    const { adminUrl: admin } = tunnels.gateway;
    const routes = await fetchRoutes({ admin }, new AbortController().signal);
    for (const [asked, says] of cases) {
      assert.deepEqual(explainLive(parseQuestion(asked, undefined, "tls"), routes), [{ by: "live", says }]);
    }
    const { code, stdout } = await runHere(
      "explain",
      `:${port}`,
      "--config",
      file,
      "--live",
      "--admin",
      admin,
    );
    assert.deepEqual([code, stdout.match(/^live: .*$/gm)], [0, [`live: ${cases[1]?.[1]}`]]);
    const away = await runHere("explain", "a.example", "--config", file, "--live", "--admin", "127.0.0.1:1");
    assert.deepEqual([away.code, away.stdout], [2, ""]);
  },
});

Deno.test({
  name: "explain says where the certificate comes from: files, ACME for a route, ACME for a tunnel",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const { certificate, key } = await createCertificate("*.files.example.com");
    await Deno.writeTextFile(`${folder.path}/cert.pem`, certificate);
    await Deno.writeTextFile(`${folder.path}/key.pem`, key);
    const file = `${folder.path}/postern.yaml`;
    await Deno.writeTextFile(
      file,
      `\
listeners: [{ address: "127.0.0.1:7443" }, { address: "127.0.0.1:7080", kind: http }]
tls: { certificates: [{ cert: cert.pem, key: key.pem }], acme: {} }
plugins:
  static:
    routes:
      - { sni: [app.example.com, a.files.example.com, "*.wild.example.com"], terminate: true, to: "127.0.0.1:2" }
`,
    );
    const from = "certificate: By ACME from acme-v02.api.letsencrypt.org";
    const cases = [
      ["app.example.com", `${from}, for app.example.com (http-01)`],
      ["a.files.example.com", `certificate: ${folder.path}/cert.pem (*.files.example.com), expires`],
      ["b.wild.example.com", `${from} (http-01), while a tunnel has the name; else there is none`],
    ] as const;
    const prepared = await prepareAgain({ config: file, set: [] }, file);
    for (const [name, says] of cases) {
      const { steps, result } = await explain(parseQuestion(name, undefined, "tls"), prepared, file);
      const told = steps.filter(({ by }) => by === "certificate").map(({ by, says }) => `${by}: ${says}`);
      assert.deepEqual(told.map((one) => one.slice(0, says.length)), [says]);
      assert.equal(result, "end TLS here, then forward to 127.0.0.1:2");
    }
    const { stdout } = await runHere("check", "--config", file);
    assert.match(stdout, /# certificate_missing .*"\*\.wild\.example\.com".* needs \\"dns-01\\"/);
    assert.match(
      stdout,
      /^ {2}acme: net: acme-v02\.api\.letsencrypt\.org:443; read: \S+cert-cache; write: \S+cert-cache$/m,
    );
  },
});
