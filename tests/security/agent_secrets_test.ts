import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { createToken, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { configOf, entryOf, open, reasonOf, serve } from "../plugins/ws-agent/auth/harness.ts";

const JWT_SECRET = "planted-jwt-secret-of-more-than-32-bytes-90de";
const URL_PASSWORD = "planted-url-password-77ab";

/** What must be in nothing that is told: tokens, whole or in part, digests, keys. */
function assertClean(where: string, told: unknown, secrets: readonly string[]): void {
  const text = JSON.stringify(
    told,
    (_, value) => value instanceof Error ? `${value.stack} ${value.cause}` : value,
  );
  for (const secret of secrets) assert.ok(!text.includes(secret), `${where} shows ${secret}:\n${text}`);
}

Deno.test("nothing that authentication tells or logs has a secret in it: working, refusing, failing, reloading", async () => {
  const [good, over, unknown] = [createToken(), createToken(), createToken()];
  const sign = (claims: Record<string, unknown>) =>
    new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(JWT_SECRET));
  const jwts = [
    await sign({ sub: "alice", exp: 1e11 }),
    await sign({ sub: "alice", exp: 1 }),
    await sign({ sub: "alice" }),
    await sign({ sub: "alice", exp: 1e11, ports: ["x"] }),
    `${await sign({ exp: 1e11 })}x`,
  ];
  const tokens = [good, over, unknown, ...jwts];
  const secrets = [
    ...tokens.flatMap((token) => [token, token.slice(0, 20), digestOf(token).toHex()]),
    JWT_SECRET,
    URL_PASSWORD,
  ];
  let status = 200;
  await using controller = serve(async (request) => {
    const body = await request.text(); // an answer that repeats what was sent must not get into the log
    return new Response(status === 200 ? JSON.stringify({ allow: false, reason: "no" }) : body, { status });
  });
  const url = controller.url.replace(/\/$/, `/check?key=${URL_PASSWORD}`);
  const text = entryOf("a", good) + entryOf("over", over, "revoked: true");
  const files = { "tokens.yaml": text };
  const config = { tokens: "tokens.yaml", jwt: { secret: JWT_SECRET }, controller: { url, timeoutMs: 5000 } };
  using opened = open({ ...config, files });
  const reasons = new Set<string>();
  for (status of [200, 500, 302, 202]) {
    for (const token of tokens) {
      const result = await opened.try(token);
      reasons.add(reasonOf(result));
      if ("refusal" in result) assertClean("a refusal", result, secrets);
      else assertClean("a grant", { ...result.grant }, secrets);
    }
  }
  assert.deepEqual([...reasons].toSorted(), [
    "bad_signature",
    "controller_refused",
    "controller_unavailable",
    "expired",
    "granted",
    "malformed",
    "revoked",
  ]);
  for (
    const broken of [
      `${text}- ${good}\n`,
      text.replace("sha256:", "token:"),
      `${text}- {id: x, sha256: ${good}}`,
    ]
  ) {
    assert.throws(
      () => opened.auth.reload(configOf(config), { "tokens.yaml": broken }),
      (error) => {
        assertClean(
          "the error of a reload",
          [String(error), error],
          secrets.filter((one) => !/^[0-9a-f]{64}$/.test(one)),
        );
        return true;
      },
    );
  }
  assert.ok(opened.events.length > 0, "there is a log to look at");
  assertClean("the log", opened.events, secrets);
  assertClean("the counters", [...opened.auth.failures], secrets);
});
