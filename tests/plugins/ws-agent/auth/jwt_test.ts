import assert from "node:assert/strict";
import { base64url, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from "jose";
import {
  configOf,
  grantOf,
  hangingResponse,
  NOW,
  open,
  reasonOf,
  serve,
  SOURCE,
  TestClock,
} from "./harness.ts";
import type { RequestedService } from "../../../../plugins/ws-agent/auth/mod.ts";

const SECRET = "a-secret-of-more-than-32-bytes-for-hs256";
const KEY = new TextEncoder().encode(SECRET);
const EXP = NOW / 1000 + 3600;
const GOOD = { sub: "alice", iss: "idp", exp: EXP };

const demo: RequestedService = { name: "demo", protocol: "http", hostname: "demo.example.com" };
const named = (hostname: string): RequestedService => ({ name: "s", protocol: "http", hostname });
const tcp = (port: number): RequestedService => ({ name: "s", protocol: "tcp", port });

type Claims = Record<string, unknown>;
type Header = { alg: string; kid?: string; typ?: string; crit?: string[]; b64?: boolean };

async function sign(
  claims: Claims,
  key: CryptoKey | Uint8Array = KEY,
  header: Header = { alg: "HS256" },
): Promise<string> {
  return await new SignJWT(claims).setProtectedHeader(header).sign(key);
}

/** As somebody would make it who has no key. */
function forge(header: unknown, claims: unknown, signature = ""): string {
  return [header, claims].map((part) => base64url.encode(JSON.stringify(part))).concat(signature).join(".");
}

Deno.test("a JWT by a shared secret says who it is and until when", async () => {
  using opened = open({ jwt: { secret: SECRET, issuer: "idp" } });
  const grant = grantOf(await opened.try(await sign(GOOD)));
  assert.deepEqual([grant.owner, grant.principal, grant.expiresAt], ["alice", "jwt:idp:alice", EXP * 1000]);
  assert.equal(grant.stillGood(), undefined);
  assert.equal(grant.allows(demo), undefined);
  assert.match(String(grant.allows(named("api.customer.com"))), /may not have the name/);
  assert.equal(grant.allows(tcp(0)), undefined);
});

const REFUSED: readonly (readonly [what: string, claims: Claims, reason: string])[] = [
  ["no exp", { sub: "alice", iss: "idp" }, "malformed"],
  ["exp as text", { ...GOOD, exp: `${EXP}` }, "malformed"],
  ["exp that has come", { ...GOOD, exp: NOW / 1000 }, "expired"],
  ["exp a second ago", { ...GOOD, exp: NOW / 1000 - 1 }, "expired"],
  ["exp long ago", { ...GOOD, exp: 1 }, "expired"],
  ["nbf to come", { ...GOOD, nbf: NOW / 1000 + 60 }, "bad_token"],
  ["nbf as text", { ...GOOD, nbf: "now" }, "malformed"],
  ["another issuer", { ...GOOD, iss: "idp2" }, "bad_issuer"],
  ["no issuer", { sub: "alice", exp: EXP }, "bad_issuer"],
  ["an issuer in a list", { ...GOOD, iss: ["idp"] }, "bad_issuer"],
  ["an empty subject", { ...GOOD, sub: "" }, "malformed"],
  ["a subject that is no text", { ...GOOD, sub: 7 }, "malformed"],
  ["a subject that a terminal would obey", { ...GOOD, sub: "a\x1b[31m" }, "malformed"],
  ["a subject without end", { ...GOOD, sub: "a".repeat(300) }, "malformed"],
  ["another audience", { ...GOOD, aud: "other.example" }, "bad_token"],
  ["other audiences", { ...GOOD, aud: ["a", "b"] }, "bad_token"],
  ["an audience that is no text", { ...GOOD, aud: 7 }, "bad_token"],
  ["subdomains as text", { ...GOOD, subdomains: "*" }, "malformed"],
  ["subdomains with a number", { ...GOOD, subdomains: ["a", 1] }, "malformed"],
  ["a subdomain of two labels", { ...GOOD, subdomains: ["a.b"] }, "malformed"],
  ["accesses as text", { ...GOOD, access: "alice/db" }, "malformed"],
  ["an access without an owner", { ...GOOD, access: ["db"] }, "malformed"],
  ["subdomains null", { ...GOOD, subdomains: null }, "malformed"],
  ["a host name that is an address", { ...GOOD, hostnames: ["1.2.3.4"] }, "malformed"],
  ["ports out of range", { ...GOOD, ports: "1-70000" }, "malformed"],
  ["ports as a mapping", { ...GOOD, ports: { first: 1 } }, "malformed"],
];

for (const [what, claims, reason] of REFUSED) {
  Deno.test(`a JWT with ${what} is refused as ${reason}`, async () => {
    using opened = open({ jwt: { secret: SECRET, issuer: "idp" } });
    assert.equal(reasonOf(await opened.try(await sign(claims))), reason);
  });
}

Deno.test("a JWT may be for us among others, and its issuer's clock a little ahead", async () => {
  using opened = open({ jwt: { secret: SECRET } });
  for (
    const claims of [{ ...GOOD, aud: "example.com" }, { ...GOOD, aud: ["a", "example.com"] }, {
      ...GOOD,
      nbf: NOW / 1000 + 5,
    }]
  ) {
    assert.equal(reasonOf(await opened.try(await sign(claims))), "granted");
  }
  using other = open({ jwt: { secret: SECRET, audience: "tunnels" } });
  assert.equal(reasonOf(await other.try(await sign({ ...GOOD, aud: "tunnels" }))), "granted");
  assert.equal(reasonOf(await other.try(await sign({ ...GOOD, aud: "example.com" }))), "bad_token");
});

Deno.test("claims narrow what may be registered, each on its own", async () => {
  using opened = open({ jwt: { secret: SECRET } });
  const services = {
    demo,
    b: named("b-1.example.com"),
    api: named("api.customer.com"),
    any: tcp(0),
    port: tcp(30_000),
  };
  const table: readonly (readonly [claims: Claims, allowed: readonly string[]])[] = [
    [{}, ["demo", "b", "any", "port"]],
    [{ subdomains: ["b-*"] }, ["b", "any", "port"]],
    [{ subdomains: [] }, ["any", "port"]],
    [{ hostnames: ["*.customer.com"] }, ["demo", "b", "api", "any", "port"]],
    [{ subdomains: [], hostnames: ["api.customer.com"], ports: [] }, ["api"]],
    [{ ports: "30000-30001" }, ["demo", "b", "port"]],
    [{ ports: [30_000, "31000-31001"] }, ["demo", "b", "port"]],
    [{ ports: 30_001 }, ["demo", "b"]],
  ];
  for (const [claims, allowed] of table) {
    const grant = grantOf(await opened.try(await sign({ ...GOOD, ...claims })));
    const granted = Object.entries(services).filter(([, service]) => grant.allows(service) === undefined);
    assert.deepEqual(granted.map(([key]) => key), allowed, JSON.stringify(claims));
  }
});

Deno.test("an empty issuer is none, as go-tunnel writes it, and not the one that is configured", async () => {
  using open1 = open({ jwt: { secret: SECRET } });
  assert.equal(grantOf(await open1.try(await sign({ exp: EXP, iss: "" }))).principal, "jwt::");
  using open2 = open({ jwt: { secret: SECRET, issuer: "idp" } });
  assert.equal(reasonOf(await open2.try(await sign({ exp: EXP, iss: "" }))), "bad_issuer");
});

Deno.test("a claim says which private services of others may be reached; without it, none", async () => {
  using opened = open({ jwt: { secret: SECRET } });
  for (const [claims, expected] of [[{}, "may_not"], [{ access: ["alice/*"] }, "may"]] as const) {
    const grant = grantOf(await opened.try(await sign({ ...GOOD, ...claims })));
    assert.equal(grant.mayAccess({ owner: "alice", name: "db" }), expected);
    assert.equal(grant.mayAccess({ owner: "bob", name: "db" }), "may_not");
  }
});

Deno.test("principals of different parties differ", async () => {
  using opened = open({ jwt: { secret: SECRET } });
  const parties = [
    { iss: "a", sub: "b:c" },
    { iss: "a:b", sub: "c" },
    { iss: "a" },
    { sub: "a" },
    { iss: "a", sub: "%3A" },
    { iss: "a", sub: ":" },
    {},
  ];
  const principals = new Set<string>();
  for (const party of parties) {
    principals.add(grantOf(await opened.try(await sign({ exp: EXP, ...party }))).principal);
  }
  assert.equal(principals.size, parties.length);
});

Deno.test("what is not signed by the secret is refused, whatever it says of itself", async () => {
  using opened = open({ jwt: { secret: SECRET } });
  const { privateKey } = await generateKeyPair("ES256");
  const good = await sign(GOOD);
  const [head = "", body = "", signature = ""] = good.split(".");
  const forgeries: readonly (readonly [token: string, reason: string])[] = [
    [forge({ alg: "none" }, GOOD), "bad_signature"],
    [forge({ alg: "None" }, GOOD), "bad_signature"],
    [forge({ alg: "none" }, GOOD, signature), "bad_signature"],
    [forge({}, GOOD, signature), "malformed"],
    [await sign(GOOD, new TextEncoder().encode("another-secret-of-more-than-32-bytes")), "bad_signature"],
    [await sign(GOOD, KEY, { alg: "HS512" }), "bad_signature"],
    [await sign(GOOD, privateKey, { alg: "ES256" }), "bad_signature"],
    [`${head}.${base64url.encode(JSON.stringify({ ...GOOD, sub: "root" }))}.${signature}`, "bad_signature"],
    [`${head}.${body}.`, "bad_signature"],
    [`${head}.${body}.${signature.slice(0, -3)}AAA`, "bad_signature"],
    [`${base64url.encode("not json")}.${body}.${signature}`, "malformed"],
    [`${head}.${body}.${"A".repeat(20_000)}`, "malformed"],
    [forge({ alg: "HS256", crit: ["x"], x: 1 }, GOOD, signature), "malformed"],
  ];
  for (const [i, [token, reason]] of forgeries.entries()) {
    assert.equal(reasonOf(await opened.try(token)), reason, `forgery ${i}`);
  }
  assert.equal(reasonOf(await opened.try(good)), "granted");
});

Deno.test("a JWT that was verified once still ends at its time", async () => {
  using opened = open({ jwt: { secret: SECRET } });
  const token = await sign(GOOD);
  const grant = grantOf(await opened.try(token));
  grantOf(await opened.try(token));
  opened.clock.advance(3_600_000);
  assert.equal(reasonOf(await opened.try(token)), "expired");
  assert.equal(grant.stillGood(), "The JWT has expired");
  assert.equal(grant.allows(demo), "The JWT has expired");
});

Deno.test("grants by JWT end when the secret or the issuer changes, and stay when other things do", async () => {
  const changes: readonly (readonly [config: Parameters<typeof configOf>[0], isOver: boolean])[] = [
    [{
      jwt: { secret: SECRET, issuer: "idp" },
      tokens: "t",
      controller: { url: "http://127.0.0.1:1", timeoutMs: 1 },
    }, false],
    [{ jwt: { secret: SECRET, issuer: "other" } }, true],
    [{ jwt: { secret: `${SECRET}2`, issuer: "idp" } }, true],
    [{ jwt: { jwks: "https://127.0.0.1:1/", issuer: "idp" } }, true],
    [{}, true],
  ];
  for (const [config, isOver] of changes) {
    using opened = open({ jwt: { secret: SECRET, issuer: "idp" } });
    const token = await sign(GOOD);
    const grant = grantOf(await opened.try(token));
    opened.auth.reload(configOf(config), { t: "" });
    assert.equal(grant.stillGood() !== undefined, isOver, JSON.stringify(config));
    assert.equal(grant.allows(demo) !== undefined, isOver);
    if (isOver) assert.notEqual(reasonOf(await opened.try(token)), "granted");
  }
});

interface Issuer {
  readonly jwk: JWK;
  sign(claims?: Claims, header?: Partial<Header>): Promise<string>;
}

async function issuer(
  kid: string | undefined,
  alg: "ES256" | "RS256" = "ES256",
): Promise<Issuer & { spki: string }> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const named = kid === undefined ? {} : { kid };
  return {
    jwk: { ...await exportJWK(publicKey), ...named },
    spki: await exportSPKI(publicKey),
    sign: (claims = {}, header = {}) =>
      sign({ ...GOOD, ...claims }, privateKey, { alg, ...named, ...header }),
  };
}

