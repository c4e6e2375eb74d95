import assert from "node:assert/strict";
import {
  fileOf,
  formatBundle,
  MAX_BUNDLE_BYTES,
  nameOfFile,
  parseBundle,
} from "../../../core/acme/bundle.ts";
import { type Account, AcmeCache } from "../../../core/acme/cache.ts";
import { AcmeDirectory } from "../../../core/acme/directory.ts";
import { AcmeFault } from "../../../core/acme/fault.ts";
import { faultOf, isBadNonce } from "../../../core/acme/http.ts";
import { acmePermissions } from "../../../core/acme/permissions.ts";
import { HourlyBudget, parseRetryAfter, renewalTime, retryDelay } from "../../../core/acme/schedule.ts";
import { type Challenge, dnsSolver, type Solver } from "../../../core/acme/solvers.ts";
import { chooseNames, type Holdings, MAX_WANTED } from "../../../core/acme/wanted.ts";
import { createLog } from "../../../core/log.ts";
import { CERTIFICATE as ISSUED, type Meanwhile, startAcmeDirectory } from "../../support/acme_directory.ts";

const DAY_MS = 86_400_000, HOUR_MS = 3_600_000, MINUTE_MS = 60_000;

const renewals = [
  { what: "90 days, no jitter", days: 90, random: 0, expected: 60 },
  { what: "90 days, all of it", days: 90, random: 1, expected: 60 - 90 / 50 },
  { what: "6 days", days: 6, random: 0, expected: 4 },
  { what: "none at all", days: 0, random: 1, expected: 0 },
  { what: "less than none", days: -5, random: 1, expected: 0 },
];
for (const { what, days, random, expected } of renewals) {
  Deno.test(`a certificate is renewed when two thirds of its life are over: ${what}`, () => {
    const notBefore = Date.UTC(2026, 0, 1);
    const at = renewalTime({ notBefore, notAfter: notBefore + days * DAY_MS }, random);
    assert.equal(Math.round((at - notBefore) / 1000), Math.round(expected * 86_400));
  });
}

const delays = [
  { kind: "refused", failures: 1, ms: 5 * MINUTE_MS },
  { kind: "refused", failures: 2, ms: 10 * MINUTE_MS },
  { kind: "refused", failures: 50, ms: 12 * HOUR_MS },
  { kind: "unreachable", failures: 1, ms: 2000 },
  { kind: "unreachable", failures: 5, ms: 32_000 },
  { kind: "unreachable", failures: 5000, ms: 10 * MINUTE_MS },
  { kind: "limited", failures: 1, ms: HOUR_MS },
  { kind: "limited", failures: 1, retryAfterMs: 3 * DAY_MS, ms: 3 * DAY_MS },
  { kind: "limited", failures: 1, retryAfterMs: 400 * DAY_MS, ms: 7 * DAY_MS },
  { kind: "unreachable", failures: 1, retryAfterMs: 60_000, ms: 60_000 },
] as const;
for (const { ms, ...of } of delays) {
  Deno.test(`after ${JSON.stringify(of)} it waits ${ms} ms, and up to a quarter more`, () => {
    const { kind, failures } = of;
    const retryAfterMs = "retryAfterMs" in of ? of.retryAfterMs : undefined;
    assert.equal(retryDelay(kind, failures, { retryAfterMs, random: 0 }), ms);
    assert.equal(retryDelay(kind, failures, { retryAfterMs, random: 1 }), ms * 1.25);
  });
}

Deno.test("Retry-After is read in seconds and as a date, and nothing else", () => {
  const now = Date.parse("Wed, 21 Oct 2015 07:28:00 GMT");
  const read = [
    "120",
    "0",
    "Wed, 21 Oct 2015 07:29:00 GMT",
    "Wed, 21 Oct 2015 07:00:00 GMT",
    "soon",
    "-1s",
    null,
  ]
    .map((value) => parseRetryAfter(value, now));
  assert.deepEqual(read, [120_000, 0, 60_000, 0, undefined, undefined, undefined]);
});

Deno.test("an hourly budget lets a burst through, and then one in each part of the hour", () => {
  const budget = new HourlyBudget(60, 3);
  const start = Date.UTC(2026, 0, 1);
  assert.deepEqual([0, 0, 0, 0].map(() => budget.take(start)), [true, true, true, false]);
  assert.equal(budget.take(start + 30_000), true); // half of a step of slack
  assert.equal(budget.take(start + MINUTE_MS), false);
  assert.equal(budget.take(start + 2 * MINUTE_MS), true);
  assert.ok(budget.nextAt > start + 2 * MINUTE_MS);
  assert.deepEqual([1, 2, 3, 4].map(() => budget.take(start + HOUR_MS)), [true, true, true, false]);
  assert.equal(budget.take(start - DAY_MS), false); // the clock was set back
  assert.equal(budget.take(start - DAY_MS + MINUTE_MS), true);
});

