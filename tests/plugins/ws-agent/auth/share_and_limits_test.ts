/** Who may share services, and what a token may use: by token file, by JWT, by a controller's answer. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import type { RequestedService } from "../../../../plugins/ws-agent/auth/mod.ts";
import { createToken } from "../../../../plugins/ws-agent/auth/token.ts";
import { readTokenFile } from "../../../../plugins/ws-agent/auth/token_file.ts";
import { configOf, entryOf, grantOf, NOW, open, reasonOf, serve, SOURCE, TestClock } from "./harness.ts";

const SECRET = "a-secret-of-more-than-32-bytes-for-hs256";
const SHARED: RequestedService = {
  name: "demo",
  protocol: "http",
  hostname: "demo.example.com",
  shared: true,
};
const { shared: _shared, ...ALONE } = SHARED;
const NO = "This token may not share services between agents (allow.share)";
const LIMITS = { bandwidth: 10 * 2 ** 20, streams: 5, tunnels: 2, services: 3 };
const WRITTEN = { ...LIMITS, bandwidth: "10MiB" };

function sign(claims: Record<string, unknown>): Promise<string> {
  return new SignJWT({ sub: "alice", exp: NOW / 1000 + 3600, ...claims })
    .setProtectedHeader({ alg: "HS256" })
    .sign(new TextEncoder().encode(SECRET));
}

const policies: readonly { readonly allow: string; readonly answer: string | undefined }[] = [
  { allow: "", answer: NO },
  { allow: 'allow: { subdomains: ["*"] }', answer: NO },
  { allow: 'allow: { subdomains: ["*"], share: false }', answer: NO },
  { allow: 'allow: { subdomains: ["*"], share: true }', answer: undefined },
];

for (const { allow, answer } of policies) {
  Deno.test(`a token with "${allow}" ${answer === undefined ? "may" : "may not"} share`, async () => {
    const token = createToken();
    using opened = open({ tokens: "t", files: { t: entryOf("a", token, allow) } });
    const grant = grantOf(await opened.try(token));
    assert.equal(await grant.allows(SHARED), answer);
    assert.equal(await grant.allows(ALONE), undefined);
  });
}

Deno.test("a token's limits are those that the file says today", async () => {
  const token = createToken();
  const files = (limits: string) => ({ t: entryOf("a", token, limits) });
  using opened = open({
    tokens: "t",
    files: files("limits: { bandwidth: 10MiB, streams: 5, tunnels: 2, services: 3 }"),
  });
  const grant = grantOf(await opened.try(token));
  assert.deepEqual(grant.limits, LIMITS);
  opened.auth.reload(configOf({ tokens: "t" }), files("limits: { streams: 7 }"));
  assert.deepEqual(grant.limits, { streams: 7 });
  opened.auth.reload(configOf({ tokens: "t" }), files(""));
  assert.equal(grant.limits, undefined);
});

for (
  const limits of [
    "{ bandwidth: 10 }",
    "{ bandwidth: fast }",
    "{ streams: 0 }",
    "{ tunnels: -1 }",
    "{ services: 1.5 }",
    "{ speed: 10MiB }",
    "10MiB",
  ]
) {
  Deno.test(`a token file with "limits: ${limits}" is refused`, () => {
    const result = readTokenFile(entryOf("a", createToken(), `limits: ${limits}`), "f");
    assert.ok(!result.ok && result.problems.length === 1);
    assert.match(result.problems[0]?.path ?? "", /^a\.limits/);
  });
}

Deno.test("a JWT's claims say whether it may share, and its limits; what can't be read refuses it", async () => {
  using opened = open({ jwt: { secret: SECRET } });
  const plain = grantOf(await opened.try(await sign({})));
  assert.deepEqual([await plain.allows(SHARED), plain.limits], [NO, undefined]);
  const grant = grantOf(await opened.try(await sign({ share: true, limits: WRITTEN })));
  assert.deepEqual([await grant.allows(SHARED), grant.limits], [undefined, LIMITS]);
  for (const claims of [{ share: "yes" }, { limits: { streams: "many" } }, { limits: { stream: 1 } }]) {
    assert.equal(reasonOf(await opened.try(await sign(claims))), "malformed", JSON.stringify(claims));
  }
});

Deno.test("a controller is asked whether a service may be shared, and a yes that does not say so is a no", async () => {
  const asked: unknown[] = [];
  let share: boolean | undefined;
  await using controller = serve(async (request) => {
    asked.push((await request.json()).service);
    return Response.json({ allow: true, subject: "bob", share });
  });
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try("a-token"));
  for (const [says, answer] of [[undefined, NO], [false, NO], [true, undefined]] as const) {
    share = says;
    assert.equal(await grant.allows(SHARED), answer);
    assert.equal(await grant.allows(ALONE), undefined);
  }
  const service = { name: "demo", protocol: "http", hostname: "demo.example.com" };
  assert.deepEqual(asked.slice(0, 3), [undefined, { ...service, shared: true }, service]);
});

Deno.test("a controller's answer about the token says its limits, also when it is asked again", async () => {
  let limits: unknown = WRITTEN;
  await using controller = serve(() => Response.json({ allow: true, subject: "bob", limits }));
  const clock = new TestClock("still");
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 }, clock });
  const grant = grantOf(await opened.try("a-token", SOURCE));
  assert.deepEqual(grant.limits, LIMITS);
  limits = { streams: 1 };
  clock.advance(10_000);
  grant.stillGood(); // asks in the background
  while (controller.asked < 2 || grant.limits?.bandwidth !== undefined) {
    await new Promise((go) => setTimeout(go));
  }
  assert.deepEqual(grant.limits, { streams: 1 });
  limits = { streams: "many" };
  assert.equal(reasonOf(await opened.try("another")), "controller_unavailable");
});
