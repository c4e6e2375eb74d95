import assert from "node:assert/strict";
import fc from "fast-check";
import type { PluginDeclaration } from "../../../core/config/config.ts";
import { type ConfigResult, parseConfig, type ParseOptions } from "../../../core/config/parse_config.ts";
import { formatProblem } from "../../../core/config/problem.ts";
import { granted } from "../../support/permissions.ts";

/** The YAML parser reads the environment: variables make it trace what it does. */
const ignore = !granted("env");

const inline = (module: string): PluginDeclaration => ({ module, isolation: "inline", permissions: {} });
const DECLARATIONS = { static: inline("file:///p/static.ts"), greeter: inline("file:///p/greeter.ts") };
const ENV: Readonly<Record<string, string>> = {
  PORT: "8443",
  YES: "true",
  DIGITS: "12345678",
  LIST: "[a, b]",
  MAP: "a: b\nc: d",
  PADDED: " 7 \n",
  TOKEN: "s3cret-token",
  ALIAS: "*x",
};

type Given = { readonly text?: string } & Partial<ParseOptions>;

function parse({ text = "", ...options }: Given): ConfigResult {
  const env = (name: string) => ENV[name];
  return parseConfig({ text, file: "conf/postern.yaml" }, { env, declarations: DECLARATIONS, ...options });
}

function linesOf(given: Given): readonly string[] {
  const result = parse(given);
  return result.ok ? [] : result.problems.map(formatProblem);
}

function sectionOf(given: Given): unknown {
  const result = parse(given);
  assert.deepEqual(result.ok ? [] : result.problems, []);
  return result.ok ? result.config.plugins[0]?.section : undefined;
}

function test(name: string, run: () => void): void {
  Deno.test({ name, ignore, fn: run });
}

for (const text of ["", "\n", "# nothing\n", "---\n", "limits:\ntls:\nadmin: {}\n", "~"]) {
  test(`An empty config is all defaults: ${JSON.stringify(text)}`, () => {
    const result = parse({ text });
    assert.deepEqual(result.ok && result.config, {
      listeners: [],
      limits: {
        maxConnections: 10_000,
        maxConnectionsPerSource: 0,
        maxAcceptRatePerSource: 0,
        maxPrefaceBytes: 65_536,
        prefaceTimeoutMs: 10_000,
        connectTimeoutMs: 5_000,
        idleTimeoutMs: 3_600_000,
        drainTimeoutMs: 30_000,
      },
      tls: { certificates: [] },
      admin: { address: "127.0.0.1:9090", hostname: "127.0.0.1", port: 9090, hosts: [] },
      log: { level: "info", format: "json" },
      plugins: [],
    });
  });
}

test("A full config comes out typed, in order, with paths seen from its folder", () => {
  const result = parse({
    text: `
listeners:
  - address: "0.0.0.0:443"
    proxyProtocol: { from: ["10.0.0.0/8", "::1"] }
  - { address: "[0:0::0]:80", kind: http }
  - address: localhost:0
  - address: localhost:0
limits: { maxConnections: 5, maxPrefaceBytes: 2KiB, idleTimeout: 0, drainTimeout: 1m30s }
tls: { certificates: [{ cert: cert.pem, key: /etc/key.pem }, { cert: ../c, key: ./k }] }
admin: { address: "0.0.0.0:9090", token: "\${TOKEN}" }
log: { level: warn, format: pretty }
plugins:
  greeter:
  mine: { to: "10.0.0.5:5432", list: [1, null] }
  static: { routes: [] }
declarations:
  mine: { module: ./mine.ts, permissions: { net: ["{to}"] } }
`,
  });
  assert.deepEqual(result.ok ? [] : result.problems, []);
  assert.ok(result.ok);
  const { config } = result;
  assert.deepEqual(config.listeners, [
    {
      address: "0.0.0.0:443",
      hostname: "0.0.0.0",
      port: 443,
      kind: "stream",
      proxyFrom: ["10.0.0.0/8", "::1"],
    },
    { address: "[::]:80", hostname: "::", port: 80, kind: "http", proxyFrom: [] },
    { address: "localhost:0", hostname: "localhost", port: 0, kind: "stream", proxyFrom: [] },
    { address: "localhost:0", hostname: "localhost", port: 0, kind: "stream", proxyFrom: [] },
  ]);
  assert.equal(config.limits.maxPrefaceBytes, 2048);
  assert.equal(config.limits.idleTimeoutMs, 0);
  assert.equal(config.limits.drainTimeoutMs, 90_000);
  assert.deepEqual(config.tls.certificates, [
    { cert: "conf/cert.pem", key: "/etc/key.pem" },
    { cert: "c", key: "conf/k" },
  ]);
  assert.equal(config.admin.token, "s3cret-token");
  assert.deepEqual(config.log, { level: "warn", format: "pretty" });
  assert.deepEqual(config.plugins.map(({ name, section }) => [name, section]), [
    ["greeter", {}],
    ["mine", { to: "10.0.0.5:5432", list: [1, null] }],
    ["static", { routes: [] }],
  ]);
  assert.match(config.plugins[1]?.declaration.module ?? "", /^file:\/\/\/.*\/conf\/mine\.ts$/);
  assert.equal(config.plugins[1]?.declaration.isolation, "worker");
  assert.deepEqual(structuredClone(config), config, "it can be posted to a worker");
});