const reply = (status: number, problem: unknown, headers: Record<string, string> = {}) => ({
  status,
  headers: new Headers(headers),
  text: typeof problem === "string" ? problem : JSON.stringify(problem),
});
const faults = [
  {
    what: "a rate limit of one name",
    reply: reply(429, { type: "urn:ietf:params:acme:error:rateLimited", detail: "too many\ncertificates" }, {
      "retry-after": "3600",
    }),
    expected: { kind: "limited", forAll: false, retryAfterMs: HOUR_MS, problem: "rateLimited" },
    message: "The directory answers 429 rateLimited: too many certificates",
  },
  {
    what: "somebody in front who is fed up",
    reply: reply(429, "<html>"),
    expected: { kind: "limited", forAll: true, retryAfterMs: undefined, problem: undefined },
    message: "The directory answers 429",
  },
  {
    what: "a directory that is busy",
    reply: reply(503, { type: "urn:acme:error:busy" }, { "retry-after": "10" }),
    expected: { kind: "unreachable", forAll: true, retryAfterMs: 10_000, problem: "urn:acme:error:busy" },
    message: "The directory answers 503 urn:acme:error:busy",
  },
  {
    what: "a name that is not given out",
    reply: reply(400, { type: "urn:ietf:params:acme:error:rejectedIdentifier", detail: "no\u001b[31m" }),
    expected: { kind: "refused", forAll: false, retryAfterMs: undefined, problem: "rejectedIdentifier" },
    message: "The directory answers 400 rejectedIdentifier: no [31m",
  },
  {
    what: "what is no problem document",
    reply: reply(403, [1]),
    expected: { kind: "refused", forAll: false, retryAfterMs: undefined, problem: undefined },
    message: "The directory answers 403",
  },
];
for (const { what, reply, expected, message } of faults) {
  Deno.test(`an error of the directory is understood: ${what}`, () => {
    const { kind, forAll, retryAfterMs, problem, message: said } = faultOf(reply, "The directory", 0);
    assert.deepEqual({ kind, forAll, retryAfterMs, problem }, expected);
    assert.equal(said, message);
  });
}

Deno.test("a nonce that is refused is the library's to replace, and no other refusal is", () => {
  const problem = { type: "urn:ietf:params:acme:error:badNonce" };
  assert.equal(isBadNonce(reply(400, problem)), true);
  assert.equal(isBadNonce(reply(403, problem)), false);
  assert.equal(isBadNonce(reply(400, { type: "urn:ietf:params:acme:error:malformed" })), false);
  assert.equal(isBadNonce(reply(400, "")), false);
});

const BOTH = ["http-01", "dns-01"] as const;
const choices: readonly (Partial<Holdings> & { what: string; wanted: string; left?: string })[] = [
  { what: "an exact route", routes: ["a.example.com"], wanted: "a.example.com http-01" },
  {
    what: "a wildcard serves all names below it",
    routes: ["a.example.com", "*.example.com"],
    tunnels: ["b.example.com", "b.c.example.com"],
    wanted: "*.example.com dns-01, b.c.example.com http-01",
  },
  {
    what: "without DNS each name has its own, and a wildcard has none",
    routes: ["a.example.com", "*.example.com"],
    tunnels: ["b.example.com"],
    challenges: ["http-01"],
    wanted: "a.example.com http-01, b.example.com http-01",
    left: "*.example.com",
  },
  { what: "by DNS alone", routes: ["a.example.com"], challenges: ["dns-01"], wanted: "a.example.com dns-01" },
  {
    what: "files win, by the name and by the wildcard",
    routes: ["a.example.com", "b.example.org", "*.example.com", "*.example.org"],
    tunnels: ["c.example.com"],
    files: ["*.example.com", "b.example.org"],
    wanted: "*.example.org dns-01",
  },
  {
    what: "a file's name below a wildcard does not stand for the wildcard",
    routes: ["*.example.com"],
    files: ["a.example.com"],
    wanted: "*.example.com dns-01",
  },
  {
    what: "names that no authority has",
    routes: ["localhost", "a.localhost", "single", "my_app.example.com", "*", "*.com"],
    wanted: "*.com dns-01",
    left: "*, localhost, a.localhost, single, my_app.example.com",
  },
  { what: "a name twice", routes: ["a.b.c", "a.b.c"], tunnels: ["a.b.c"], wanted: "a.b.c http-01" },
  { what: "nothing by no challenge of a kind", challenges: [], wanted: "" },
];
for (const { what, wanted, left = "", ...holdings } of choices) {
  Deno.test(`chooseNames(): ${what}`, () => {
    const choice = chooseNames({ routes: [], tunnels: [], files: [], challenges: BOTH, ...holdings });
    assert.equal(choice.wanted.map(({ name, challenge }) => `${name} ${challenge}`).join(", "), wanted);
    assert.equal(choice.left.map(({ name }) => name).join(", "), left);
  });
}

