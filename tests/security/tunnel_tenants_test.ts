/** Grants are checked on every registration, across tenants; names are leases; revocation cuts live streams. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import type { RegisterService } from "../../plugins/ws-agent/control/messages.ts";
import { can } from "../e2e/can.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { HttpClient } from "../support/http_client.ts";
import { respond, TestAgent, type TestAgentOptions } from "../support/test_agent.ts";
import { DOMAIN, ENDPOINT, type Owner, tcp, Tunnels } from "../support/tunnels.ts";

const ignore = !can();

async function agentOf(tunnels: Tunnels, owner: Owner, options: TestAgentOptions = {}): Promise<TestAgent> {
  return await TestAgent.start(await tunnels.connectHost(ENDPOINT), {
    token: tunnels.tokens[owner],
    host: ENDPOINT,
    serve: respond(owner),
    ...options,
  });
}

/** What alice's agent has, in the rows below. */
const HERS = { name: "hers", protocol: "http" } as const;
const HER_PORT = 20_500;

/** Bob may have names that begin with his, and ports from 21000 to 21010. */
const BOB = { allow: { subdomains: ["bob-*"], hostnames: ["bob.customer.test"], ports: ["21000-21010"] } };

/** Whatever is in no row that says so is refused. */
const asked: readonly { readonly what: string; readonly service: RegisterService; readonly may?: true }[] = [
  { what: "a name of his own", service: { name: "bob-1", protocol: "http" }, may: true },
  {
    what: "a host name of his own",
    service: { name: "h", protocol: "tls", hostname: "bob.customer.test" },
    may: true,
  },
  { what: "a port of his own", service: { name: "p", protocol: "tcp", remotePort: 21_005 }, may: true },
  { what: "a name that he may have, and alice has", service: { name: "bob-hers", protocol: "http" } },
  { what: "the same by tls", service: { name: "bob-hers", protocol: "tls" } },
  {
    what: "a port that he may have, and alice has",
    service: { name: "r", protocol: "tcp", remotePort: 21_000 },
  },
  { what: "alice's name", service: HERS },
  { what: "alice's name by tls", service: { name: "hers", protocol: "tls" } },
  {
    what: "alice's name by its host name",
    service: { name: "bob-x", protocol: "http", hostname: `hers.${DOMAIN}` },
  },
  { what: "alice's name in other letters", service: { name: "HERS", protocol: "http" } },
  { what: "alice's port", service: { name: "bob-y", protocol: "tcp", remotePort: HER_PORT } },
  { what: "a name that is free, and not his", service: { name: "free", protocol: "http" } },
  {
    what: "a name below one of his",
    service: { name: "z", protocol: "http", hostname: `a.bob-1.${DOMAIN}` },
  },
  { what: "the endpoint", service: { name: "tunnel", protocol: "tls" } },
  { what: "the domain", service: { name: "d", protocol: "http", hostname: DOMAIN } },
  { what: "another's host name", service: { name: "o", protocol: "http", hostname: "alice.customer.test" } },
  { what: "a port that is free, and not his", service: { name: "q", protocol: "tcp", remotePort: 21_011 } },
  { what: "the gateway's own port", service: { name: "g", protocol: "tcp", remotePort: 443 } },
];

Deno.test({
  name:
    "grants are checked on every registration: what is not a tenant's own is refused, and its holder untouched",
  ignore,
  async fn(t) {
    await using tunnels = await Tunnels.start({ threads: 2, tokens: { bob: BOB } });
    await using alice = await agentOf(tunnels, "alice");
    await alice.serve(HERS);
    await alice.serve({ name: "port", protocol: "tcp", remotePort: HER_PORT });
    await alice.serve({ name: "bob-hers", protocol: "http" });
    await alice.serve({ name: "other-port", protocol: "tcp", remotePort: 21_000 });
    await using bob = await agentOf(tunnels, "bob");
    for (const { what, service, may = false } of asked) {
      await t.step(`${what}: ${may ? "granted" : "refused"}`, async () => {
        const { type } = await bob.register(service);
        assert.equal(type, may ? "serviceRegistered" : "registerFail");
      });
    }
    await t.step(
      "an agent of the same client id and a later epoch is no takeover, with another token",
      async () => {
        await using thief = await agentOf(tunnels, "bob", { epoch: Date.now() * 2, slot: 0 });
        assert.equal((await thief.register(HERS)).type, "registerFail");
        using client = new HttpClient(await tunnels.connectTls("hers"), `hers.${DOMAIN}`);
        assert.equal((await client.request()).text, "alice");
      },
    );
    await t.step("taking back what is another's does nothing", async () => {
      const [row] = (await tunnels.rows()).filter(({ owner }) => owner === "alice");
      await using again = await agentOf(tunnels, "bob", { client: 2 });
      for (const { id } of row?.services ?? assert.fail()) {
        await again.send({ type: "unregister", serviceId: id });
      }
      await again.serve({ name: "bob-last", protocol: "http" }); // answered behind those
      using client = new HttpClient(await tunnels.connectTls("hers"), `hers.${DOMAIN}`);
      assert.equal((await client.request()).text, "alice");
    });
  },
});

for (const threads of [1, 2]) {
  Deno.test({
    name: `revocation cuts live streams: a token is revoked while bytes flow, ${threads} thread(s)`,
    ignore,
    async fn() {
      await using echo = startEcho();
      await using tunnels = await Tunnels.start({ threads });
      const agent = await tunnels.agent([tcp("echo", echo.target)], { connections: 2 });
      const other = await tunnels.agent([tcp("other", echo.target)], { owner: "bob" });
      await tunnels.settled(3);
      const streams = await Promise.all([1, 2, 3, 4].map(() => tunnels.connect(agent.port("echo"))));
      using kept = await tunnels.connect(other.port("other"));
      const flowing = streams.map(async (stream) => {
        try {
          const chunk = new Uint8Array(1000);
          for (;;) {
            await writeAll(stream, chunk);
            if (await stream.read(chunk) === null) return "ended";
          }
        } catch {
          return "ended";
        } finally {
          stream.close();
        }
      });
      await writeAll(kept, new TextEncoder().encode("still "));
      await tunnels.reloadTokens({ alice: { revoked: true } });
      assert.deepEqual(await Promise.all(flowing), streams.map(() => "ended"));
      assert.equal((await agent.agent.ended).kind, "lost", "it does not try again for ever");
      await tunnels.settled(1);
      await assert.rejects(tunnels.connect(agent.port("echo")), Deno.errors.ConnectionRefused);
      await writeAll(kept, new TextEncoder().encode("here"));
      await kept.closeWrite();
      assert.equal(new TextDecoder().decode(await readToEnd(kept)), "still here");
    },
  });
}