const AT = "conf/postern.yaml";
const wrong: readonly { readonly name: string; readonly given: Given; readonly lines: readonly string[] }[] =
  [
    {
      name: "unknown keys name the nearest known one",
      given: { text: "limits:\n  idleTimout: 5m\nlistner: []\ntls: { keys: {} }\n" },
      lines: [
        `${AT}:2:3: limits.idleTimout: Unknown key; did you mean "idleTimeout"?`,
        `${AT}:3:1: listner: Unknown key; did you mean "listeners"?`,
        `${AT}:4:8: tls.keys: Unknown key; known here: certificates, acme`,
      ],
    },
    {
      name: "an unknown key without a value is found too",
      given: { text: "limits:\n  idleTimout:\n" },
      lines: [`${AT}:2:3: limits.idleTimout: Unknown key; did you mean "idleTimeout"?`],
    },
    {
      name: "everything wrong comes back together, in the order of the file",
      given: {
        text: `listeners:
  - address: 0.0.0.0:443
    knd: http
  - kind: htpp
  - 5
limits:
  prefaceTimeout: 10
  maxConnections: 0
  maxPrefaceBytes: 2MiB
  connectTimeout: 0
tls: { certificates: { cert: x } }
admin: { token: "a b" }
log: { level: inf }
plugins: { statik: {}, static: {} }
`,
      },
      lines: [
        `${AT}:3:5: listeners[0].knd: Unknown key; did you mean "kind"?`,
        `${AT}:4:5: listeners[1].address: Required: an address such as "10.0.0.5:443"`,
        `${AT}:4:11: listeners[1].kind: Expected "stream" or "http", got "htpp"`,
        `${AT}:5:5: listeners[2]: Expected a mapping, got 5`,
        `${AT}:7:19: limits.prefaceTimeout: Expected a duration such as "500ms", "10s", "5m" or "1h", got 10`,
        `${AT}:8:19: limits.maxConnections: Expected at least 1, got 0`,
        `${AT}:9:20: limits.maxPrefaceBytes: Expected at most 1MiB, got "2MiB"`,
        `${AT}:10:19: limits.connectTimeout: Expected at least 1ms, got 0`,
        `${AT}:11:8: tls.certificates: Expected a list, got a mapping`,
        `${AT}:12:17: admin.token: Expected text of visible ASCII characters, without spaces`,
        `${AT}:13:15: log.level: Expected "debug", "info", "warn" or "error", got "inf"`,
        `${AT}:14:12: plugins.statik: Plugin "statik" is declared neither in deno.json nor in "declarations"; did you mean "static"?`,
      ],
    },
    {
      name: "an address can be taken once",
      given: {
        text: 'listeners: [{ address: "[::]:1" }, { address: "[::0]:1" }, { address: "127.0.0.1:1" }]',
      },
      lines: [`${AT}:1:47: listeners[1].address: Listens on the same address as listeners[0]`],
    },
    {
      name: "the admin side needs an address of its own",
      given: { text: 'listeners:\n  - address: "127.0.0.1:9090"\n' },
      lines: [`${AT}:1:1: admin.address: Listens on the same address as listeners[0]`],
    },
    ...["0.0.0.0:9090", "[::]:9090", "10.0.0.1:9090", "admin.example.com:9090", "127.example.com:1"].map((
      address,
    ) => ({
      name: `an admin side on ${address} needs a token`,
      given: { text: `admin: { address: "${address}" }` },
      lines: [
        `${AT}:1:19: admin.address: An admin address that is not loopback (${address}) needs "admin.token"`,
      ],
    })),
    {
      name: "PROXY headers need ranges to be believed from",
      given: { text: 'listeners: [{ address: "127.0.0.1:1", proxyProtocol: { from: [10.0.0.1/8] } }]' },
      lines: [
        `${AT}:1:63: listeners[0].proxyProtocol.from[0]: "10.0.0.1/8" is no address range like "10.0.0.0/8": it has bits set behind the prefix; write "10.0.0.0/8"`,
      ],
    },
    {
      name: "an empty list of trusted proxies is a mistake",
      given: { text: 'listeners: [{ address: "127.0.0.1:1", proxyProtocol: { from: [] } }]' },
      lines: [`${AT}:1:56: listeners[0].proxyProtocol.from: Expected at least 1 entry, got a list`],
    },
    {
      name: "a secret of the wrong kind is not shown",
      given: { text: "admin: { token: 987654321 }" },
      lines: [`${AT}:1:17: admin.token: Expected text, got a number`],
    },
    {
      name: "a missing variable is an error where it is used, and no echo of it follows",
      given: { text: "limits:\n  maxConnections: ${NOPE}\n  idleTimeout: x${ALSO_NOT}\n" },
      lines: [
        `${AT}:2:19: limits.maxConnections: Environment variable NOPE is not set; set it, or write \${NOPE:-default}`,
        `${AT}:3:16: limits.idleTimeout: Environment variable ALSO_NOT is not set; set it, or write \${ALSO_NOT:-default}`,
      ],
    },
    {
      name: "a missing variable for a required key, once",
      given: { text: 'listeners: [{ address: "${NOPE}" }]' },
      lines: [
        `${AT}:1:24: listeners[0].address: Environment variable NOPE is not set; set it, or write \${NOPE:-default}`,
      ],
    },
    {
      name: "a missing variable in a plugin's section is found before the plugin is asked",
      given: { text: "plugins: { static: { routes: [{ to: '${NOPE}' }] } }" },
      lines: [
        `${AT}:1:37: plugins.static.routes[0].to: Environment variable NOPE is not set; set it, or write \${NOPE:-default}`,
      ],
    },
    {
      name: "duplicate keys",
      given: { text: "admin: {}\nlimits: { idleTimeout: 5m, idleTimeout: x }\nadmin: { foo: 1 }\n" },
      lines: [`${AT}:2:28: Key "idleTimeout" is given twice`, `${AT}:3:1: Key "admin" is given twice`],
    },
    {
      name: "a tab",
      given: { text: "limits:\n\tidleTimeout: 5m\n" },
      lines: [`${AT}:2:1: A tab can't indent in YAML; use spaces`],
    },
    {
      name: "a list at the top",
      given: { text: "- a" },
      lines: [`${AT}:1:1: Expected keys such as "listeners:" at the top`],
    },
    {
      name: "a tag",
      given: { text: "log: !x { level: info }" },
      lines: [`${AT}:1:6: Tags (!name) have no meaning here`],
    },
    {
      name: "a binary tag",
      given: { text: "log: !!binary aGk=" },
      lines: [`${AT}:1:6: Tags (!name) have no meaning here`],
    },
    {
      name: "a second document",
      given: { text: "log: {}\n---\nlog: {}\n" },
      lines: [`${AT}:2:1: A second document begins here; a config is one document`],
    },
    {
      name: "an unquoted variable within braces",
      given: { text: "log: { level: ${LEVEL} }" },
      lines: [`${AT}:1:16: Put quotes around "\${NAME}" within { } and [ ]`],
    },
    {
      name: "an open quote",
      given: { text: 'log:\n  level: "info\n' },
      lines: [`${AT}:3:1: Not valid YAML: Missing closing "quote`],
    },
    {
      name: "a key that is a list",
      given: { text: "? [a]\n: b" },
      lines: [`${AT}:1:3: A key must be plain text`],
    },
    {
      name: "__proto__",
      given: { text: "limits: { __proto__: {} }" },
      lines: [`${AT}:1:11: limits.__proto__: This key is not allowed`],
    },
    {
      name: "a key that every object has",
      given: { text: "log: { toString: 1 }" },
      lines: [`${AT}:1:8: log.toString: Unknown key; known here: level, format`],
    },
    {
      name: "an alias without its anchor",
      given: { text: "plugins: { static: *nope }" },
      lines: [
        `${AT}:1:20: plugins.static: No anchor &nope stands above; text that begins with * stands in quotes`,
      ],
    },
    {
      name: "an alias within what it stands for",
      given: { text: "plugins: { static: &x { a: *x } }" },
      lines: [`${AT}:1:28: plugins.static.a: Alias *x contains itself`],
    },
    {
      name: "deep nesting",
      given: { text: `a: ${"[".repeat(100_000)}` },
      lines: [`${AT}:1:1: Nested more than 64 levels deep`],
    },
    {
      name: "too long a text",
      given: { text: "#".repeat(2 ** 20 + 1) },
      lines: [`${AT}:1:1: Longer than 1048576 characters`],
    },
    {
      name: "a declaration that is wrong in many ways",
      given: {
        text: `declarations:
  mine: { module: npm:x, isolation: wrker, permissions: { net: ["{a", ""], rn: true, env: 5 } }
  static: { module: ./x.ts }
  Bad_Name: { module: ./x.ts }
  open: { module: "https://example.com/x.ts", isolation: inline }
  wide: { module: ./x.ts, isolation: inline, permissions: { net: true } }
`,
      },
      lines: [
        `${AT}:2:19: declarations.mine.module: Expected a local file such as "./plugins/mine/mod.ts", got "npm:x"`,
        `${AT}:2:37: declarations.mine.isolation: Expected "inline" or "worker", got "wrker"`,
        `${AT}:2:65: declarations.mine.permissions.net[0]: Malformed template; write "{key}" or "{path.to.key}"`,
        `${AT}:2:71: declarations.mine.permissions.net[1]: An empty permission is not allowed`,
        `${AT}:2:76: declarations.mine.permissions.rn: Unknown key; did you mean "run"?`,
        `${AT}:2:91: declarations.mine.permissions.env: Expected true or false or a list, got 5`,
        `${AT}:3:3: declarations.static: Plugin "static" is declared in deno.json already`,
        `${AT}:4:3: declarations.Bad_Name: A plugin's name has lower-case letters, digits and dashes, and begins with a letter`,
        `${AT}:5:19: declarations.open.module: Expected a local file such as "./plugins/mine/mod.ts", got "https://example.com/x.ts"`,
        `${AT}:6:46: declarations.wide.permissions: An inline plugin has the permissions of the data plane and no others; use "isolation: worker"`,
      ],
    },
    {
      name: "--plugins with names that nobody declared",
      given: { plugins: ["static", "greter", "static"] },
      lines: [
        '--plugins: Plugin "greter" is declared neither in deno.json nor in "declarations"; did you mean "greeter"?',
        '--plugins: Plugin "static" is named twice',
      ],
    },
    {
      name: "--set with wrong values, keys and syntax",
      given: {
        text: "limits: { maxConnections: 7 }",
        set: [
          "limits.idleTimeout=abc",
          "limits.idleTimout=5m",
          "s3cret",
          "=5",
          "limits[0]=1",
          "listeners[1].address=127.0.0.1:1",
          "limits.maxConnections.x=1",
          "log.level=[",
          "log.format=${NOPE}",
          "__proto__.x=1",
          "admin=5",
        ],
      },
      lines: [
        '--set: Expected KEY=VALUE, as in "limits.idleTimeout=5m"',
        '--set : Expected a key such as "limits.idleTimeout" or "plugins.static.routes[0].to"',
        "--set limits[0]: Can't go to 0: a mapping has keys, not indexes",
        "--set listeners[1].address: Expected an index from 0 to 0, got 1",
        '--set limits.maxConnections.x: Can\'t go to "x": there is a single value on the way',
        "--set log.level: Not valid YAML: Flow sequence must end with a ]",
        "--set log.format: Environment variable NOPE is not set; set it, or write ${NOPE:-default}",
        "--set __proto__.x: This key is not allowed",
        '--set limits.idleTimeout: Expected a duration such as "500ms", "10s", "5m" or "1h", got "abc"',
        '--set limits.idleTimout: Unknown key; did you mean "idleTimeout"?',
        "--set admin: Expected a mapping, got 5",
      ],
    },
    {
      name: "challenges that nobody could answer",
      given: {
        text: "listeners: [{ address: '127.0.0.1:443' }]\ntls:\n  acme:\n    challenges: [http-01, dns-01]\n",
      },
      lines: [
        `${AT}:4:5: tls.acme.challenges: The challenge "http-01" is answered by a listener of "kind: http", on public port 80; add one, or use "dns-01" alone`,
        `${AT}:4:5: tls.acme.challenges: The challenge "dns-01" needs "tls.acme.dns01.webhook"`,
      ],
    },
    {
      name: "a webhook that nobody would call, and directories that are none",
      given: {
        text: "listeners: [{ address: '127.0.0.1:80', kind: http }]\ntls:\n  acme:\n" +
          "    directory: http://a.example/dir\n    email: nobody\n    dns01: { webhook: 'ftp://a.example' }\n",
      },
      lines: [
        `${AT}:4:16: tls.acme.directory: Expected "production", "staging" or a URL such as "https://acme.example.com/directory"`,
        `${AT}:5:12: tls.acme.email: Expected an e-mail address`,
        `${AT}:6:5: tls.acme.dns01: Without effect: "dns-01" is not among "tls.acme.challenges"`,
        `${AT}:6:23: tls.acme.dns01.webhook: Expected a URL such as "https://dns.example.com/acme"`,
      ],
    },
    {
      name: "a webhook without effect",
      given: {
        text: "listeners: [{ address: '127.0.0.1:80', kind: http }]\ntls:\n  acme:\n" +
          "    dns01: { webhook: 'https://a.example' }\n",
      },
      lines: [`${AT}:4:5: tls.acme.dns01: Without effect: "dns-01" is not among "tls.acme.challenges"`],
    },
    {
      name: "--set names the option that holds a wrong value within",
      given: { set: ["limits={idleTimout: 5m, maxConnections: x}"] },
      lines: [
        '--set limits: limits.maxConnections: Expected a number, got "x"',
        '--set limits: limits.idleTimout: Unknown key; did you mean "idleTimeout"?',
      ],
    },
  ];
