import assert from "node:assert/strict";
import type { RegisterService } from "../../../../plugins/ws-agent/control/messages.ts";
import { until } from "../../../support/until.ts";
import { BOTH, TestGateway, tokenEntry, TOKENS } from "../harness.ts";

const refused: {
  name: string;
  service: RegisterService;
  reason: RegExp;
  counted: string;
  allow?: string;
}[] = [
  {
    name: "a name with a space",
    service: { name: "my app", protocol: "http" },
    reason: /letters, digits/,
    counted: "bad_name",
  },
  {
    name: "a name with control characters",
    service: { name: "a\u001b[2Jb", protocol: "tcp" },
    reason: /letters, digits/,
    counted: "bad_name",
  },
  {
    name: "a name of several labels in the place of one",
    service: { name: "a.b", protocol: "http" },
    reason: /not one label/,
    counted: "bad_name",
  },
  {
    name: "an address as a host name",
    service: { name: "app", protocol: "http", hostname: "10.0.0.1" },
    reason: /not a host name/,
    counted: "bad_name",
  },
  {
    name: "a host name of one label",
    service: { name: "app", protocol: "http", hostname: "localhost" },
    reason: /not a host name/,
    counted: "bad_name",
  },
  {
    name: "a wildcard",
    service: { name: "app", protocol: "http", hostname: "*.example.com" },
    reason: /not a host name/,
    counted: "bad_name",
  },
  {
    name: "a host name that a header could be hidden in",
    service: { name: "app", protocol: "http", hostname: "a.example.com\r\nx: y" },
    reason: /not a host name/,
    counted: "bad_name",
  },
  {
    name: "the endpoint's own name",
    service: { name: "tunnel", protocol: "http" },
    reason: /gateway's own name/,
    counted: "reserved_name",
  },
  {
    name: "the endpoint's own name in another spelling",
    service: { name: "app", protocol: "tls", hostname: "TUNNEL.example.com." },
    reason: /gateway's own name/,
    counted: "reserved_name",
  },
  {
    name: "the bare domain",
    service: { name: "app", protocol: "http", hostname: "example.com" },
    reason: /gateway's own name/,
    counted: "reserved_name",
  },
  {
    name: "a name of another domain, which the token does not say",
    service: { name: "app", protocol: "http", hostname: "www.example.org" },
    reason: /may not have the name/,
    counted: "not_allowed",
  },
  {
    name: "a label that the token does not allow, asked for as a full name",
    service: { name: "demo", protocol: "http", hostname: "admin.example.com" },
    reason: /may not have the name/,
    counted: "not_allowed",
    allow: "{ subdomains: [demo] }",
  },
  {
    name: "a protocol that the token does not allow",
    service: { name: "demo", protocol: "tcp" },
    reason: /may not expose tcp/,
    counted: "not_allowed",
    allow: "{ subdomains: [demo], ports: 30000-30009, protocols: [http] }",
  },
  {
    name: "a port below the range",
    service: { name: "ssh", protocol: "tcp", remotePort: 22 },
    reason: /30000 to 30009/,
    counted: "bad_port",
  },
  {
    name: "a port above the range",
    service: { name: "ssh", protocol: "tcp", remotePort: 30_010 },
    reason: /30000 to 30009/,
    counted: "bad_port",
  },
  {
    name: "a port of the range that the token does not allow",
    service: { name: "ssh", protocol: "tcp", remotePort: 30_001 },
    reason: /may not have port 30001/,
    counted: "not_allowed",
    allow: "{ ports: 30005-30006 }",
  },
  {
    name: "any port, for a token that may have none",
    service: { name: "ssh", protocol: "tcp" },
    reason: /may not have a port/,
    counted: "not_allowed",
    allow: "{ subdomains: [demo] }",
  },
  {
    name: "any port, for a token whose ports are all outside of the range",
    service: { name: "ssh", protocol: "tcp" },
    reason: /No port .* is free/,
    counted: "no_free_port",
    allow: "{ ports: 40000-40005 }",
  },
];
for (const { name, service, reason, counted, allow } of refused) {
  Deno.test(`refuses ${name}`, async () => {
    const tokens = allow === undefined ? BOTH : tokenEntry("alice", TOKENS.alice, `allow: ${allow}`);
    await using gateway = new TestGateway({ tokens });
    const agent = await gateway.agent();
    const answer = await agent.register(service);
    assert.equal(answer.type, "registerFail");
    assert.match(answer.type === "registerFail" ? answer.reason : "", reason);
    assert.ok(
      answer.type === "registerFail" && answer.reason.startsWith(`${counted}: `),
      "the word on the wire",
    );
    assert.equal(gateway.metric("tunnel_registrations_refused_total", { reason: counted }), 1);
    const { fields } = await gateway.logged("registration_refused");
    assert.equal(fields["reason"], counted);
    assert.doesNotMatch(JSON.stringify(fields), /\\u001b|\\r|\\n/);
    assert.equal(gateway.openPorts.size, 0);
    // Refused is the service, and not the tunnel.
    assert.equal(gateway.plugin.tunnels().length, 1);
  });
}

