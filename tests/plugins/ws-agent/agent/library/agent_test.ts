import assert from "node:assert/strict";
import { GatewayError } from "../../../../../core/errors.ts";
import {
  Agent,
  type AgentEvent,
  type AgentOptions,
} from "../../../../../plugins/ws-agent/agent/library/mod.ts";
import { EventQueue } from "../../../../../plugins/ws-agent/agent/library/event_queue.ts";
import { FakeGateway } from "../fake_gateway.ts";
import { startLibrary } from "./start.ts";

const HELLO = { name: "hello", protocol: "http", fetch: () => new Response("hello") } as const;
const RIGHT: AgentOptions = { gateway: "tunnel.example.com", token: "a-token-of-mine", services: [HELLO] };
const handle = () => Promise.resolve();

/** As a program in JavaScript may pass them. */
const WRONG: readonly { readonly options: object; readonly problems: readonly RegExp[] }[] = [
  { options: { gateway: "ftp://x" }, problems: [/^gateway: Not the address of a gateway/] },
  { options: { gateway: undefined }, problems: [/^gateway: /] },
  { options: { token: undefined }, problems: [/^token: Required/] },
  { options: { token: "x", jwt: { secret: "y" } }, problems: [/^jwt: Either a token or jwt/] },
  { options: { tokn: "x" }, problems: [/^tokn: .*token/] },
  { options: { connections: 17 }, problems: [/^connections: /] },
  { options: { reconnect: { min: "soon" } }, problems: [/^reconnect\.min: /] },
  {
    options: { proxy: "socks5://u:a-token-of-mine@proxy" },
    problems: [/^proxy: Not the address of a proxy: only http/],
  },
  { options: { tls: { ca: "/etc/ca.pem" } }, problems: [/^tls\.ca: There is no certificate in it/] },
  { options: { services: undefined }, problems: [/^services: Required/] },
  { options: { services: [] }, problems: [/^services: /] },
  { options: { services: [null] }, problems: [/^services\[0\]: /] },
  { options: { services: [HELLO, HELLO] }, problems: [/^services\[1\]\.name: Another service/] },
  {
    options: { services: [{ ...HELLO, target: 80 }] },
    problems: [/^services\[0\]\.target: Either a target or a function/],
  },
  {
    options: { services: [{ ...HELLO, protocol: "tcp" }] },
    problems: [/^services\[0\]\.handle: Required/, /^services\[0\]\.fetch: Only for http, and this is tcp/],
  },
  {
    options: { services: [{ name: "a", protocol: "http", handle }] },
    problems: [/^services\[0\]\.fetch: Required/, /^services\[0\]\.handle: Only for tcp and tls/],
  },
  {
    options: { services: [{ name: "a", protocol: "udp", handle }] },
    problems: [/^services\[0\]\.protocol: Only targets/],
  },
  {
    options: { services: [{ name: "a", protocol: "http", fetch: 1 }] },
    problems: [/^services\[0\]\.fetch: Required/],
  },
  { options: { services: [{ name: "a", protocol: "tcp" }] }, problems: [/^services\[0\]\.target: /] },
  {
    options: { services: [{ ...HELLO, proxyProtocol: "v2" }] },
    problems: [/^services\[0\]\.proxyProtocol: Only targets/],
  },
  {
    options: {
      services: [{ name: "a b", protocol: "tcp", handle, hostname: "a.example.com" }],
      connections: 0,
    },
    problems: [
      /^connections: /,
      /^services\[0\]\.name: A service's name/,
      /^services\[0\]\.hostname: Only http/,
    ],
  },
];

for (const { options, problems } of WRONG) {
  Deno.test(`options of an agent: ${problems.map(({ source }) => source).join(" ")}`, () => {
    assert.throws(() => new Agent({ ...RIGHT, ...options } as AgentOptions), (error) => {
      assert.ok(error instanceof GatewayError && error.code === "config-invalid");
      const lines = error.message.split("\n").toSorted();
      assert.equal(lines.length, problems.length, error.message);
      for (const problem of problems) assert.ok(lines.some((line) => problem.test(line)), error.message);
      assert.ok(!error.message.includes(RIGHT.token ?? ""));
      return true;
    });
  });
}

Deno.test("an option that is undefined is one that is not given", () => {
  new Agent({
    ...RIGHT,
    jwt: undefined,
    name: undefined,
    tls: { ca: undefined },
    connections: undefined,
    services: [{ ...HELLO, hostname: undefined, remotePort: undefined }],
  });
});

