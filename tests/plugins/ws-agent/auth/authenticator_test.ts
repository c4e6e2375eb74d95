import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { GatewayError } from "../../../../core/errors.ts";
import type { RequestedService } from "../../../../plugins/ws-agent/auth/mod.ts";
import { createToken } from "../../../../plugins/ws-agent/auth/token.ts";
import { configOf, entryOf, grantOf, open, reasonOf, serve, SOURCE, TestClock } from "./harness.ts";

const DEMO: RequestedService = {
  name: "demo",
  protocol: "http",
  hostname: "demo.example.com",
  isSubdomain: true,
};
const FOREIGN: RequestedService = { name: "api", protocol: "http", hostname: "api.customer.com" };
const SECRET = "a-secret-of-more-than-32-bytes-for-hs256";

const token = createToken();
const files = (text: string) => ({ "tokens.yaml": text });

function withTokens(text: string, more = {}) {
  return open({ tokens: "tokens.yaml", files: files(text), ...more });
}

Deno.test("without anything configured nobody gets in, and the log says so", async () => {
  using opened = open();
  assert.equal(reasonOf(await opened.try(token)), "bad_token");
  assert.equal(reasonOf(await opened.try("a.b.c")), "bad_token");
  assert.deepEqual(opened.events.map(({ event }) => event), ["nobody_may_connect"]);
});

Deno.test("a token of the file gets in, as its name; any other one does not", async () => {
  using opened = withTokens(entryOf("ci", token, "name: Build machines") + entryOf("b", createToken()));
  const grant = grantOf(await opened.try(token));
  assert.deepEqual([grant.owner, grant.principal], ["Build machines", "token:ci"]);
  assert.equal(grant.expiresAt, undefined);
  assert.equal(await grant.allows(DEMO), undefined);
  assert.match(await grant.allows(FOREIGN) ?? "", /may not have the name "api\.customer\.com"/);
  for (const wrong of [createToken(), token.slice(0, -1), `${token} `, token.toUpperCase(), "pst_", "ci"]) {
    assert.equal(reasonOf(await opened.try(wrong)), "bad_token");
  }
  for (const wrong of ["", "x".repeat(70_000)]) assert.equal(reasonOf(await opened.try(wrong)), "malformed");
  assert.deepEqual(Object.fromEntries(opened.auth.failures), { bad_token: 6, malformed: 2 });
});

Deno.test("the digest of a token is no token", async () => {
  using opened = withTokens(entryOf("a", token));
  const digest = entryOf("a", token).match(/[0-9a-f]{64}/)?.[0] ?? "";
  assert.equal(digest.length, 64);
  assert.equal(reasonOf(await opened.try(digest)), "bad_token");
});

Deno.test("tokens that are over are told apart from those that never were", async () => {
  const [expired, revoked] = [createToken(), createToken()];
  const text = entryOf("e", expired, "expires: 2026-11-21") + entryOf("r", revoked, "revoked: 2026-11-01");
  using opened = withTokens(text);
  assert.equal(reasonOf(await opened.try(expired)), "expired");
  assert.equal(reasonOf(await opened.try(revoked)), "revoked");
});

Deno.test("a token ends at its time, also for who is in", async () => {
  using opened = withTokens(entryOf("a", token, "expires: 2026-11-21T12:01:00Z"));
  const grant = grantOf(await opened.try(token));
  assert.equal(grant.expiresAt, Date.parse("2026-11-21T12:01:00Z"));
  assert.equal(grant.stillGood(), undefined);
  opened.clock.advance(60_000);
  assert.equal(grant.stillGood(), "This token has expired");
  assert.equal(await grant.allows(DEMO), "This token has expired");
});

const RELOADS: readonly (readonly [what: string, text: string, stillGood: string | undefined])[] = [
  ["nothing", entryOf("a", token), undefined],
  ["another token is added", entryOf("b", createToken()) + entryOf("a", token), undefined],
  ["it is removed", entryOf("b", createToken()), "This token has been removed"],
  ["its id has another token", entryOf("a", createToken()), "This token has been removed"],
  ["it is revoked", entryOf("a", token, "revoked: true"), "This token has been revoked"],
  ["its end is put forward", entryOf("a", token, "expires: 2026-11-21"), "This token has expired"],
];