Deno.test("chooseNames() has an end, and routes come before tunnels", () => {
  const tunnels = Array.from({ length: MAX_WANTED + 5 }, (_, i) => `t${i}.example.com`);
  const { wanted, left } = chooseNames({ routes: ["a.example.com"], tunnels, files: [], challenges: BOTH });
  assert.equal(wanted.length, MAX_WANTED);
  assert.equal(wanted[0]?.name, "a.example.com");
  assert.equal(left.length, 6);
});

const KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nBBBB\nCC==\n-----END CERTIFICATE-----";
const bundles: readonly { what: string; text: string; certificates?: number }[] = [
  { what: "a key and its certificate", text: `${KEY}\n${CERTIFICATE}\n`, certificates: 1 },
  { what: "a chain, with empty lines", text: `${KEY}\n\n${CERTIFICATE}\n\n${CERTIFICATE}`, certificates: 2 },
  {
    what: "line ends of elsewhere",
    text: `${KEY}\n${CERTIFICATE}\n`.replaceAll("\n", "\r\n"),
    certificates: 1,
  },
  { what: "nothing", text: "" },
  { what: "a key alone", text: KEY },
  { what: "a certificate alone", text: CERTIFICATE },
  { what: "the certificate first", text: `${CERTIFICATE}\n${KEY}` },
  { what: "two keys", text: `${KEY}\n${KEY}\n${CERTIFICATE}` },
  { what: "an encrypted key", text: `${KEY.replaceAll("PRIVATE", "ENCRYPTED PRIVATE")}\n${CERTIFICATE}` },
  { what: "something between them", text: `${KEY}\nhello\n${CERTIFICATE}` },
  { what: "one that was cut off", text: `${KEY}\n${CERTIFICATE.slice(0, -5)}` },
  { what: "zeros", text: "\0".repeat(4096) },
  { what: "more than there can be", text: `${KEY}\n${CERTIFICATE}${"\n".repeat(MAX_BUNDLE_BYTES)}` },
];
for (const { what, text, certificates } of bundles) {
  Deno.test(`parseBundle() of ${what}`, () => {
    const bundle = parseBundle(text);
    assert.equal(
      bundle?.certPem.split("BEGIN").length,
      certificates === undefined ? undefined : certificates + 1,
    );
    if (bundle) assert.deepEqual(parseBundle(formatBundle(bundle)), bundle);
  });
}

Deno.test("a certificate's file is named for it, and no other file is taken for one", () => {
  for (const name of ["app.example.com", "*.example.com", "xn--bcher-kva.example"]) {
    assert.equal(nameOfFile(fileOf(name)), name);
  }
  const others = ["a.pem.bad-1", "a.pem.1.new", "account.json", "../a.pem", "A.pem", ".pem", "_x.pem"];
  assert.deepEqual(others.map(nameOfFile), others.map(() => undefined));
});

Deno.test("the worker may reach the directory and the webhook, use the cache, and nothing else", () => {
  const config = { directory: "https://acme.example.com/dir", cache: "/var/cache/postern" };
  const nothing = { env: false, run: false, sys: false, ffi: false, import: false };
  const folder = { read: ["/var/cache/postern"], write: ["/var/cache/postern"] };
  assert.deepEqual(acmePermissions(config), { ...nothing, ...folder, net: ["acme.example.com:443"] });
  const webhook = (url: string) =>
    acmePermissions({ ...config, dns01: { webhook: url, propagationMs: 0 } }).net;
  assert.deepEqual(webhook("http://u:p@10.0.0.1/x"), ["acme.example.com:443", "10.0.0.1:80"]);
  assert.deepEqual(webhook("https://[::1]:8443/"), ["acme.example.com:443", "[::1]:8443"]);
  assert.deepEqual(webhook("https://acme.example.com/hook"), ["acme.example.com:443"]);
});

