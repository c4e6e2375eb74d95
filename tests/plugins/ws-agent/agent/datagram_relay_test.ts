import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { datagramPrefix, withoutPrefix } from "../../../../plugins/ws-agent/agent/datagram_prefix.ts";
import { type AgentNetwork, systemNetwork } from "../../../../plugins/ws-agent/agent/network.ts";
import { UdpSocket } from "../../../support/udp.ts";
import { until } from "../../../support/until.ts";
import { FakeGateway, service, settingsFor, startAgent } from "./fake_gateway.ts";

const datagrams = { datagrams: true } as const;

/** The network of the machine, with one name, and all sockets that were opened for datagrams. */
function networkWith(addresses: readonly string[]): AgentNetwork & { readonly sockets: string[] } {
  const system = systemNetwork();
  const sockets: string[] = [];
  return {
    ...system,
    sockets,
    lookUp: (name) =>
      name === "dns.internal" ? Promise.resolve(addresses) : Promise.reject(new Error("unknown")),
    openDatagrams(address) {
      sockets.push(address);
      return system.openDatagrams(address);
    },
  };
}

async function readDatagram(stream: { read(into: Uint8Array): Promise<number | null> }): Promise<string> {
  const buffer = new Uint8Array(1000);
  let length = 0;
  while (length < 2 || length < 2 + ((buffer[0] ?? 0) << 8 | (buffer[1] ?? 0))) {
    length += await stream.read(buffer.subarray(length)) ?? assert.fail("ended");
  }
  return new TextDecoder().decode(buffer.subarray(2, length));
}

Deno.test("datagrams go to the address that a name has, and its answers come back", async () => {
  using target = UdpSocket.echo();
  const network = networkWith(["127.0.0.1"]);
  await using gateway = new FakeGateway();
  const services = [service("dns", `dns.internal:${target.port}`, { protocol: "udp" })];
  await using _running = startAgent(settingsFor(gateway, services), { network });
  const session = await gateway.registered(0, 1);
  const stream = await session.open("dns", datagrams);
  await writeAll(stream, Uint8Array.of(0, 2, 0x68, 0x69));
  assert.equal(await readDatagram(stream), "hi");
  assert.deepEqual(network.sockets, ["127.0.0.1"]);
  stream.reset();
});

Deno.test("a name that leads to a metadata address gets no datagram", async () => {
  const network = networkWith(["10.0.0.1", "169.254.169.254"]);
  await using gateway = new FakeGateway();
  const services = [service("dns", "dns.internal:53", { protocol: "udp" })];
  await using running = startAgent(settingsFor(gateway, services), { network });
  const session = await gateway.registered(0, 1);
  const stream = await session.open("dns", datagrams);
  await assert.rejects(stream.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  assert.deepEqual(network.sockets, []);
  const failed = running.events.find((event) => event.kind === "target_failed");
  assert.match(failed?.kind === "target_failed" ? failed.reason : "", /leads to 169\.254\.169\.254/);
});

Deno.test("bytes for a udp service, datagrams for another, and what is no datagram are reset", async () => {
  using target = new UdpSocket();
  await using gateway = new FakeGateway();
  const services = [service("udp", target.port, { protocol: "udp" }), service("tcp", target.port)];
  await using running = startAgent(settingsFor(gateway, services));
  const session = await gateway.registered(0, 2);
  for (const [name, more] of [["udp", {}], ["tcp", datagrams]] as const) {
    const stream = await session.open(name, more);
    await assert.rejects(stream.read(new Uint8Array(1)), Deno.errors.ConnectionReset, name);
  }
  await until(() => running.events.some(({ kind }) => kind === "stream_refused"), { what: "the log" });
  const broken = await session.open("udp", datagrams);
  await writeAll(broken, Uint8Array.of(0xff, 0xff, 1));
  await assert.rejects(broken.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  const cut = await session.open("udp", datagrams);
  await writeAll(cut, Uint8Array.of(0, 5, 1));
  await cut.closeWrite();
  await assert.rejects(cut.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  assert.deepEqual(target.received, []);
});

Deno.test("the prefixes of datagrams, byte for byte", () => {
  const v4 = { address: "203.0.113.9", port: 0x1234 }, v6 = { address: "2001:db8::1", port: 53 };
  const simple = datagramPrefix("simple", v4, v6);
  assert.equal(
    simple?.toHex(),
    "56ec" + "00000000000000000000ffffcb007109" + "20010db8000000000000000000000001" + "1234" + "0035",
  );
  assert.equal(
    datagramPrefix("v2", v6, v6)?.toHex(),
    "0d0a0d0a000d0a515549540a" + "21220024" + "20010db8000000000000000000000001".repeat(2) + "0035".repeat(2),
  );
  assert.equal(datagramPrefix("off", v4, v4), undefined);
  assert.ok(simple);
  const answer = Uint8Array.of(1, 2, 3);
  assert.deepEqual(withoutPrefix(Uint8Array.of(...simple, ...answer), simple), answer);
  assert.deepEqual(withoutPrefix(simple, simple), new Uint8Array());
  for (const other of [answer, new Uint8Array(), Uint8Array.of(...simple.with(37, 99), ...answer)]) {
    assert.equal(withoutPrefix(other, simple), other);
  }
});