const publish = (...issuers: Issuer[]) => () => Response.json({ keys: issuers.map(({ jwk }) => jwk) });

Deno.test("a JWT by published keys gets in, ES256 and RS256; they are fetched once", async () => {
  const [a, b] = [await issuer("a"), await issuer("b", "RS256")];
  await using server = serve(publish(a, b));
  using opened = open({ jwt: { jwks: server.url } });
  assert.equal(grantOf(await opened.try(await a.sign())).principal, "jwt:idp:alice");
  assert.equal(grantOf(await opened.try(await b.sign())).principal, "jwt:idp:alice");
  assert.equal(server.asked, 1);
  assert.equal(reasonOf(await opened.try(await sign({ exp: EXP, iss: "idp" }))), "bad_signature", "HS256");
  const noSubject = await a.sign({ sub: undefined });
  assert.equal(reasonOf(await opened.try(noSubject)), "malformed", "of a provider with many users");
});

Deno.test("a public key is no secret: HS256 with it is refused", async () => {
  const rsa = await issuer("a", "RS256");
  await using server = serve(publish(rsa));
  using opened = open({ jwt: { jwks: server.url } });
  for (const secret of [rsa.spki, rsa.spki.trim(), rsa.jwk.n ?? "", JSON.stringify(rsa.jwk)]) {
    const token = await sign(GOOD, new TextEncoder().encode(secret), { alg: "HS256", kid: "a" });
    assert.equal(reasonOf(await opened.try(token)), "bad_signature");
  }
  assert.equal(reasonOf(await opened.try(forge({ alg: "none", kid: "a" }, GOOD))), "bad_signature");
  const wrongKind = await (await issuer("a")).sign();
  assert.equal(reasonOf(await opened.try(wrongKind)), "bad_signature", "ES256 under the name of an RSA key");
});