Deno.test("an agent of a program is ready when the public reaches its services, and says where", async () => {
  await using gateway = new FakeGateway();
  await using agent = new Agent({ ...RIGHT, gateway: `ws://127.0.0.1:${gateway.port}`, connections: 1 });
  agent.start();
  agent.start();
  assert.deepEqual(await agent.ready(), [{
    kind: "public",
    service: "hello",
    protocol: "http",
    url: "https://hello.example.com",
    target: "in-process",
  }]);
  assert.equal(agent.status.connected, 1);
  assert.equal(gateway.sessions.length, 1);
  assert.equal(gateway.sessions[0]?.services.values().next().value?.target, "in-process");
});

Deno.test("who waits for an agent is told why it will not be ready", async () => {
  await using gateway = new FakeGateway({ authFail: () => "invalid_token: This token is not known" });
  const options = { ...RIGHT, gateway: `ws://127.0.0.1:${gateway.port}` };
  await using agent = new Agent(options);
  agent.start();
  const isFault = (pattern: RegExp) => (error: unknown) =>
    error instanceof GatewayError && error.code === "dial-failed" && pattern.test(error.message);
  await assert.rejects(agent.ready(), isFault(/refuses this agent: This token is not known/));
  assert.equal((await agent.ended).kind, "lost");
  await assert.rejects(agent.ready(), isFault(/refuses this agent/));

  gateway.options.authFail = undefined;
  gateway.options.registerFail = () => "not_allowed: Not for this token";
  await using refused = new Agent(options);
  refused.start();
  await assert.rejects(refused.ready(), isFault(/does not take "hello": Not for this token/));
  await assert.rejects(refused.ready(), isFault(/does not take "hello"/), "also who asks later");

  await using waiting = new Agent({ ...RIGHT, gateway: "ws://127.0.0.1:9" });
  const late = new AbortController();
  const ready = waiting.ready({ signal: late.signal });
  late.abort(new Error("enough"));
  await assert.rejects(ready, /enough/);
  const stopped = waiting.ready();
  await waiting.stop();
  await assert.rejects(stopped, isFault(/was stopped/));
});

Deno.test("an agent that was stopped before it was started does not start", async () => {
  await using gateway = new FakeGateway();
  await using agent = new Agent({ ...RIGHT, gateway: `ws://127.0.0.1:${gateway.port}`, connections: 1 });
  await agent.stop();
  agent.start();
  assert.equal((await agent.ended).kind, "stopped");
  await assert.rejects(agent.ready(), { code: "dial-failed" });
  assert.equal(gateway.sessions.length, 0);
});

Deno.test("a listener that fails, also later, does no harm", async () => {
  await using gateway = new FakeGateway();
  await using agent = new Agent({
    ...RIGHT,
    gateway: `ws://127.0.0.1:${gateway.port}`,
    onEvent: ({ kind }) =>
      kind === "connected" ? Promise.reject(new Error("later")) as unknown as void : undefined,
  });
  agent.start();
  assert.equal((await agent.ready()).length, 1);
});

Deno.test("events are told to the callback and to each iterator, and end with the agent", async () => {
  await using started = await startLibrary([HELLO], {
    onEvent: () => {
      throw new Error("a listener's own fault");
    },
  });
  const events: AgentEvent[] = [];
  const reading = (async () => {
    for await (const event of started.agent.events()) events.push(event);
  })();
  await started.session.send({ type: "disconnect", reason: "closed_by_admin: Go" });
  await started.gateway.registered(1);
  await started.agent.stop();
  await reading;
  assert.deepEqual(events.map(({ kind }) => kind), ["disconnected", "connected"]);
  for await (const _ of started.agent.events()) assert.fail("it has ended");
});

Deno.test("a reader of events that is slow misses the oldest, and one that leaves is forgotten", async () => {
  let ended = 0;
  const queue = new EventQueue<number>(() => ended++);
  for (let i = 0; i < 1500; i++) queue.add(i);
  assert.deepEqual(await queue.next(), { done: false, value: 500 });
  const seen: number[] = [];
  for await (const one of queue) if (seen.push(one) === 3) break;
  assert.deepEqual(seen, [501, 502, 503]);
  assert.equal(ended, 1);
  queue.add(1);
  assert.deepEqual(await queue.next(), { done: true, value: undefined });
});