Deno.test("a name that another agent holds is refused, and its holder is untouched", async () => {
  await using gateway = new TestGateway();
  const holder = await gateway.agent();
  await holder.serve({ name: "demo", protocol: "http" });
  await holder.serve({ name: "ssh", protocol: "tcp", remotePort: 30_001 });
  const strangers = [
    await gateway.agent({ client: 2 }),
    await gateway.agent({ token: TOKENS.bob }),
  ];
  for (const stranger of strangers) {
    for (
      const service of [
        { name: "demo", protocol: "http" },
        { name: "demo2", protocol: "tls", hostname: "demo.example.com" },
        { name: "ssh", protocol: "tcp", remotePort: 30_001 },
      ] as const
    ) {
      const answer = await stranger.register(service);
      assert.match(answer.type === "registerFail" ? answer.reason : "", /held by another/);
    }
  }
  assert.equal(gateway.plugin.tunnels().length, 3);
  const services = gateway.plugin.tunnels().map(({ services }) => services.length);
  assert.deepEqual(services, [2, 0, 0]);
});

Deno.test("a service's name, and a public name, twice in one tunnel", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await agent.serve({ name: "demo", protocol: "http" });
  for (
    const service of [
      { name: "demo", protocol: "tcp" },
      { name: "other", protocol: "tls", hostname: "demo.example.com" },
    ] as const
  ) {
    const answer = await agent.register(service);
    assert.match(answer.type === "registerFail" ? answer.reason : "", /already/);
  }
  assert.equal(gateway.metric("tunnel_registrations_refused_total", { reason: "duplicate" }), 2);
});

Deno.test("limits.servicesPerTunnel: refused with its name, until one is given back", async () => {
  await using gateway = new TestGateway({ section: { limits: { servicesPerTunnel: 2 } } });
  const agent = await gateway.agent();
  const { serviceId } = await agent.serve({ name: "a", protocol: "http" });
  await agent.serve({ name: "b", protocol: "http" });
  const answer = await agent.register({ name: "c", protocol: "http" });
  assert.match(answer.type === "registerFail" ? answer.reason : "", /limits\.servicesPerTunnel/);
  await agent.send({ type: "unregister", serviceId });
  await agent.serve({ name: "c", protocol: "http" });
});

Deno.test("answers come in the order of the requests", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const names = ["a", "b c", "d", "tunnel", "e"];
  await Promise.all(names.map((name) => agent.send({ type: "registerService", name, protocol: "http" })));
  const answers = [];
  for (const _ of names) answers.push(await agent.next("serviceRegistered", "registerFail"));
  assert.deepEqual(
    answers.map((answer) => answer.type === "serviceRegistered" ? answer.name : "refused"),
    ["a", "refused", "d", "refused", "e"],
  );
});