for (const [what, text, stillGood] of RELOADS) {
  Deno.test(`after a reload in which ${what}, a grant is ${stillGood === undefined ? "good" : "over"}`, async () => {
    using opened = withTokens(entryOf("a", token));
    const grant = grantOf(await opened.try(token));
    opened.auth.reload(configOf({ tokens: "tokens.yaml" }), files(text));
    assert.equal(grant.stillGood(), stillGood);
    assert.equal(await grant.allows(DEMO), stillGood);
  });
}

Deno.test("what is allowed follows the file", async () => {
  using opened = withTokens(entryOf("a", token));
  const grant = grantOf(await opened.try(token));
  assert.equal(grant.ports, undefined);
  opened.auth.reload(
    configOf({ tokens: "tokens.yaml" }),
    files(entryOf("a", token, "allow: { hostnames: [api.customer.com], ports: 30000-30001 }")),
  );
  assert.equal(grant.stillGood(), undefined);
  assert.match(await grant.allows(DEMO) ?? "", /may not have the name/);
  assert.equal(await grant.allows(FOREIGN), undefined);
  assert.deepEqual(grant.ports, [{ first: 30_000, last: 30_001 }]);
});

Deno.test("a broken file is an error at the start that names entry and reason", () => {
  assert.throws(
    () => withTokens(entryOf("a", token, "expires: soon")),
    (error) =>
      error instanceof GatewayError && /^tokens\.yaml:1:\d+: a\.expires: Expected a time/.test(error.message),
  );
  assert.throws(() => open({ tokens: "tokens.yaml" }), /The token file "tokens\.yaml" was not read/);
});

Deno.test("a broken file is refused at a reload, and changes nothing", async () => {
  using opened = withTokens(entryOf("a", token));
  const grant = grantOf(await opened.try(token));
  const config = configOf({ tokens: "tokens.yaml", domain: "other.example", failedAuthPerMinute: 1 });
  assert.throws(() => opened.auth.reload(config, files("- {")), GatewayError);
  assert.equal(grant.stillGood(), undefined);
  assert.equal(await grant.allows(DEMO), undefined, "the old domain");
  assert.equal(reasonOf(await opened.try("x")), "bad_token");
  assert.equal(reasonOf(await opened.try("x")), "bad_token", "the old limit");
  assert.equal(reasonOf(await opened.try(token)), "granted");
});

async function signed(claims: Record<string, unknown> = {}): Promise<string> {
  return await new SignJWT({ exp: 1e11, sub: "x", ...claims }).setProtectedHeader({ alg: "HS256" })
    .sign(new TextEncoder().encode(SECRET));
}

Deno.test("each kind of token is asked about in one place, and in no other after a refusal", async () => {
  await using controller = serve(async (request) => {
    const { token } = await request.json();
    return Response.json(
      token === "known" ? { allow: true, subject: "bob", ttl: 0 } : { allow: false, reason: "no" },
    );
  });
  const over = createToken();
  using opened = withTokens(entryOf("a", token) + entryOf("over", over, "revoked: true"), {
    jwt: { secret: SECRET },
    controller: { url: controller.url, timeoutMs: 5000 },
  });
  const cases: readonly (readonly [token: string, outcome: string, asked: number])[] = [
    [await signed(), "jwt::x", 0],
    [(await signed()).slice(0, -2) + "AA", "bad_signature", 0],
    ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", "bad_signature", 0],
    [token, "token:a", 0],
    [over, "revoked", 0],
    ["known", "controller:bob", 1],
    ["unknown", "controller_refused", 1],
  ];
  for (const [shown, outcome, asked] of cases) {
    const before = controller.asked;
    const result = await opened.try(shown);
    assert.equal("grant" in result ? result.grant.principal : result.refusal.reason, outcome);
    assert.equal(controller.asked - before, asked, outcome);
  }
});

Deno.test("what looks like a JWT is an ordinary token where none are configured", async () => {
  using opened = withTokens(entryOf("odd", "a.b.c"));
  assert.equal(grantOf(await opened.try("a.b.c")).principal, "token:odd");
});

