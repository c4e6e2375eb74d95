import assert from "node:assert/strict";
import { writeAll } from "../../../core/byte_stream.ts";
import { pipe, type PipeEnd } from "../../support/pipe.ts";
import { respond, TestAgent } from "../../support/test_agent.ts";
import { connection } from "../connection.ts";
import { encode, get, hasteOf, readText, TestGateway, TOKENS } from "./harness.ts";

const NEVER = new AbortController().signal;

/** A connection without TLS, as the core hands it over. */
function plain(gateway: TestGateway): { client: PipeEnd; served: Promise<void> } {
  const [client, end] = pipe();
  const info = connection({
    protocol: "http",
    listenerKind: "http",
    destination: { address: "127.0.0.1", port: 8080 },
  });
  return { client, served: gateway.plugin.handle(end, info, { signal: NEVER }) };
}

Deno.test("plainHttp: an http tunnel is served by the Host of its requests; all else is sent on to https", async () => {
  await using gateway = new TestGateway({ section: { plainHttp: true } });
  const agent = await gateway.agent({ serve: respond("hello") });
  await agent.serve({ name: "web", protocol: "http" });
  const cases = [
    { host: "web.example.com", answer: /^HTTP\/1\.1 200 [^]*hello$/ },
    { host: "nobody.example.com", answer: /^HTTP\/1\.1 404 / },
    {
      host: "www.example.org",
      answer: /^HTTP\/1\.1 308 [^]*Location: https:\/\/www\.example\.org\/a\?b\r\n/,
    },
    { host: "tunnel.example.com", answer: /^HTTP\/1\.1 308 / },
    { host: "10.0.0.1", answer: /^HTTP\/1\.1 400 / },
  ];
  for (const { host, answer } of cases) {
    const { client, served } = plain(gateway);
    assert.match(await get(client, host, "/a?b"), answer, host);
    client.close();
    await served;
  }
});

Deno.test("plainHttp: a second request for another Host is misdirected", async () => {
  await using gateway = new TestGateway({ section: { plainHttp: true } });
  const agent = await gateway.agent({ serve: respond("hello") });
  await agent.serve({ name: "web", protocol: "http" });
  await agent.serve({ name: "other", protocol: "http" });
  const { client, served } = plain(gateway);
  assert.match(await get(client, "web.example.com"), /^HTTP\/1\.1 200 /);
  assert.match(await get(client, "other.example.com"), /^HTTP\/1\.1 421 /);
  client.close();
  await served;
});

Deno.test("plainEndpoint: agents get in without TLS, and are told https addresses without the port of plain HTTP", async () => {
  await using gateway = new TestGateway({ section: { plainEndpoint: true } });
  const { client, served } = plain(gateway);
  await using agent = await TestAgent.start(client, { token: TOKENS.alice });
  assert.equal((await agent.serve({ name: "web", protocol: "http" })).url, "https://web.example.com");
  await agent[Symbol.asyncDispose]();
  await served;
});

Deno.test("plainEndpoint alone serves no tunnel by plain HTTP", async () => {
  await using gateway = new TestGateway({ section: { plainEndpoint: true, publicPort: 8443 } });
  const agent = await gateway.agent();
  await agent.serve({ name: "web", protocol: "http" });
  const { client, served } = plain(gateway);
  assert.match(
    await get(client, "web.example.com"),
    /^HTTP\/1\.1 308 [^]*Location: https:\/\/web\.example\.com:8443\//,
  );
  client.close();
  await served;
  assert.equal(agent.streams.length, 0);
});

Deno.test("a client that says nothing, or no HTTP, is not waited for", async () => {
  await using gateway = new TestGateway({ section: { plainHttp: true }, clock: hasteOf(100) });
  for (const sent of ["", "GET / HTT", "\u0000\u0001"]) {
    const { client, served } = plain(gateway);
    if (sent !== "") await writeAll(client, encode(sent));
    await served;
    assert.equal(await readText(client), "");
    client.close();
  }
});
