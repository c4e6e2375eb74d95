/** Secrets are planted wherever a tunnel has some, and looked for in everything that is told; hostile texts come out as data. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { can } from "../e2e/can.ts";
import { runHere } from "../cli/run_cli.ts";
import { createToken, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { HttpClient } from "../support/http_client.ts";
import { respond, TestAgent } from "../support/test_agent.ts";
import { DOMAIN, ENDPOINT, http, Tunnels } from "../support/tunnels.ts";

const ignore = !can();
const JWT_SECRET = "planted-secret-of-a-jwt-that-is-long-enough-41c7";
const HOSTILE = "<script>alert(1)</script>\u001b[2J\"'\r\nSet-Cookie: a=b\u0000\u202e";

/** Everything that the admin side shows, and the gateway's log. */
async function told(tunnels: Tunnels): Promise<Map<string, string>> {
  const paths = [
    "",
    "metrics",
    "readyz",
    "api/v1/status",
    "api/v1/tunnels",
    "api/v1/connections",
    "api/v1/plugins",
    "api/v1/routes",
  ];
  const pages = await Promise.all(paths.map(async (path) => {
    const response = await fetch(`${tunnels.gateway.adminUrl}/${path}`);
    return [`/${path}`, await response.text()] as const;
  }));
  const { stdout, stderr } = await runHere("status", "--admin", tunnels.gateway.adminUrl);
  return new Map([
    ...pages,
    ["postern status", stdout + stderr],
    ["the log", JSON.stringify(tunnels.gateway.events)],
  ]);
}

Deno.test({
  name:
    "secrets: tokens, JWTs and keys, good and refused ones, are in no log, no page, no metric and no program's output",
  ignore,
  async fn() {
    await using web = startWeb();
    await using tunnels = await Tunnels.start({ section: { jwt: { secret: JWT_SECRET } } });
    const process = await tunnels.agentProcess([http("web", web.target)]);
    const signed = await new SignJWT({ sub: "carol", exp: 1e11 }).setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(JWT_SECRET));
    const [unknown, spoiled] = [createToken(), `${signed.slice(0, -3)}xxx`];
    await using carol = await TestAgent.start(await tunnels.connectHost(ENDPOINT), {
      host: ENDPOINT,
      token: signed,
    });
    await carol.serve({ name: "carols", protocol: "http" });
    for (const token of [unknown, spoiled]) {
      const refused = TestAgent.start(await tunnels.connectHost(ENDPOINT), { host: ENDPOINT, token });
      await assert.rejects(refused, (error) => !String(error).includes(token.slice(4, 24)));
    }
    using client = new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`);
    const secretPath = "/reset?key=planted-query-8812";
    const headers = { Authorization: "Bearer planted-bearer-2231", Cookie: "session=planted-cookie-5520" };
    assert.equal((await client.request({ path: secretPath, headers })).status, 200);
    await tunnels.gateway.logged("http_request");
    await process.kill();

    const secrets = [
      ...[tunnels.tokens.alice, tunnels.tokens.bob, unknown, signed, spoiled].flatMap((token) => [
        token,
        token.slice(4, 24),
        digestOf(token).toHex(),
      ]),
      JWT_SECRET,
      "planted-query-8812",
      "planted-bearer-2231",
      "planted-cookie-5520",
    ].filter((one) => one !== signed.slice(4, 24)); // the head of every JWT
    const everything = await told(tunnels);
    everything.set("the agent's output", process.program.output);
    assert.ok(
      (everything.get("the agent's output") ?? "").includes("service_public"),
      "there is something to look at",
    );
    for (const [where, text] of everything) {
      for (const secret of secrets) assert.ok(!text.includes(secret), `${where} shows ${secret}`);
    }
  },
});

Deno.test({
  name: "hostile texts of agents and clients come out as data: no tag, no second line, no control character",
  ignore,
  async fn() {
    await using tunnels = await Tunnels.start();
    await using agent = await TestAgent.start(await tunnels.connectHost(ENDPOINT), {
      host: ENDPOINT,
      token: tunnels.tokens.alice,
      serve: respond("ok"),
    });
    await agent.serve({ name: "web", protocol: "http", target: HOSTILE });
    assert.equal((await agent.register({ name: HOSTILE, protocol: "http" })).type, "registerFail");
    assert.equal(
      (await agent.register({ name: "h", protocol: "http", hostname: HOSTILE })).type,
      "registerFail",
    );
    using client = new HttpClient(await tunnels.connectTls("web"), `web.${DOMAIN}`);
    await client.request({
      path: "/%3Cscript%3E?<script>",
      headers: { "User-Agent": "<script>", Referer: "<script>" },
    }).catch(
      () => {},
    );
    await using unknown = await TestAgent.connect(await tunnels.connectHost(ENDPOINT), {
      host: ENDPOINT,
      token: HOSTILE,
    });
    await unknown.authenticate();

    const everything = await told(tunnels);
    assert.ok(everything.get("/api/v1/tunnels")?.includes("alert(1)"), "it is shown, and as what it is");
    for (const [where, text] of everything) {
      const bad = [...text].filter((one) => /[\p{Cc}\u202e]/u.test(one) && one !== "\n" && one !== "\t");
      assert.deepEqual(bad.map((one) => one.charCodeAt(0)), [], `${where} has control characters`);
      assert.ok(!/^Set-Cookie:/m.test(text), `${where} has a line of its own`);
    }
    assert.ok(!everything.get("/")?.includes("alert(1)"));
    const response = await fetch(`${tunnels.gateway.adminUrl}/api/v1/tunnels`);
    await response.body?.cancel();
    assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
  },
});

function startWeb(): AsyncDisposable & { readonly target: string } {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello"));
  return {
    target: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