Deno.test("keys for encryption, and keys that nobody names, are not taken", async () => {
  const [forEncryption, first, second] = [
    await issuer("e"),
    await issuer(undefined),
    await issuer(undefined),
  ];
  forEncryption.jwk.use = "enc";
  await using server = serve(publish(forEncryption, first));
  using opened = open({ jwt: { jwks: server.url } });
  assert.equal(reasonOf(await opened.try(await forEncryption.sign())), "bad_signature");
  assert.equal(reasonOf(await opened.try(await first.sign())), "granted", "the only one that fits");
  await using ambiguous = serve(publish(first, second));
  using other = open({ jwt: { jwks: ambiguous.url } });
  assert.equal(reasonOf(await other.try(await first.sign())), "bad_signature");
});

Deno.test("a new key is found when a token names it, but not again and again", async () => {
  const [old, next] = [await issuer("old"), await issuer("next")];
  await using server = serve(publish(old));
  using opened = open({ jwt: { jwks: server.url }, clock: new TestClock() });
  grantOf(await opened.try(await old.sign()));
  server.answer(publish(old, next));
  opened.clock.advance(10_000);
  assert.equal(reasonOf(await opened.try(await next.sign())), "granted");
  assert.equal(server.asked, 2);
  const stranger = await issuer("stranger");
  for (let i = 0; i < 20; i++) {
    assert.equal(reasonOf(await opened.try(await stranger.sign({ i }))), "bad_signature");
  }
  assert.ok(server.asked <= 3, `${server.asked}`);
  grantOf(await opened.try(await old.sign({ again: 1 })));
});

