import assert from "node:assert/strict";
import { GatewayError } from "../../../../core/errors.ts";
import {
  endOf,
  parseTime,
  parseTokenFile,
  readTokenFile,
} from "../../../../plugins/ws-agent/auth/token_file.ts";
import { createToken, createTokenId, digestOf } from "../../../../plugins/ws-agent/auth/token.ts";
import { NOW } from "./harness.ts";

const SHA256 = "ab".repeat(32);
const OTHER = "cd".repeat(32);

Deno.test("a token file is read with all that can stand in it", () => {
  const text = `# our agents
- id: ci
  name: Build machines
  sha256: ${SHA256.toUpperCase()}
  created: 2026-01-02T03:04:05Z
  expires: 2027-01-01
  allow:
    subdomains: [CI-*]
    hostnames: ["*.Customer.com"]
    ports: [30000-30100, 31000]
    protocols: [http, tcp]
- { id: old, sha256: ${OTHER}, created: 2026-01-01, revoked: true }
`;
  const [ci, old, ...rest] = parseTokenFile(text, "tokens.yaml");
  assert.deepEqual(rest, []);
  assert.ok(ci?.allow !== undefined && old !== undefined);
  const { hostnames, ...allow } = ci.allow;
  assert.deepEqual(hostnames.map((pattern) => pattern.text), ["*.customer.com"]);
  assert.deepEqual({ ...ci, allow }, {
    id: "ci",
    name: "Build machines",
    sha256: SHA256,
    created: Date.UTC(2026, 0, 2, 3, 4, 5),
    expires: Date.UTC(2027, 0, 1),
    allow: {
      subdomains: ["ci-*"],
      ports: [{ first: 30_000, last: 30_100 }, { first: 31_000, last: 31_000 }],
      protocols: ["http", "tcp"],
    },
  });
  assert.equal(endOf(ci, NOW), undefined);
  assert.equal(endOf(ci, Date.UTC(2027, 0, 1)), "expired");
  assert.equal(endOf(old, NOW), "revoked");
});

Deno.test("within an allow, what is not listed is not allowed", () => {
  const [entry] = parseTokenFile(
    `- { id: a, sha256: ${SHA256}, created: 2026-01-01, allow: { subdomains: [a] } }`,
    "f",
  );
  assert.deepEqual(entry?.allow, { subdomains: ["a"], hostnames: [], ports: [] });
  const [none] = parseTokenFile(`- { id: a, sha256: ${SHA256}, created: 2026-01-01, allow: {} }`, "f");
  assert.deepEqual(none?.allow, { subdomains: [], hostnames: [], ports: [] });
});

for (const text of ["", "# only a comment\n", "[]\n", "---\n"]) {
  Deno.test(`a file of ${JSON.stringify(text)} has no tokens`, () => {
    assert.deepEqual(parseTokenFile(text, "tokens.yaml"), []);
  });
}