for (const { name, given, lines } of wrong) {
  test(`parseConfig() refuses ${name}`, () => assert.deepEqual(linesOf(given), lines));
}

test("tls.acme has defaults, and knows the directories of Let's Encrypt by their words", () => {
  const acmeOf = (acme: string) => {
    const text = `listeners: [{ address: "127.0.0.1:80", kind: http }]\ntls: { acme: ${acme} }\n`;
    const result = parse({ text });
    assert.deepEqual(result.ok ? [] : result.problems, []);
    return result.ok ? result.config.tls.acme : undefined;
  };
  assert.deepEqual(acmeOf("{}"), {
    directory: "https://acme-v02.api.letsencrypt.org/directory",
    cache: "conf/cert-cache",
    challenges: ["http-01"],
  });
  const all = acmeOf(
    "{ email: a@b.example, directory: staging, ca: ca.pem, cache: /var/c, challenges: [dns-01, dns-01], " +
      "dns01: { webhook: 'https://a.example/x', propagation: 1m } }",
  );
  assert.deepEqual(all, {
    email: "a@b.example",
    directory: "https://acme-staging-v02.api.letsencrypt.org/directory",
    ca: "conf/ca.pem",
    cache: "/var/c",
    challenges: ["dns-01"],
    dns01: { webhook: "https://a.example/x", propagationMs: 60_000 },
  });
});

