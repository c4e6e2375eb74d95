import assert from "node:assert/strict";
import { decodeProtectedHeader, jwtVerify } from "jose";
import { makeProof } from "../../../../plugins/ws-agent/agent/credentials.ts";

const NOW = 1_800_000_000_000;

Deno.test("a JWT is made for each connection: HS256, with issuer, subject and an end", async () => {
  const jwt = { secret: "0123456789abcdef0123456789abcdef", issuer: "mytunnel", expiresInMs: 3_600_000 };
  const proof = await makeProof({ jwt }, "office", NOW + 999);
  const { payload } = await jwtVerify(proof.token, new TextEncoder().encode(jwt.secret), {
    issuer: "mytunnel",
    currentDate: new Date(NOW),
  });
  assert.deepEqual(payload, { iss: "mytunnel", sub: "office", iat: NOW / 1000, exp: NOW / 1000 + 3600 });
  assert.equal(decodeProtectedHeader(proof.token).alg, "HS256");
  assert.equal(proof.expiresAt, NOW + 3_600_000);
  const later = await makeProof({ jwt }, "office", NOW + 60_000);
  assert.notEqual(later.token, proof.token);
  assert.equal(later.clientId, proof.clientId, "it is the same agent");
});

Deno.test("the client id tells secrets and names apart, and is a UUID", async () => {
  const ids = await Promise.all(
    [["a", "x"], ["a", "y"], ["b", "x"], ["a\n", "x"]].map(async ([token = "", name = ""]) =>
      (await makeProof({ token }, name, NOW)).clientId
    ),
  );
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});
