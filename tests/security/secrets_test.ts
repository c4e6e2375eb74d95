import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { prepareYaml, TestGateway, type TestGatewayOptions } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { ECHOED, sayHello } from "../support/ssh_like.ts";
import { until } from "../support/until.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const module = new URL("../testdata/plugins/keeps_secrets.ts", import.meta.url).href;

/** Planted wherever a config has room for a secret. */
const SECRETS = {
  TOKEN: "planted-admin-token-4f1c",
  PASSWORD: "planted-database-password-77ab",
  NESTED: "planted-nested-secret-90de",
};

function config(to: string, more = ""): TestGatewayOptions {
  return {
    yaml: `admin: { address: "127.0.0.1:0", token: "\${TOKEN}" }
plugins:
  keeps-secrets: { to: "${to}", password: "\${PASSWORD}", serviceToken: { id: visible, secret: "\${NESTED}" }${more} }`,
    env: SECRETS,
    declarations: { "keeps-secrets": { module, isolation: "worker", permissions: {} } },
    threads: 2,
    times: { pingMs: 100, firstBackoffMs: 50 },
  };
}

function assertClean(where: string, text: string): void {
  for (const secret of Object.values(SECRETS)) {
    assert.ok(!text.includes(secret), `${where} shows the secret ${JSON.stringify(secret)}:\n${text}`);
  }
}

Deno.test({
  name:
    "secrets are in no log line, at any level, and on no page: working, refusing, crashing, reloading, stopping",
  ignore,
  async fn() {
    await using echo = startEcho();
    const gateway = await TestGateway.start(config(echo.target));
    try {
      assert.equal(await sayHello(gateway.port()), ECHOED);
      for (const bytes of ["trouble\r\n\r\n", "GET / HTTP/1.1\r\nauthorization: x\r\n\r\n"]) {
        using client = await gateway.connect();
        await writeAll(client, new TextEncoder().encode(bytes));
        await client.closeWrite();
        assertClean("the answer to a client", new TextDecoder().decode(await readToEnd(client)));
      }
      const unit = gateway.supervisor.pluginUnits.get("keeps-secrets");
      await until(() => unit?.worker.up && unit.worker.restarts === 1, { what: "the plugin to be back" });
      await gateway.reload(config(echo.target, ", extra: 1"));
      await assert.rejects(gateway.reload(config(echo.target, ", extra: 2")), (error) => {
        assertClean("the error", String(error));
        return true;
      });
      for (const authorization of [`Bearer ${SECRETS.TOKEN}`, "Bearer wrong", `Basic ${SECRETS.TOKEN}`]) {
        for (const page of ["status", "plugins", "routes", "connections"]) {
          const response = await fetch(`${gateway.adminUrl}/api/v1/${page}`, { headers: { authorization } });
          assertClean(`/api/v1/${page}`, await response.text());
        }
        const metrics = await fetch(`${gateway.adminUrl}/metrics?token=${SECRETS.TOKEN}`, {
          headers: { authorization },
        });
        assertClean("/metrics", await metrics.text());
      }
    } finally {
      await gateway[Symbol.asyncDispose]();
    }
    assert.ok(gateway.events.length > 5, "there is a log to look at");
    assertClean("the log", JSON.stringify(gateway.events));
  },
});

Deno.test({
  name: "a config that is wrong is told without its secrets",
  ignore,
  async fn() {
    await assert.rejects(
      prepareYaml(config("not an address", ", password2: 1, extra: nonsense")),
      (error) => {
        assert.ok(error instanceof Error);
        assert.match(error.message, /keeps-secrets/);
        assertClean("the error", error.message);
        return true;
      },
    );
  },
});