const scalars: readonly (readonly [yaml: string, value: unknown])[] = [
  ["${PORT}", 8443],
  ['"${PORT}"', "8443"],
  ["'${PORT}'", "8443"],
  ["!!str ${PORT}", "8443"],
  ["${YES}", true],
  ["${DIGITS}", 12_345_678],
  ["x${PORT}", "x8443"],
  ["127.0.0.1:${PORT}", "127.0.0.1:8443"],
  ["${NOPE:-5s}", "5s"],
  ["${NOPE:-0x10}", 16],
  ["${NOPE:-}", undefined],
  ['"${NOPE:-}"', ""],
  ["${PADDED}", 7],
  ['"${PADDED}"', " 7 \n"],
  ["${LIST}", "[a, b]"],
  ["${MAP}", "a: b\nc: d"],
  ["${ALIAS}", "*x"],
  ["|\n      ${PORT}\n", "8443\n"],
  ["$${PORT}", "${PORT}"],
  ["${PORT}${PORT}", 84_438_443],
  ["[a, '${MAP}']", ["a", "a: b\nc: d"]],
];
for (const [yaml, value] of scalars) {
  test(`A value of ${JSON.stringify(yaml)} is ${JSON.stringify(value)}`, () => {
    assert.deepEqual(sectionOf({ text: `plugins:\n  static:\n    key: ${yaml}\n` }), { key: value });
  });
}

