import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../../core/byte_stream.ts";
import { respond } from "../../support/test_agent.ts";
import { readText, readUpTo } from "../../support/wire.ts";
import { until } from "../../support/until.ts";
import { connection, tlsConnection } from "../connection.ts";
import { TestGateway, TOKENS } from "./harness.ts";

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("a tcp service: port, stream header, bytes both ways, half-close", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const { url, remotePort } = await agent.serve({ name: "ssh", protocol: "tcp", target: "127.0.0.1:22", remotePort: 30_003 });
  assert.equal(url, "tcp://example.com:30003");
  assert.equal(remotePort, 30_003);
  const client = await gateway.connectPort(30_003);
  await writeAll(client, encode("ping"));
  await client.closeWrite();
  assert.equal(await readText(client), "ping");
  const [header] = agent.streams;
  assert.equal(header?.source.address, "192.0.2.7");
  assert.equal(header?.destination.port, 30_003);
  assert.equal(header?.name, undefined);
});