Deno.test("who fails too often is blocked, before anything is compared, until it is forgotten", async () => {
  using opened = withTokens(entryOf("a", token), { failedAuthPerMinute: 3 });
  for (let i = 0; i < 3; i++) assert.equal(reasonOf(await opened.try("wrong")), "bad_token");
  assert.equal(reasonOf(await opened.try("wrong")), "blocked");
  assert.equal(reasonOf(await opened.try(token)), "blocked", "a good token, too");
  assert.equal(reasonOf(await opened.try(token, "192.0.2.2")), "granted", "from another source");
  opened.clock.advance(60_000);
  assert.equal(reasonOf(await opened.try(token)), "granted");
  assert.deepEqual(Object.fromEntries(opened.auth.failures), { bad_token: 3, blocked: 2 });
});

Deno.test("a /64 of IPv6 is one source", async () => {
  using opened = withTokens(entryOf("a", token), { failedAuthPerMinute: 1 });
  assert.equal(reasonOf(await opened.try("wrong", "2001:db8::1")), "bad_token");
  assert.equal(reasonOf(await opened.try(token, "2001:db8::2")), "blocked");
  assert.equal(reasonOf(await opened.try(token, "2001:db8:0:1::2")), "granted");
});

Deno.test("who gets in is never counted, and 0 is no limit", async () => {
  using opened = withTokens(entryOf("a", token), { failedAuthPerMinute: 1 });
  for (let i = 0; i < 50; i++) assert.equal(reasonOf(await opened.try(token)), "granted");
  opened.auth.reload(configOf({ tokens: "tokens.yaml", failedAuthPerMinute: 0 }), files(entryOf("a", token)));
  for (let i = 0; i < 50; i++) assert.equal(reasonOf(await opened.try("wrong")), "bad_token");
});

Deno.test("of many attempts at once hardly more are looked at than may fail", async () => {
  using opened = withTokens(entryOf("a", token), { failedAuthPerMinute: 5 });
  const results = await Promise.all(Array.from({ length: 200 }, () => opened.try("wrong")));
  const compared = results.filter((result) => reasonOf(result) === "bad_token").length;
  assert.ok(compared >= 5 && compared <= 5 + 16, `${compared}`);
  assert.equal(results.filter((result) => reasonOf(result) === "blocked").length, 200 - compared);
});

Deno.test("a failed attempt is answered after a moment, a good one at once", async () => {
  const clock = new TestClock("still");
  using opened = withTokens(entryOf("a", token), { clock });
  grantOf(await opened.try(token));
  assert.equal(clock.timers, 0);
  let answered = 0;
  const failing = Array.from({ length: 10 }, () => opened.try("wrong").finally(() => answered++));
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual([answered, clock.timers], [0, 1], "one timer for all");
  clock.advance(250);
  await Promise.all(failing);
  assert.equal(clock.timers, 0);
});

Deno.test("at the end nobody is kept waiting", async () => {
  const clock = new TestClock("still");
  const opened = withTokens(entryOf("a", token), { clock });
  const failing = opened.try("wrong");
  await new Promise((resolve) => setTimeout(resolve, 0));
  opened[Symbol.dispose]();
  assert.equal(reasonOf(await failing), "bad_token");
  assert.equal(clock.timers, 0);
});

Deno.test("who has left while standing in line takes no place", async () => {
  const { promise: blocked, resolve: unblock } = Promise.withResolvers<void>();
  await using controller = serve(async () => {
    await blocked;
    return Response.json({ allow: true, subject: "x", ttl: 0 });
  });
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const first = Array.from({ length: 16 }, () => opened.try("t"));
  const leaving = new AbortController();
  const seventeenth = opened.auth.authenticate("t", SOURCE, { signal: leaving.signal });
  const eighteenth = opened.try("t");
  leaving.abort();
  assert.equal(reasonOf(await seventeenth), "blocked");
  unblock();
  for (const result of await Promise.all([...first, eighteenth])) assert.equal(reasonOf(result), "granted");
  assert.equal(controller.asked, 17);
});