for (const status of [429, 503]) {
  Deno.test(`a webhook that answers ${status} stops the name that it was asked for, and no other`, async () => {
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response("no", { status, headers: { "retry-after": "7" } }),
    );
    const { present } = dnsSolver({ webhook: `http://127.0.0.1:${server.addr.port}`, propagationMs: 0 });
    const challenge: Challenge = { hostname: "a.example.com", token: "t", keyAuthorization: "k" };
    await assert.rejects(present(challenge, new AbortController().signal), (error) => {
      assert.ok(error instanceof AcmeFault);
      assert.equal(error.forAll, false);
      assert.equal(error.problem, undefined);
      assert.equal(error.retryAfterMs, 7000);
      assert.equal(error.message, `The webhook's present answers ${status}`);
      return true;
    });
    await server.shutdown();
  });
}

/** An order of `app.example.com` at a directory that does as `meanwhile` says. */
async function orderAt(
  meanwhile: Meanwhile,
  signal = new AbortController().signal,
  solver?: Partial<Solver>,
) {
  await using server = startAcmeDirectory(meanwhile);
  let account: Account | undefined;
  const cache: Partial<AcmeCache> = {
    readAccount: () => Promise.resolve(account),
    writeAccount: (fresh) => {
      account = fresh;
      return Promise.resolve();
    },
  };
  const present = () => Promise.resolve(), withdraw = () => Promise.resolve();
  using directory = new AcmeDirectory({ directory: server.url }, {
    cache: cache as AcmeCache,
    solvers: { "http-01": { present, withdraw, ...solver } },
    log: createLog("acme", "error", () => {}),
  });
  const result = await directory.order({ name: "app.example.com", challenge: "http-01" }, signal)
    .catch((error: unknown) => error);
  return { result, visits: server.visits };
}

Deno.test("a certificate that a directory has given out is taken, although its tunnel leaves at that moment", async () => {
  for (const path of ["/finalize", "/certificate"]) {
    const left = new AbortController();
    const { result } = await orderAt((asked) => {
      if (asked === path) left.abort();
      return undefined;
    }, left.signal);
    assert.equal((result as { certPem: string }).certPem, ISSUED, path);
  }
});

const refusals: readonly { what: string; at: string; visit: number; answer: () => Response; says: RegExp }[] =
  [
    {
      what: "too many looks at an authorization",
      at: "/authorization",
      visit: 2,
      answer: () => new Response("", { status: 429 }),
      says: /^The directory answers 429$/,
    },
    {
      what: "a directory that is busy when it is looked at",
      at: "/authorization",
      visit: 2,
      answer: () => new Response("", { status: 503 }),
      says: /^The directory answers 503$/,
    },
    {
      what: "a challenge that failed",
      at: "/authorization",
      visit: 2,
      answer: () =>
        Response.json({ status: "invalid", challenges: [{}, { error: { detail: "Nobody\nanswers" } }] }),
      says: /^Nobody answers$/,
    },
    {
      what: "an order that is given up behind its proof",
      at: "/finalize",
      visit: 1,
      answer: () => Response.json({ status: "invalid", error: { detail: "Not today" } }),
      says: /^Not today$/,
    },
  ];
for (const { what, at, visit, answer, says } of refusals) {
  Deno.test(`what a directory says at last is heeded at once: ${what}`, async () => {
    const { result, visits } = await orderAt((path, count) => path === at && count === visit && answer());
    assert.ok(result instanceof AcmeFault);
    assert.match(result.message, says);
    assert.equal(visits.filter((path) => path === at).length, visit);
  });
}

Deno.test("a directory is looked at again until it has decided, and where a look fails on its way", async () => {
  const { result, visits } = await orderAt((path, count) => {
    if (path === "/authorization" && count === 2) return new Response("", { status: 502 });
    return path === "/finalize" && Response.json({ status: "processing" });
  });
  assert.equal((result as { certPem: string }).certPem, ISSUED);
  const behind = visits.slice(visits.indexOf("/challenge")).filter((path) => path !== "/nonce");
  assert.equal(
    behind.join(" "),
    "/challenge /authorization /authorization /finalize /orders/1 /certificate",
  );
});

Deno.test("an order that is called off ends what is being asked for", async () => {
  const left = new AbortController();
  const before = performance.now();
  const { result } = await orderAt(async (path, _count, { signal }) => {
    if (path !== "/order") return undefined;
    const ended = new Promise((resolve) => signal.addEventListener("abort", resolve));
    left.abort(new Error("called off"));
    await ended; // it would never answer
    return undefined;
  }, left.signal);
  assert.equal((result as Error).message, "called off");
  assert.ok(performance.now() - before < 15_000, "a request of its own accord takes 30 s");
});

Deno.test("each of two directories at work goes its own way", async () => {
  const { result } = await orderAt(async (path) => {
    if (path === "/order") assert.equal((await orderAt(() => undefined)).result instanceof Error, false);
    return undefined;
  });
  assert.equal((result as { certPem: string }).certPem, ISSUED);
});
