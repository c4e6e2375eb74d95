/** One strict HTTP parse: the smuggling table over the real gateway by TLS, a real agent, and a service that believes everything. */
import assert from "node:assert/strict";
import { closeQuietly, writeAll } from "../../core/byte_stream.ts";
import { can } from "../e2e/can.ts";
import { RecordingService } from "../plugins/ws-agent/http/recording_service.ts";
import { type Sample, SMUGGLING, SMUGGLING_HOST } from "../support/smuggling.ts";
import { http, Tunnels } from "../support/tunnels.ts";
import { isHangUp } from "../support/wire.ts";

/** Whoever is refused is given time to read it: two seconds each, so they come beside each other. */
const LANES = 16;
/** An address is another host than the connection's, and HTTP/1.0 is not kept alive. */
const OTHERWISE: Readonly<Record<string, readonly [requests: number, statuses: readonly number[]]>> = {
  "Host: an IPv4 address": [0, [421]],
  "Host: an IPv6 address": [0, [421]],
  "framing: HTTP/1.0 with keep-alive": [1, [200]],
};

Deno.test({
  name:
    "the smuggling table through the whole tunnel: nothing but what is in order reaches the service, byte for byte",
  ignore: !can(),
  async fn() {
    await using tunnels = await Tunnels.start({
      hostnames: [SMUGGLING_HOST],
      section: { limits: { servicesPerTunnel: LANES } },
      tokens: { alice: { allow: { hostnames: [SMUGGLING_HOST] } } },
    });
    await using service = new RecordingService((peer) =>
      peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    );
    const target = `127.0.0.1:${service.port}`;
    await tunnels.agent([{ ...http("demo", target), hostname: SMUGGLING_HOST }]);

    assert.ok(SMUGGLING.length > 100);
    let next = 0;
    const wrong: unknown[] = [];
    await Promise.all(Array.from({ length: LANES }, async () => {
      for (let sample; (sample = SMUGGLING[next++]) !== undefined;) {
        const wanted = OTHERWISE[sample.name]?.[1] ??
          [...sample.requests.map(() => 200), ...(sample.refused ? [sample.refused.status] : [])];
        const statuses = await send(tunnels, sample, wanted.length);
        if (JSON.stringify(statuses) !== JSON.stringify(wanted)) wrong.push([sample.name, statuses, wanted]);
      }
    }));
    assert.deepEqual(wrong, []);

    const seen = service.requests.map(({ method, path, body }) => JSON.stringify([method, path, body]))
      .toSorted();
    const wanted = SMUGGLING.flatMap(({ name, requests }) =>
      requests.slice(0, OTHERWISE[name]?.[0]).map(({ method, path, body }) =>
        JSON.stringify([method, path, body])
      )
    ).toSorted();
    assert.deepEqual(seen, wanted);
    for (const { head } of service.requests) {
      assert.equal(head.match(/^host:/gim)?.length, 1, head);
      assert.ok((head.match(/^(?:content-length|transfer-encoding):/gim) ?? []).length <= 1, head);
      assert.ok(!/^(?:upgrade: *h2c|http2-settings:)/im.test(head), head);
    }
  },
});

/**
 * Sends a sample on a connection of its own, and gives the status of each answer. Whoever is refused is hung up on; else it waits for as
 * many as there should be, and hangs up itself.
 */
async function send(tunnels: Tunnels, { bytes, refused }: Sample, answers: number): Promise<number[]> {
  const tls = await tunnels.connectHost(SMUGGLING_HOST);
  const statuses = () => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  const buffer = new Uint8Array(16 * 1024);
  let text = "";
  try {
    await writeAll(tls, bytes).catch(() => {}); // refused before it was all there
    while (refused !== undefined || statuses().length < answers) {
      const length = await tls.read(buffer);
      if (length === null) break;
      text += new TextDecoder("latin1").decode(buffer.subarray(0, length));
    }
  } catch (error) {
    if (!isHangUp(error) && !(error instanceof Deno.errors.UnexpectedEof)) throw error;
  } finally {
    closeQuietly(tls);
  }
  return statuses();
}