Deno.test("a key that is withdrawn opens nothing, and ends who came with it", async () => {
  const [old, next] = [await issuer("old"), await issuer("next")];
  await using server = serve(publish(old));
  using opened = open({ jwt: { jwks: server.url } });
  const token = await old.sign({ exp: EXP + 86_400 });
  const grant = grantOf(await opened.try(token));
  server.answer(publish(next));
  opened.clock.advance(900_000);
  assert.equal(reasonOf(await opened.try(token)), "bad_signature", "although it was verified once");
  assert.equal(grant.stillGood(), "The key that the JWT was signed with has been withdrawn");
});

Deno.test("keys are fetched anew beside the work, and a server that is down for a while harms nobody", async () => {
  const a = await issuer("a");
  await using server = serve(publish(a));
  using opened = open({ jwt: { jwks: server.url } });
  const live = grantOf(await opened.try(await a.sign()));
  server.answer(() => new Response("down", { status: 503 }));
  opened.clock.advance(600_000);
  assert.equal(reasonOf(await opened.try(await a.sign({ n: 1 }))), "granted");
  opened.clock.advance(300_000);
  assert.equal(reasonOf(await opened.try(await a.sign({ n: 2 }))), "keys_unavailable", "too old by now");
  assert.equal(reasonOf(await opened.try(await a.sign())), "keys_unavailable", "also what was verified once");
  assert.equal(live.stillGood(), undefined);
  server.answer(publish(a));
  opened.clock.advance(10_000);
  assert.equal(reasonOf(await opened.try(await a.sign({ n: 3 }))), "granted");
  assert.deepEqual([...new Set(opened.events.map(({ event }) => event))], ["jwks_unavailable"]);
});