const good = `id: a, sha256: ${SHA256}, created: 2026-01-01`;
const WRONG: readonly (readonly [text: string, says: RegExp])[] = [
  ["tokens: []", /^t\.yaml:1:1: Expected a list of tokens/],
  ["- {", /^t\.yaml:/],
  ["- just text", /^t\.yaml:1:3: \[0\]: Expected an entry with id, sha256 and created$/],
  [`- { sha256: ${SHA256}, created: 2026-01-01 }`, /\[0\]\.id: Expected an id/],
  [`- { id: "a b", sha256: ${SHA256}, created: 2026-01-01 }`, /\[0\]\.id: Expected an id/],
  ["- { id: a, created: 2026-01-01 }", /^t\.yaml:1:3: a\.sha256: Expected the SHA-256 of a token/],
  ["- { id: a, sha256: abc, created: 2026-01-01 }", /a\.sha256: Expected 64 hex digits/],
  [`- { id: a, sha256: ${"1".repeat(64)}, created: 2026-01-01 }`, /a\.sha256: Expected the SHA-256/],
  [`- { id: a, sha256: ${SHA256}, created: yesterday }`, /a\.created: Expected a time such as/],
  [`- { ${good}, expires: 2027-13-01 }`, /a\.expires: Expected a time such as/],
  [`- { ${good}, revoked: maybe }`, /a\.revoked: Expected a time such as/],
  [`- { ${good}, alow: {} }`, /a\.alow: Unknown key; did you mean "allow"\?/],
  [
    `- { ${good}, allow: { subdomain: [a] } }`,
    /a\.allow\.subdomain: Unknown key; did you mean "subdomains"\?/,
  ],
  [`- { ${good}, allow: { subdomains: [a.b] } }`, /a\.allow\.subdomains\[0\]: Expected one label of a name/],
  [`- { ${good}, allow: { subdomains: ["-a"] } }`, /a\.allow\.subdomains\[0\]: Expected one label of a name/],
  [
    `- { ${good}, allow: { hostnames: [1.2.3.4] } }`,
    /a\.allow\.hostnames\[0\]: "1\.2\.3\.4" is no name to match/,
  ],
  [`- { ${good}, allow: { ports: 40000-30000 } }`, /a\.allow\.ports.*: Expected a port or a range of ports/],
  [
    `- { ${good}, allow: { protocols: [ssh] } }`,
    /a\.allow\.protocols\[0\]: Expected "http", "tcp", "tls" or "udp"/,
  ],
  [
    `- { ${good} }\n- { id: a, sha256: ${OTHER}, created: 2026-01-01 }`,
    /^t\.yaml:2:9: a\.id: Another entry has this id already$/,
  ],
  [
    `- { ${good} }\n- { id: b, sha256: ${SHA256}, created: 2026-01-01 }`,
    /b\.sha256: Another entry has this sha256 already/,
  ],
];

for (const [text, says] of WRONG) {
  Deno.test(`a token file is refused as a whole, with a place and a reason: ${text}`, () => {
    assert.throws(() => parseTokenFile(text, "t.yaml"), (error) => {
      assert.ok(error instanceof GatewayError && error.code === "config-invalid");
      assert.match(error.message, says);
      return true;
    });
  });
}

Deno.test("of many faults, three are told and the others counted", () => {
  const text = Array.from({ length: 9 }, (_, i) => `- { id: a${i}, sha256: x, created: 2026-01-01 }\n`).join(
    "",
  );
  assert.throws(
    () => parseTokenFile(text, "t.yaml"),
    /a0\.sha256.*; .*a1\.sha256.*; .*a2\.sha256.*; and 6 more$/,
  );
});

Deno.test("a token that stands in the wrong place is not shown", () => {
  const token = createToken();
  for (
    const text of [
      `- ${token}`,
      token,
      `- { id: ${token}, sha256: x, created: 2026-01-01 }`,
      `- { id: a, sha256: ${token}, created: ${token}, expires: ${token}, revoked: ${token} }`,
      `- { ${good}, token: ${token} }`,
      `- { ${good}, allow: ${token} }`,
      `- { ${good}, name: [${token}] }`,
      `- id: a\n  sha256: &${token} *${token}x\n`,
      `- "${token}\n`,
    ]
  ) {
    const result = readTokenFile(text, "t.yaml");
    assert.equal(result.ok, false, text);
    assert.ok(!JSON.stringify(result).includes(token.slice(4)), `${text}\n${JSON.stringify(result)}`);
  }
});

Deno.test("tokens have 256 random bits, and ids that YAML takes for text", () => {
  const tokens = new Set(Array.from({ length: 100 }, createToken));
  assert.equal(tokens.size, 100);
  for (const token of tokens) {
    assert.match(token, /^pst_[\w-]{43}$/);
    assert.match(createTokenId(), /^t[0-9a-f]{8}$/);
  }
  // NIST's example for SHA-256.
  assert.equal(digestOf("abc").toHex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

Deno.test("times are days in UTC, or times with a zone", () => {
  assert.equal(parseTime("2027-01-31"), Date.UTC(2027, 0, 31));
  assert.equal(parseTime("2027-01-31T12:00:00+02:00"), Date.UTC(2027, 0, 31, 10));
  for (const text of ["2027", "2027-1-1", "2027-01-31T12:00:00", "tomorrow", "2027-02-30x", "", "1e3"]) {
    assert.equal(parseTime(text), undefined, text);
  }
});