test("Variables in keys stay as they are", () => {
  assert.deepEqual(sectionOf({ text: "plugins: { static: { '${PORT}': 1 } }" }), { "${PORT}": 1 });
});

test("Aliases give every use its own copy, and --set changes only one", () => {
  const text = "plugins:\n  static: { a: &x { v: 1 }, b: *x }\n";
  assert.deepEqual(sectionOf({ text, set: ["plugins.static.b.v=2"] }), { a: { v: 1 }, b: { v: 2 } });
});

test("An alias stands for the last anchor above it", () => {
  assert.deepEqual(sectionOf({ text: "plugins: { static: [&x 1, *x, &x 2, *x] }" }), [1, 1, 2, 2]);
});

test("Aliases that multiply are stopped", () => {
  const levels = Array.from({ length: 9 }, (_, i) => `  k${i + 1}: &k${i + 1} [${Array(10).fill(`*k${i}`)}]`);
  const lines = linesOf({ text: `plugins:\n  k0: &k0 [x]\n${levels.join("\n")}\n`, plugins: [] });
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /More than 50000 values$/);
});

test("--set reaches any key, makes what is missing, and the last one wins", () => {
  const given = {
    text: "plugins: { static: { routes: [{ to: a, sni: x }] } }",
    set: [
      "plugins.static.routes[0].to=10.0.0.5:5432",
      "plugins.static.routes.1.to=[a, b]",
      "plugins.static.new.list[0].deep=5",
      "plugins.static.port=${PORT}",
      "plugins.static.text='5'",
      "plugins.static.eq=a=b",
      "plugins.static.twice=1",
      "plugins.static.twice=2",
      "plugins.static.gone=1",
      "plugins.static.gone=",
    ],
  };
  assert.deepEqual(sectionOf(given), {
    routes: [{ to: "10.0.0.5:5432", sni: "x" }, { to: ["a", "b"] }],
    new: { list: [{ deep: 5 }] },
    port: 8443,
    text: "5",
    eq: "a=b",
    twice: 2,
    gone: undefined,
  });
});

