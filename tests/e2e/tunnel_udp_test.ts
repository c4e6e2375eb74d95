import assert from "node:assert/strict";
import { parseProxyHeader } from "../../core/data_plane/preface/proxy_protocol.ts";
import { granted } from "../support/permissions.ts";
import { createAuthority } from "../support/certificates.ts";
import { askQuic, QuicEcho } from "../support/quic.ts";
import { startEcho } from "../support/echo.ts";
import { tcp, Tunnels, udp } from "../support/tunnels.ts";
import { UdpSocket } from "../support/udp.ts";
import { until } from "../support/until.ts";

const ignore = !granted("net", "read", "write", "env", "sys", "run");
const encode = (text: string) => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const at = (socket: UdpSocket) => `127.0.0.1:${socket.port}`;

function patterned(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8) & 0xff);
}

/** The value of a counter of datagrams. */
async function counted(tunnels: Tunnels, direction: "in" | "out", result: string): Promise<number> {
  const text = await (await fetch(`${tunnels.gateway.adminUrl}/metrics`)).text();
  const line = `postern_udp_datagrams_total{direction="${direction}",result="${result}"} `;
  return Number(text.split("\n").find((one) => one.startsWith(line))?.slice(line.length) ?? NaN);
}

Deno.test({ name: "udp: datagrams of every size come back whole", ignore }, async () => {
  using echo = UdpSocket.echo();
  await using tunnels = await Tunnels.start();
  const agent = await tunnels.agent([udp("echo", at(echo))]);
  assert.match(agent.service("echo")?.url ?? "", /^udp:\/\/example\.localhost:\d+$/);
  using client = new UdpSocket();
  for (const length of [0, 1, 100, 1472, 65_507]) {
    const sent = patterned(length);
    assert.deepEqual(await client.ask(sent, agent.port("echo")), sent, `${length} bytes`);
  }
  const [row] = await tunnels.rows();
  assert.deepEqual(row?.services.map(({ protocol, name }) => [protocol, name]), [["udp", "echo"]]);
  assert.equal(await counted(tunnels, "in", "passed"), 5);
  assert.equal(await counted(tunnels, "out", "passed"), 5);
});

Deno.test(
  { name: "udp: sources do not mix, and each is a source of its own to the target", ignore },
  async () => {
    using target = UdpSocket.echo();
    await using tunnels = await Tunnels.start();
    const agent = await tunnels.agent([udp("echo", at(target))]);
    using one = new UdpSocket();
    using other = new UdpSocket();
    for (const round of ["a", "b", "c"]) {
      await Promise.all([
        one.send(encode(`one ${round}`), agent.port("echo")),
        other.send(encode(`other ${round}`), agent.port("echo")),
      ]);
    }
    await until(() => one.received.length === 3 && other.received.length === 3, { what: "all answers" });
    assert.deepEqual(one.received.map(({ data }) => decode(data)), ["one a", "one b", "one c"]);
    assert.deepEqual(other.received.map(({ data }) => decode(data)), ["other a", "other b", "other c"]);
    assert.equal(new Set(target.received.map(({ from }) => from.port)).size, 2);
  },
);

Deno.test({
  name: "udp: who did not speak first hears nothing, and strangers to the target do not get in",
  ignore,
}, async () => {
  using target = new UdpSocket();
  using stranger = new UdpSocket();
  await using tunnels = await Tunnels.start();
  const agent = await tunnels.agent([udp("game", at(target))]);
  using client = new UdpSocket();
  using silent = new UdpSocket();
  await client.send(encode("hello"), agent.port("game"));
  await target.next();
  const from = target.received[0]?.from;
  assert.ok(from);
  // To the agent's own socket for this flow: from another address than the target's, it is nobody's answer.
  await stranger.socket.send(encode("forged"), from);
  await target.socket.send(encode("answer"), from);
  assert.equal(decode(await client.next()), "answer");
  assert.equal(client.received.length, 1);
  assert.equal(silent.received.length, 0);
});

Deno.test({ name: "udp: datagrams of a flow that come together stay in their order", ignore }, async () => {
  using echo = UdpSocket.echo();
  await using tunnels = await Tunnels.start();
  const agent = await tunnels.agent([udp("echo", at(echo))]);
  using client = new UdpSocket();
  await client.ask(encode("first"), agent.port("echo"));
  const sent = Array.from({ length: 50 }, (_, i) => `${i}`);
  for (const text of sent) await client.send(encode(text), agent.port("echo"));
  await until(() => client.received.length === 51, { what: "all answers" });
  assert.deepEqual(client.received.slice(1).map(({ data }) => decode(data)), sent);
});

Deno.test({ name: "udp: a tcp and a udp service have a port of the same number", ignore }, async () => {
  using echo = UdpSocket.echo();
  await using server = startEcho();
  await using tunnels = await Tunnels.start();
  const agent = await tunnels.agent([tcp("tcp", server.target)]);
  const port = agent.port("tcp");
  const second = await tunnels.agent([udp("udp", at(echo), { remotePort: port })], { owner: "bob" });
  assert.equal(second.port("udp"), port);
  using client = new UdpSocket();
  assert.equal(decode(await client.ask(encode("hello"), port)), "hello");
  (await tunnels.connect(port)).close();
});