Deno.test("without keys nobody gets in, whatever the server does; it is nobody's failure", async () => {
  const a = await issuer("a");
  const over = new AbortController();
  const elsewhere = serve(publish(a));
  const answers: Readonly<Record<string, () => Response>> = {
    "status 500": () => new Response("", { status: 500 }),
    "a redirect to good keys": () => Response.redirect(elsewhere.url, 302),
    "no JSON": () => new Response("<html>"),
    "no key set": () => Response.json([a.jwk]),
    "too much": () => Response.json({ keys: [{ ...a.jwk, x5c: ["A".repeat(70_000)] }] }),
    "too many": () =>
      Response.json({ keys: Array.from({ length: 65 }, (_, i) => ({ kty: "EC", kid: `${i}` })) }),
  };
  try {
    for (const [what, answer] of Object.entries(answers)) {
      await using server = serve(answer);
      using opened = open({ jwt: { jwks: server.url }, failedAuthPerMinute: 1 });
      for (let i = 0; i < 5; i++) {
        assert.equal(reasonOf(await opened.try(await a.sign())), "keys_unavailable", what);
      }
      assert.equal(server.asked, 1, `${what}: asked once within the cooldown`);
    }
    assert.equal(elsewhere.asked, 0);
  } finally {
    over.abort();
    await elsewhere[Symbol.asyncDispose]();
  }
});

Deno.test("a server of keys that hangs is waited for by all together, and left at the end", async () => {
  const over = new AbortController();
  await using server = serve(() => hangingResponse(over.signal));
  const opened = open({ jwt: { jwks: server.url } });
  const a = await issuer("a");
  const { signal } = new AbortController();
  const results = await Promise.all(
    [1, 2, 3].map(async (n) => opened.auth.authenticate(await a.sign({ n }), SOURCE, { signal })).concat(
      new Promise((resolve) => setTimeout(resolve, 50)).then(() => {
        assert.equal(server.asked, 1);
        opened[Symbol.dispose]();
        return opened.try("x");
      }),
    ),
  );
  over.abort();
  assert.deepEqual(results.map(reasonOf), [
    "keys_unavailable",
    "keys_unavailable",
    "keys_unavailable",
    "bad_token",
  ]);
});
