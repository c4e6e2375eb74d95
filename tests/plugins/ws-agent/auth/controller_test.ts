import assert from "node:assert/strict";
import type { RequestedService } from "../../../../plugins/ws-agent/auth/mod.ts";
import { until } from "../../../support/until.ts";
import { configOf, grantOf, hangingResponse, open, reasonOf, serve, SOURCE } from "./harness.ts";

const TOKEN = "a-token-that-only-the-controller-knows";
const DEMO: RequestedService = {
  name: "demo",
  protocol: "http",
  hostname: "demo.example.com",
  isSubdomain: true,
};
const SSH: RequestedService = { name: "ssh", protocol: "tcp", port: 2222 };

const allow = (subject: string, ttl?: number) => () => Response.json({ allow: true, subject, ttl });
const refuse = (reason?: string) => () => Response.json({ allow: false, reason });

Deno.test("a controller is asked who it is, and about every service", async () => {
  const bodies: unknown[] = [];
  await using controller = serve(async (request) => {
    assert.equal(request.method, "POST");
    assert.equal(request.headers.get("content-type"), "application/json");
    bodies.push(await request.json());
    return Response.json({ allow: true, subject: "bob", ttl: 0, more: "is passed over" });
  });
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try(TOKEN));
  assert.deepEqual([grant.owner, grant.principal, grant.expiresAt], ["bob", "controller:bob", undefined]);
  assert.equal(await grant.allows(DEMO), undefined);
  assert.equal(await grant.allows(SSH), undefined);
  assert.deepEqual(bodies, [
    { token: TOKEN, clientAddress: SOURCE },
    {
      token: TOKEN,
      clientAddress: SOURCE,
      service: { name: "demo", protocol: "http", hostname: "demo.example.com" },
    },
    { token: TOKEN, clientAddress: SOURCE, service: { name: "ssh", protocol: "tcp", port: 2222 } },
  ]);
});

Deno.test("a service that the controller refuses is refused, with its reason, and counted", async () => {
  await using controller = serve(async (request) => {
    const { service } = await request.json();
    return service?.name === "ssh" ? refuse("not on your plan")() : allow("bob")();
  });
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try(TOKEN));
  assert.equal(await grant.allows(DEMO), undefined);
  assert.equal(await grant.allows(SSH), "not on your plan");
  assert.deepEqual(Object.fromEntries(opened.auth.failures), { controller_refused: 1 });
});

const REASONS: readonly (readonly [reason: string | undefined, shown: string])[] = [
  ["not today", "not today"],
  [undefined, "This token is not known"],
  ["", "This token is not known"],
  ["a\x1b[31m\r\nb\u202e", "a\ufffd[31m\ufffdb\ufffd"],
  ["x".repeat(5000), `${"x".repeat(199)}…`],
];

for (const [reason, shown] of REASONS) {
  Deno.test(`the agent is shown a reason of ${JSON.stringify(reason)?.slice(0, 30)} on one line, and not too long`, async () => {
    await using controller = serve(refuse(reason));
    using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
    const result = await opened.try(TOKEN);
    assert.deepEqual(result, { refusal: { reason: "controller_refused", message: shown } });
  });
}

const NO_ANSWERS: Readonly<Record<string, () => Response>> = {
  "status 500": () => Response.json({ allow: true, subject: "bob" }, { status: 500 }),
  "status 201": () => Response.json({ allow: true, subject: "bob" }, { status: 201 }),
  "status 401": () => new Response("", { status: 401 }),
  "no content": () => new Response(null, { status: 204 }),
  "an empty answer": () => new Response(""),
  "no JSON": () => new Response("allow"),
  "no mapping": () => Response.json(true),
  "null": () => Response.json(null),
  "allow as text": () => Response.json({ allow: "true", subject: "bob" }),
  "allow as a number": () => Response.json({ allow: 1, subject: "bob" }),
  "no allow": () => Response.json({ subject: "bob" }),
  "no subject": () => Response.json({ allow: true }),
  "an empty subject": () => Response.json({ allow: true, subject: "" }),
  "a subject that is no text": () => Response.json({ allow: true, subject: ["bob"] }),
  "a subject that a terminal would obey": () => Response.json({ allow: true, subject: "\x1b[2J" }),
  "a subject without end": () => Response.json({ allow: true, subject: "b".repeat(257) }),
  "a ttl below zero": () => Response.json({ allow: true, subject: "bob", ttl: -1 }),
  "a ttl that is no number": () => Response.json({ allow: true, subject: "bob", ttl: "60" }),
  "more than 64 KiB": () => Response.json({ allow: true, subject: "bob", pad: "x".repeat(65_536) }),
  "more than 64 KiB without a length": () => new Response(endless()),
  "more than 64 KiB once unpacked": () =>
    new Response(
      new Blob([JSON.stringify({ allow: true, subject: "bob", pad: "x".repeat(200_000) })]).stream()
        .pipeThrough(new CompressionStream("gzip")),
      { headers: { "content-encoding": "gzip" } },
    ),
};