Deno.test({
  name: "udp: while its agent is lost datagrams are dropped, and flows go on when it is back",
  ignore,
}, async () => {
  using echo = UdpSocket.echo();
  await using tunnels = await Tunnels.start();
  const agent = await tunnels.agentProcess([udp("echo", at(echo))]);
  const port = agent.port("echo");
  using client = new UdpSocket();
  assert.equal(decode(await client.ask(encode("before"), port)), "before");
  await agent.kill();
  await until(async () => (await tunnels.rows()).length === 0, { what: "the tunnel's end" });
  await until(async () => {
    await client.send(encode("lost"), port);
    return await counted(tunnels, "in", "no_agent") > 0;
  }, { what: "datagrams that are dropped" });
  const back = await tunnels.agent([udp("echo", at(echo), { remotePort: port })]);
  assert.equal(back.port("echo"), port);
  await until(async () => {
    await client.send(encode("after"), port);
    return client.received.some(({ data }) => decode(data) === "after");
  }, { what: "an answer" });
  assert.ok(
    !client.received.some(({ data }) => decode(data) === "lost"),
    "what was dropped is not sent late",
  );
});

Deno.test(
  { name: "udp: with two data planes, whichever has the tunnel and whichever the socket", ignore },
  async () => {
    using echo = UdpSocket.echo();
    await using tunnels = await Tunnels.start({ threads: 2 });
    const agents = [];
    // The system deals connections out at random: of so many, some come to each data plane.
    for (let i = 0; i < 6; i++) {
      agents.push(await tunnels.agent([udp(`echo-${i}`, at(echo))], { name: `agent-${i}`, connections: 2 }));
    }
    for (const [i, agent] of agents.entries()) {
      using client = new UdpSocket();
      using other = new UdpSocket();
      for (const socket of [client, other]) {
        for (const length of [10, 65_507, 0]) {
          const sent = patterned(length);
          assert.deepEqual(await socket.ask(sent, agent.port(`echo-${i}`)), sent);
        }
      }
    }
  },
);

for (const proxyProtocol of ["v2", "simple"] as const) {
  Deno.test(
    { name: `udp: proxyProtocol ${proxyProtocol} tells the target the client's address`, ignore },
    async () => {
      using target = new UdpSocket();
      await using tunnels = await Tunnels.start();
      const agent = await tunnels.agent([udp("game", at(target), { proxyProtocol })]);
      using client = new UdpSocket();
      for (const text of ["one", ""]) {
        await client.send(encode(text), agent.port("game"));
        const seen = await target.next();
        if (proxyProtocol === "v2") {
          const parsed = parseProxyHeader(seen);
          assert.ok(parsed.kind === "yes");
          assert.deepEqual([seen[12], seen[13], parsed.length], [0x21, 0x12, 28]);
          assert.deepEqual(parsed.value.datagrams, {
            source: { address: "127.0.0.1", port: client.port },
            destination: { address: "127.0.0.1", port: agent.port("game") },
          });
          assert.equal(decode(seen.subarray(28)), text);
        } else {
          const port = (number: number) => number.toString(16).padStart(4, "0");
          const loopback = "00000000000000000000ffff7f000001";
          assert.equal(
            seen.subarray(0, 38).toHex(),
            `56ec${loopback}${loopback}${port(client.port)}${port(agent.port("game"))}`,
          );
          assert.equal(decode(seen.subarray(38)), text);
        }
      }
      const from = target.received[0]?.from;
      assert.ok(from);
      const header = target.received[0]?.data.subarray(0, proxyProtocol === "v2" ? 28 : 38) ??
        new Uint8Array();
      await target.socket.send(encode("without"), from);
      assert.equal(decode(await client.next()), "without");
      await target.socket.send(Uint8Array.of(...header, ...encode("with")), from);
      assert.equal(decode(await client.next()), "with");
    },
  );
}

Deno.test({
  name: "udp: DNS through an agent of its own process, which may send to its target alone",
  ignore,
}, async () => {
  using dns = new UdpSocket();
  dns.answer = answerDns;
  await using tunnels = await Tunnels.start();
  const agent = await tunnels.agentProcess([udp("dns", at(dns))]);
  const nameServer = { ipAddr: "127.0.0.1", port: agent.port("dns") };
  const names = Array.from({ length: 20 }, (_, i) => `host-${i}.test.`);
  const answers = await Promise.all(names.map((name) => Deno.resolveDns(name, "A", { nameServer })));
  assert.deepEqual(answers.flat(), names.map((_, i) => `10.0.0.${i}`));
});

Deno.test({ name: "udp: QUIC, with datagrams as large as its path takes", ignore }, async () => {
  const authority = await createAuthority();
  await using echo = await QuicEcho.start(authority);
  await using tunnels = await Tunnels.start();
  const agent = await tunnels.agent([udp("quic", `127.0.0.1:${echo.port}`)]);
  const data = patterned(300 * 1024);
  assert.deepEqual(await askQuic(agent.port("quic"), authority, data), data);
  assert.ok(await counted(tunnels, "in", "passed") > 200);
  assert.equal(await counted(tunnels, "out", "unverified"), 0);
});

/** Answers a question for `host-N.test` with 10.0.0.N (RFC 1035 §4). */
function answerDns(query: Uint8Array): Uint8Array {
  let end = 12;
  while (query[end] !== 0 && end < query.length) end += 1 + (query[end] ?? 0);
  const question = query.subarray(12, end + 5);
  const [label = ""] = decode(query.subarray(13)).split(/[^\w-]/, 1);
  const header = Uint8Array.of(query[0] ?? 0, query[1] ?? 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0);
  const answer = Uint8Array.of(0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, Number(label.slice(5)));
  return Uint8Array.of(...header, ...question, ...answer);
}