test("--set works without any file text, and resets a key to its default", () => {
  const set = [
    "listeners[0].address=127.0.0.1:0",
    "limits.idleTimeout=5m",
    "plugins.greeter={}",
    "log.level=",
  ];
  const result = parse({ text: "log: { level: debug }", set });
  assert.ok(result.ok);
  assert.equal(result.config.listeners[0]?.port, 0);
  assert.equal(result.config.limits.idleTimeoutMs, 300_000);
  assert.equal(result.config.log.level, "info");
  assert.deepEqual(result.config.plugins.map(({ name }) => name), ["greeter"]);
});

test("--plugins chooses and orders; sections of others are left alone", () => {
  const text = "plugins: { static: { a: 1 }, nobody: { b: 2 } }";
  const result = parse({ text, plugins: ["greeter", "static"] });
  assert.ok(result.ok);
  assert.deepEqual(result.config.plugins.map(({ name, section }) => [name, section]), [
    ["greeter", {}],
    ["static", { a: 1 }],
  ]);
});

for (const address of ["127.0.0.1:9", "127.8.8.8:9", "[::1]:9", "localhost:9", "LOCALHOST:9"]) {
  test(`The admin side needs no token on ${address}`, () => {
    assert.deepEqual(linesOf({ text: `admin: { address: "${address}" }` }), []);
  });
}

