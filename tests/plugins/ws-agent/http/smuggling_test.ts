import assert from "node:assert/strict";
import { type Sample, SMUGGLING } from "../../../support/smuggling.ts";
import { RawPeer, TestProxy } from "./harness.ts";
import { RecordingService } from "./recording_service.ts";

const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";

/** Where the proxy does otherwise than the parser asks: other hosts are misdirected, and HTTP/1.0 is not kept alive. */
const OTHERWISE: Readonly<
  Record<string, { readonly requests: number; readonly statuses: readonly number[] }>
> = {
  "Host: an IPv4 address": { requests: 0, statuses: [421] },
  "Host: an IPv6 address": { requests: 0, statuses: [421] },
  "framing: HTTP/1.0 with keep-alive": { requests: 1, statuses: [200] },
};

/** Sends a sample, and gives the status of each answer once no more can come. */
async function statusesOf(sample: Sample, proxy: TestProxy): Promise<number[]> {
  using client = await RawPeer.to(proxy);
  await client.send(sample.bytes).catch(() => {}); // refused before it was all there
  if (sample.refused === undefined) await client.stream.closeWrite();
  const answers = await client.readToEnd();
  return [...answers.matchAll(/HTTP\/1\.1 (\d\d\d) /g)].map((match) => Number(match[1]));
}

Deno.test("smuggling through the proxy: every exception is in the table", () => {
  const names = SMUGGLING.map(({ name }) => name);
  for (const name of Object.keys(OTHERWISE)) assert(names.includes(name), name);
});

for (const sample of SMUGGLING) {
  Deno.test(`smuggling through the proxy: ${sample.name}`, async () => {
    await using service = new RecordingService((peer) => peer.send(`${ANSWER}\r\n`));
    await using proxy = new TestProxy({ to: service.port, timeouts: { lingerMs: 100 } });
    const statuses = await statusesOf(sample, proxy);
    const seen = service.requests.map(({ method, path, body }) => ({ method, path, body }));
    const wanted = sample.requests.map(() => 200);
    if (sample.refused !== undefined) wanted.push(sample.refused.status);
    const otherwise = OTHERWISE[sample.name];
    assert.deepEqual(seen, sample.requests.slice(0, otherwise?.requests));
    assert.deepEqual(statuses, otherwise?.statuses ?? wanted);
    if (sample.refused !== undefined) {
      assert.equal((await proxy.told(wanted.length)).at(-1)?.detail, sample.refused.word);
    }
  });
}