Deno.test("the plain Register of the control protocol works too, and is answered in kind", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  await agent.send({ type: "register", name: "ssh", protocol: "tcp", localPort: 22, remotePort: 30_004 });
  const { serviceId } = await agent.next("registerOk");
  assert.deepEqual([...gateway.openPorts], [{ node: 0, port: 30_004 }]);
  await agent.send({ type: "register", name: "game", protocol: "udp", localPort: 9, remotePort: 0 });
  await agent.next("registerOk");
  assert.equal(gateway.udpPorts.size, 1);
  assert.equal(gateway.plugin.tunnels()[0]?.services[0]?.id, serviceId);
});

Deno.test("an assigned port is of the range and of the token's, and differs from service to service", async () => {
  const tokens = tokenEntry("alice", TOKENS.alice, "allow: { ports: [30008-40000, 30002] }");
  await using gateway = new TestGateway({ tokens });
  const agent = await gateway.agent();
  const ports = [];
  for (const name of ["a", "b", "c"]) {
    ports.push((await agent.serve({ name, protocol: "tcp" })).remotePort ?? 0);
  }
  assert.deepEqual(ports.toSorted(), [30_002, 30_008, 30_009]);
  const answer = await agent.register({ name: "d", protocol: "tcp" });
  assert.match(answer.type === "registerFail" ? answer.reason : "", /No port/);
});

Deno.test("an assigned port is the same for all connections of an agent, and after a restart of the gateway", async () => {
  const assigned: (number | undefined)[] = [];
  for (let run = 0; run < 2; run++) {
    await using gateway = new TestGateway({ nodes: 2 });
    for (const slot of [0, 1]) {
      const agent = await gateway.agent({ epoch: 1, slot, node: slot });
      assigned.push((await agent.serve({ name: "ssh", protocol: "tcp" })).remotePort);
    }
    assert.equal(gateway.openPorts.size, 2); // one in each data plane
  }
  assert.equal(new Set(assigned).size, 1, assigned.join());
});

Deno.test("a port that some other program has: another one is assigned, and asked for it is refused", async () => {
  await using gateway = new TestGateway();
  const agent = await gateway.agent();
  const usual = await agent.serve({ name: "ssh", protocol: "tcp" });
  await agent.send({ type: "unregister", serviceId: usual.serviceId });
  await until(() => gateway.openPorts.size === 0, { what: "the port to be closed" });
  gateway.portsInUse.add(usual.remotePort ?? 0);
  const other = await agent.serve({ name: "ssh", protocol: "tcp" });
  assert.notEqual(other.remotePort, usual.remotePort);
  const answer = await agent.register({ name: "x", protocol: "tcp", remotePort: usual.remotePort ?? 0 });
  assert.match(answer.type === "registerFail" ? answer.reason : "", /cannot be opened/);
  assert.equal((await gateway.logged("tunnel_port_failed")).fields["port"], usual.remotePort);
  // Nothing of it is left behind.
  assert.equal(gateway.registry.lookup(`port:${usual.remotePort}`), undefined);
});

Deno.test("a port is assigned behind however long a row of ports that others hold", async () => {
  await using gateway = new TestGateway({ section: { ports: "30000-30199" } });
  const others = { id: "s", node: "data-plane-0", holder: "token:bob/1", epoch: 1, slot: 0 };
  gateway.registry.open({ ...others, maxSessions: 10, graceMs: 0 });
  for (let port = 30_000; port < 30_199; port++) gateway.registry.claim("s", `port:${port}`, { name: "x" });
  const agent = await gateway.agent();
  assert.equal((await agent.serve({ name: "ssh", protocol: "tcp" })).remotePort, 30_199);
});

Deno.test("publicPort is what agents are told, wherever they have connected to", async () => {
  await using gateway = new TestGateway({ section: { publicPort: 443 } });
  const agent = await gateway.agent();
  assert.equal((await agent.serve({ name: "a", protocol: "http" })).url, "https://a.example.com");
  assert.equal((await agent.serve({ name: "b", protocol: "tls" })).url, "tls://b.example.com:443");
});
