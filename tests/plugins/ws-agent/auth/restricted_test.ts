import assert from "node:assert/strict";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { granted } from "../../../support/permissions.ts";
import { createToken } from "../../../../plugins/ws-agent/auth/token.ts";
import { configOf, entryOf, serve } from "./harness.ts";
import type { Task } from "./restricted_worker.ts";

Deno.test({
  name: "tokens, JWTs and controllers work with the permissions of a data plane, after its code is sealed",
  ignore: !granted("net", "read"),
  async fn() {
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const jwk = { ...await exportJWK(publicKey), kid: "k" };
    await using keys = serve(() => Response.json({ keys: [jwk] }));
    await using controller = serve(() => Response.json({ allow: true, subject: "carol", ttl: 5 }));
    const token = createToken();
    const jwt = await new SignJWT({ sub: "alice" }).setProtectedHeader({ alg: "ES256", kid: "k" })
      .setExpirationTime("1h").sign(privateKey);
    const task: Task = {
      config: configOf({
        tokens: "t",
        jwt: { jwks: keys.url },
        controller: { url: controller.url, timeoutMs: 5000 },
      }),
      files: { t: entryOf("a", token) },
      tokens: [token, jwt, "another"],
      codeFolder: new URL("../../../../", import.meta.url).pathname,
    };
    assert.deepEqual(await answerTo(task), ["token:a", "jwt::alice", "controller:carol", "read: prompt"]);
  },
});

async function answerTo(task: Task): Promise<unknown> {
  const worker = new Worker(import.meta.resolve("./restricted_worker.ts"), {
    type: "module",
    deno: { permissions: { net: true, read: [task.codeFolder] } },
  });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => data === "ready" ? worker.postMessage(task) : resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
    });
  } finally {
    worker.terminate();
  }
}