function endless(): ReadableStream<Uint8Array> {
  return new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(16_384).fill(0x20)) });
}

for (const [what, answer] of Object.entries(NO_ANSWERS)) {
  Deno.test(`a controller that answers with ${what} lets nobody in`, async () => {
    await using controller = serve(answer);
    using opened = open({ controller: { url: controller.url, timeoutMs: 5000 }, failedAuthPerMinute: 1 });
    for (let i = 0; i < 3; i++) assert.equal(reasonOf(await opened.try(TOKEN)), "controller_unavailable");
    assert.deepEqual(Object.fromEntries(opened.auth.failures), { controller_unavailable: 3 });
    assert.deepEqual(opened.events.map(({ event }) => event), ["controller_unavailable"], "told once");
  });
}

Deno.test("a redirect is not followed: the token is for one server", async () => {
  await using elsewhere = serve(allow("bob"));
  for (const status of [301, 302, 303, 307, 308]) {
    await using controller = serve(() => Response.redirect(elsewhere.url, status));
    using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
    assert.equal(reasonOf(await opened.try(TOKEN)), "controller_unavailable", `${status}`);
  }
  assert.equal(elsewhere.asked, 0);
});

Deno.test("nobody gets in when the controller says nothing, stops in the middle, or is not there", async () => {
  const over = new AbortController();
  const silent = Promise.withResolvers<Response>();
  await using first = serve(() => silent.promise);
  await using second = serve(() => hangingResponse(over.signal));
  const gone = serve(allow("bob"));
  await gone[Symbol.asyncDispose]();
  for (const { url } of [first, second, gone]) {
    using opened = open({ controller: { url, timeoutMs: 50 } });
    assert.equal(reasonOf(await opened.try(TOKEN)), "controller_unavailable");
  }
  silent.resolve(new Response());
  over.abort();
});

Deno.test("a controller that becomes silent lets nobody register more, and ends nobody", async () => {
  await using controller = serve(allow("bob", 60));
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try(TOKEN));
  controller.answer(() => new Response("", { status: 503 }));
  assert.match(await grant.allows(DEMO) ?? "", /can't ask/);
  opened.clock.advance(60_000);
  assert.equal(grant.stillGood(), undefined);
  await until(() => opened.auth.failures.size === 1 && controller.asked === 3, {
    what: "it to be asked again",
  });
  assert.equal(grant.stillGood(), undefined);
  assert.equal(controller.asked, 3, "not at every look");
});

Deno.test("an answer is good for its ttl, for the same token, address and service, and for five minutes at most", async () => {
  await using controller = serve(allow("bob", 60));
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try(TOKEN));
  grantOf(await opened.try(TOKEN));
  assert.equal(controller.asked, 1);
  await grant.allows(DEMO);
  await grant.allows(DEMO);
  assert.equal(controller.asked, 2);
  await grant.allows({ ...DEMO, hostname: "demo2.example.com" });
  assert.equal(controller.asked, 3);
  grantOf(await opened.try(TOKEN, "192.0.2.99"));
  grantOf(await opened.try(`${TOKEN}2`));
  assert.equal(controller.asked, 5);
  opened.clock.advance(59_999);
  grantOf(await opened.try(TOKEN));
  assert.equal(controller.asked, 5);
  controller.answer(allow("bob", 1e9));
  opened.clock.advance(1);
  grantOf(await opened.try(TOKEN));
  assert.equal(controller.asked, 6);
  opened.clock.advance(299_999);
  grantOf(await opened.try(TOKEN));
  assert.equal(controller.asked, 6);
  opened.clock.advance(1);
  controller.answer(refuse());
  assert.equal(reasonOf(await opened.try(TOKEN)), "controller_refused");
  assert.equal(reasonOf(await opened.try(TOKEN)), "controller_refused");
  assert.equal(controller.asked, 8, "a refusal is not remembered");
});

