import assert from "node:assert/strict";
import { closeQuietly } from "../../../../core/byte_stream.ts";
import { systemNetwork } from "../../../../plugins/ws-agent/agent/network.ts";
import { keepingOut, type OwnPorts, whyCircular } from "../../../../plugins/ws-agent/nodes/own_ports.ts";
import { startSilent } from "../../../support/echo.ts";

const OWN: OwnPorts = { open: [8443, 9090], tunnels: { first: 30_000, last: 30_010 }, address: "192.0.2.1" };

const places: readonly (readonly [host: string, port: number, refused: boolean])[] = [
  ["localhost", 5432, false],
  ["127.0.0.1", 29_999, false],
  ["127.0.0.1", 30_000, true],
  ["127.8.8.8", 30_010, true],
  ["127.0.0.1", 30_011, false],
  ["localhost", 30_005, true],
  ["db.localhost", 30_005, true],
  ["::1", 30_005, true],
  ["0.0.0.0", 30_005, true],
  ["::", 30_005, true],
  ["192.0.2.1", 30_005, true],
  ["192.0.2.2", 30_005, false],
  ["db.example.com", 30_005, false],
  ["127.0.0.1", 8443, true],
  ["::1", 9090, true],
  ["10.0.0.5", 8443, false],
];

for (const [host, port, refused] of places) {
  Deno.test(`a node tunnel ${refused ? "must not" : "may"} lead to ${host} port ${port}`, () => {
    assert.equal(whyCircular({ host, port }, OWN) !== undefined, refused);
  });
}

Deno.test("what leads back is not dialed, and what turns out to lead back is let go of", async () => {
  await using silent = startSilent();
  const { hostname: host, port } = silent.address;
  const never = new AbortController().signal;
  const own: OwnPorts = { open: [port], tunnels: { first: 1, last: 1 }, address: "0.0.0.0" };
  await assert.rejects(keepingOut(systemNetwork(), () => own).connect({ host, port }, never), {
    code: "dial-failed",
    message: /leads back/,
  });
  assert.equal(silent.accepted, 0);
  // A name that is another place by its text, and this machine by its address.
  const network = { ...systemNetwork(), connect: () => systemNetwork().connect({ host, port }, never) };
  await assert.rejects(keepingOut(network, () => own).connect({ host: "db.example.com", port }, never), {
    code: "dial-failed",
  });
  const elsewhere: OwnPorts = { ...own, open: [] };
  closeQuietly(await keepingOut(systemNetwork(), () => elsewhere).connect({ host, port }, never));
});