test("locate() finds keys, values, items, and the nearest parent of what is not there", () => {
  const result = parse({
    text: `limits:
  idleTimeout: 5m
plugins:
  static:
    routes:
      - sni: a
        to: [x, y]
      - { sni: b }
`,
    set: ["limits.maxConnections=5"],
  });
  assert.ok(result.ok);
  const at = (...path: (string | number)[]) => {
    const { file, line, column } = result.locate(path);
    return line === undefined ? file : `${line}:${column}`;
  };
  assert.equal(at("limits", "idleTimeout"), "2:16");
  assert.equal(at("limits"), "1:1");
  assert.equal(at("limits", "maxConnections"), "--set limits.maxConnections");
  assert.equal(at("plugins", "static", "routes"), "5:5");
  assert.equal(at("plugins", "static", "routes", 0, "sni"), "6:14");
  assert.equal(at("plugins", "static", "routes", 0, "to"), "7:9");
  assert.equal(at("plugins", "static", "routes", 0, "to", 1), "7:17");
  assert.equal(at("plugins", "static", "routes", 1, "to"), "8:9");
  assert.equal(at("plugins", "static", "routes", 9), "5:5");
  assert.equal(at("admin", "token"), "1:1");
  assert.equal(result.locate(["limits", "idleTimeout"], "key").column, 3);
});

test("pluginProblem() gives what a plugin found its place", () => {
  const result = parse({ text: "plugins:\n  static:\n    routes:\n      - too: x\n" });
  assert.ok(result.ok);
  const issue = { path: ["routes", 0, "too"], message: "Unknown key", unknownKey: true } as const;
  assert.equal(
    formatProblem(result.pluginProblem("static", issue)),
    `${AT}:4:9: plugins.static.routes[0].too: Unknown key`,
  );
  assert.equal(
    formatProblem(result.pluginProblem("greeter", { path: ["x"], message: "a\n  b" })),
    `${AT}:1:1: plugins.greeter.x: a b`,
  );
});

const words = fc.constantFrom(
  ..."listeners limits tls admin log plugins declarations address kind static idleTimeout ${PORT} ${X} &a *a !!map - ? : | > ' \" [ ] { } , # % @ ` --- ... << 0 1e9 ~ 5m"
    .split(" "),
  "\n",
  "\n  ",
  "\n    ",
  ": ",
  "\t",
  "\u0000",
  "\ud800",
  "\r\n",
);
const yamlish = fc.array(fc.oneof({ weight: 8, arbitrary: words }, fc.string()), { maxLength: 40 });

test("parseConfig() never throws, whatever the text and the options", () => {
  fc.assert(
    fc.property(yamlish, fc.array(fc.string()), fc.array(words), (parts, set, sets) => {
      const result = parse({
        text: parts.join(""),
        set: [...set, sets.join(""), `limits.x=${parts.join("")}`],
      });
      if (result.ok) return;
      assert.ok(result.problems.length > 0);
      for (const problem of result.problems) assert.doesNotMatch(formatProblem(problem), /[\r\n]/);
    }),
    { numRuns: Number(granted("env") && Deno.env.get("POSTERN_FUZZ_RUNS")) || 2000 },
  );
});