Deno.test("who is in is asked about again when the answer is old, and ends when it has become a no", async () => {
  await using controller = serve(allow("bob", 60));
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try(TOKEN));
  assert.equal(grant.stillGood(), undefined);
  assert.equal(controller.asked, 1);
  opened.clock.advance(60_000);
  for (let i = 0; i < 5; i++) assert.equal(grant.stillGood(), undefined);
  await until(() => controller.asked === 2, { what: "the question" });
  controller.answer(refuse("account closed"));
  opened.clock.advance(60_000);
  assert.equal(grant.stillGood(), undefined, "nothing is known yet");
  // The answer to the second question may have come only after the clock had moved on: it is as good as new then.
  await until(() => {
    opened.clock.advance(60_000);
    return grant.stillGood() !== undefined;
  }, { what: "the answer" });
  assert.equal(grant.stillGood(), "account closed");
  assert.equal(await grant.allows(DEMO), "account closed");
});

Deno.test("a token that has become somebody else's is not the first one's any more", async () => {
  await using controller = serve(allow("bob"));
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try(TOKEN));
  controller.answer(allow("mallory"));
  assert.match(await grant.allows(DEMO) ?? "", /belongs to somebody else/);
  assert.match(grant.stillGood() ?? "", /belongs to somebody else/);
});

Deno.test("grants end when another controller is configured, and go on when nothing changed", async () => {
  await using controller = serve(allow("bob", 300));
  const config = { controller: { url: controller.url, timeoutMs: 5000 } };
  using opened = open(config);
  const grant = grantOf(await opened.try(TOKEN));
  opened.auth.reload(configOf(config), {});
  assert.equal(grant.stillGood(), undefined);
  grantOf(await opened.try(TOKEN));
  assert.equal(controller.asked, 1, "and it is remembered");
  opened.auth.reload(configOf({ controller: { url: `${controller.url}v2`, timeoutMs: 5000 } }), {});
  assert.match(grant.stillGood() ?? "", /another controller/);
  assert.match(await grant.allows(DEMO) ?? "", /another controller/);
});

Deno.test("an agent that leaves while the controller thinks is nobody's failure", async () => {
  const answer = Promise.withResolvers<Response>();
  await using controller = serve(() => answer.promise);
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 }, failedAuthPerMinute: 1 });
  const leaving = new AbortController();
  const result = opened.auth.authenticate(TOKEN, SOURCE, { signal: leaving.signal });
  await until(() => controller.asked === 1, { what: "the question" });
  leaving.abort();
  assert.equal(reasonOf(await result), "controller_unavailable");
  assert.deepEqual(opened.events, []);
  answer.resolve(new Response());
  controller.answer(allow("bob"));
  assert.equal(reasonOf(await opened.try(TOKEN)), "granted");
});

for (
  const [what, answer, expected] of [
    ["says that it means accesses", { allow: true, subject: "bob", access: true }, "may"],
    ["knows of no accesses, and allows everything", { allow: true, subject: "bob" }, "may_not"],
    ["refuses", { allow: false, reason: "no" }, "may_not"],
    ["says that it means accesses, and refuses", { allow: false, access: true }, "may_not"],
    ["gives no answer of use", { access: true }, "unknown"],
    ["takes the token for somebody else's", { allow: true, subject: "eve", access: true }, "may_not"],
  ] as const
) {
  Deno.test(`a controller that ${what} is asked about an access: ${expected}`, async () => {
    const bodies: Record<string, unknown>[] = [];
    await using controller = serve(async (request) => {
      const body = await request.json();
      bodies.push(body);
      return Response.json(body.access ? answer : { allow: true, subject: "bob" });
    });
    using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
    const grant = grantOf(await opened.try(TOKEN));
    assert.equal(await grant.mayAccess({ owner: "alice", name: "db" }), expected);
    assert.deepEqual(bodies[1], { token: TOKEN, clientAddress: SOURCE, access: { service: "alice/db" } });
  });
}

Deno.test("a controller is told that a service is private", async () => {
  const bodies: Record<string, unknown>[] = [];
  await using controller = serve(async (request) => {
    bodies.push(await request.json());
    return Response.json({ allow: true, subject: "bob" });
  });
  using opened = open({ controller: { url: controller.url, timeoutMs: 5000 } });
  const grant = grantOf(await opened.try(TOKEN));
  assert.equal(await grant.allows({ name: "db", protocol: "tcp", private: true }), undefined);
  assert.deepEqual(bodies[1]?.["service"], { name: "db", protocol: "tcp", private: true });
});
