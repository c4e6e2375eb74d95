import assert from "node:assert/strict";
import { StreamIds } from "../../../../plugins/ws-agent/yamux/stream_ids.ts";

Deno.test("the client's ids are odd, the server's even", () => {
  const [client, server] = [new StreamIds("client"), new StreamIds("server")];
  assert.deepEqual([client.take(), client.take()], [1, 3]);
  assert.deepEqual([server.take(), server.take()], [2, 4]);
});

for (
  const { name, role, ids, taken } of [
    { name: "in order", role: "server", ids: [1, 3, 5], taken: [true, true, true] },
    { name: "of ours", role: "server", ids: [2], taken: [false] },
    { name: "of ours, as a client", role: "client", ids: [1, 2], taken: [false, true] },
    { name: "twice", role: "server", ids: [1, 1], taken: [true, false] },
    { name: "out of order", role: "server", ids: [5, 1, 3, 3], taken: [true, true, true, false] },
    { name: "left out for too long", role: "server", ids: [9001, 1, 8999], taken: [true, false, true] },
    { name: "the last there is", role: "server", ids: [2 ** 32 - 1, 1], taken: [true, false] },
  ] as const
) {
  Deno.test(`ids of the peer: ${name}`, () => {
    const streams = new StreamIds(role);
    assert.deepEqual(ids.map((id) => streams.takePeers(id)), taken);
  });
}

Deno.test("a stream was opened when its id was used", () => {
  const ids = new StreamIds("server");
  ids.takePeers(5);
  ids.take();
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7].filter((id) => ids.wasOpened(id)), [2, 5]);
});
