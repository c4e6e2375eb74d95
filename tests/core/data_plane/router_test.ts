import assert from "node:assert/strict";
import { PluginFault, Router } from "../../../core/data_plane/router.ts";
import { GatewayError } from "../../../core/errors.ts";
import type { ConnectionInfo, Decision } from "../../../core/plugin/contract.ts";
import {
  inlineHandle,
  type PluginHandle,
  type PluginTraits,
  type RouteScope,
} from "../../../core/plugin/host.ts";
import { FakeClock } from "./fake_clock.ts";

const ENDPOINT = { address: "192.0.2.1", port: 4711 };
const CONNECTION: ConnectionInfo = {
  id: "t-0",
  listener: "127.0.0.1:0",
  source: ENDPOINT,
  destination: ENDPOINT,
  peer: ENDPOINT,
  protocol: "tls",
  tls: { serverName: "db.example.com", alpn: [], versions: [] },
};
const FORWARD: Decision = { kind: "forward", to: "127.0.0.1:1" };

/** A connection that can end. */
class Scope implements RouteScope {
  readonly #controller = new AbortController();
  readonly signal = this.#controller.signal;
  onEnd: (() => void) | undefined = undefined;

  end(): void {
    this.#controller.abort();
    this.onEnd?.();
  }
}

function scope(): Scope {
  return new Scope();
}

/** Plugins that answer as given, in a router; `asked` says who was. */
function routerOf(
  answers: readonly (() => unknown)[],
  traits: readonly Partial<PluginTraits>[] = [],
): { readonly router: Router; readonly asked: string[]; readonly handles: readonly PluginHandle[] } {
  const asked: string[] = [];
  const handles = answers.map((answer, i) =>
    inlineHandle(`p${i}`, { routeTimeoutMs: 100, ...traits[i] }, {
      route: () => {
        asked.push(`p${i}`);
        return answer() as Decision;
      },
    })
  );
  const router = new Router();
  router.replace(handles);
  return { router, asked, handles };
}

Deno.test("plugins are asked in order, and the first that takes the connection decides", async () => {
  const { router, asked } = routerOf([
    () => undefined,
    async () => await undefined,
    () => FORWARD,
    () => FORWARD,
  ]);
  const routed = await router.route(CONNECTION, scope());
  assert.deepEqual(asked, ["p0", "p1", "p2"]);
  assert.equal(routed?.plugin.name, "p2");
  assert.equal(routed?.decision, FORWARD);
  router.close();
});

Deno.test("when none takes it, there is no decision", async () => {
  const { router, asked } = routerOf([() => undefined, () => undefined]);
  assert.equal(await router.route(CONNECTION, scope()), undefined);
  assert.deepEqual(asked, ["p0", "p1"]);
});

Deno.test("a plugin is asked only about the names that it may take", async () => {
  const names = [["*.other.example"], ["*.example.com"], undefined].map((names) => names ? { names } : {});
  const { router, asked } = routerOf([() => FORWARD, () => undefined, () => FORWARD], names);
  await router.route(CONNECTION, scope());
  assert.deepEqual(asked, ["p1", "p2"]);
});

Deno.test("a connection without a name is brought to no plugin that has names", async () => {
  const { router, asked } = routerOf([() => FORWARD], [{ names: ["*"] }]);
  const { tls: _, ...plain } = CONNECTION;
  assert.equal(await router.route({ ...plain, protocol: "ssh" }, scope()), undefined);
  assert.equal(await router.route({ ...plain, tls: { alpn: [], versions: [] } }, scope()), undefined);
  assert.deepEqual(asked, []);
});

const FAULTS: Readonly<Record<string, () => unknown>> = {
  throws: () => {
    throw new Error("The database is down");
  },
  rejects: () => Promise.reject(new GatewayError("plugin-failed", "It is down")),
  "answers nonsense": () => ({ kind: "perhaps" }),
  "answers nonsense later": () => Promise.resolve("forward"),
  "answers null": () => null,
  "answers a half decision": () => ({ kind: "terminate", clientCertificate: null }),
  "answers something like a promise": () => ({
    then: (resolve: (value: unknown) => void) => resolve(FORWARD),
  }),
};

for (const [fault, answer] of Object.entries(FAULTS)) {
  Deno.test(`a plugin that ${fault} fails closed: nobody behind it is asked`, async () => {
    const { router, asked, handles } = routerOf([() => undefined, answer, () => FORWARD]);
    await assert.rejects(async () => await router.route(CONNECTION, scope()), (error) => {
      assert.ok(error instanceof PluginFault);
      assert.equal(error.plugin, handles[1]);
      assert.equal(error.timedOut, false);
      return true;
    });
    assert.deepEqual(asked, ["p0", "p1"]);
    router.close();
  });
}

Deno.test("a plugin that takes too long has failed, and its late answer counts no more", async () => {
  const late = Promise.withResolvers<Decision>();
  const { router, asked } = routerOf([() => late.promise, () => FORWARD], [{ routeTimeoutMs: 20 }]);
  const ended = scope();
  await assert.rejects(router.route(CONNECTION, ended), (error) => {
    assert.ok(error instanceof PluginFault && error.timedOut);
    return true;
  });
  late.resolve(FORWARD);
  assert.deepEqual(asked, ["p0"]);
  router.close();
});

Deno.test("each plugin has the time that it asked for, by one timer a length of time", () => {
  using clock = new FakeClock();
  const times = [50, 50, 200].map((routeTimeoutMs) => ({ routeTimeoutMs }));
  const { router, handles } = routerOf([0, 1, 2].map(() => () => new Promise(() => {})), times);
  for (const handle of [...handles, ...handles]) router.ask(handle, CONNECTION, scope()).catch(() => {});
  assert.equal(clock.timers, 2);
  router.close();
  assert.equal(clock.timers, 0);
});

Deno.test("answering in time leaves nothing behind", async () => {
  const { router, handles } = routerOf([() => Promise.resolve(FORWARD)]);
  const ended = scope();
  const [handle] = handles;
  assert.ok(handle);
  assert.equal(await router.ask(handle, CONNECTION, ended), FORWARD);
  ended.end(); // too late to matter
  router.close();
});

Deno.test("when the connection ends, nobody waits for the answer and nobody else is asked", async () => {
  let signal: AbortSignal | undefined;
  const asked: string[] = [];
  const waits = inlineHandle("waits", { routeTimeoutMs: 10_000 }, {
    route: (_, options) => {
      signal = options.signal;
      return new Promise(() => {});
    },
  });
  const next = inlineHandle("next", { routeTimeoutMs: 10_000 }, { route: () => void asked.push("next") });
  const router = new Router();
  router.replace([waits, next]);
  const ended = scope();
  const routed = router.route(CONNECTION, ended);
  ended.end();
  await assert.rejects(routed, (error) => error instanceof PluginFault && !error.timedOut);
  assert.equal(signal?.aborted, true);
  assert.deepEqual(asked, []);
  router.close();
});

Deno.test("a plugin whose answer nobody waits for any more is told so, once; one that has answered is not", async () => {
  const told: string[] = [];
  const answer = Promise.withResolvers<Decision>();
  const plugin: PluginHandle = {
    name: "remote",
    routeTimeoutMs: 20,
    mayTake: () => true,
    route: ({ id }) => id === "answered" ? Promise.resolve(FORWARD) : answer.promise,
    cancel: ({ id }) => void told.push(id),
  };
  const router = new Router();
  const [answered, late, left] = [scope(), scope(), scope()];
  await router.ask(plugin, { ...CONNECTION, id: "answered" }, answered);
  const leaving = router.ask(plugin, { ...CONNECTION, id: "left" }, left);
  left.end();
  await assert.rejects(leaving);
  await assert.rejects(router.ask(plugin, { ...CONNECTION, id: "late" }, late));
  for (const one of [answered, late, left]) one.end();
  answer.resolve(FORWARD);
  assert.deepEqual(told, ["left", "late"]);
  router.close();
});

Deno.test("replacing the plugins changes whom the next connection meets, not the one that is being decided", async () => {
  const first = Promise.withResolvers<undefined>();
  const { router, asked } = routerOf([() => first.promise, () => FORWARD]);
  const routed = router.route(CONNECTION, scope());
  router.replace([]);
  first.resolve(undefined);
  assert.equal((await routed)?.plugin.name, "p1");
  assert.deepEqual(asked, ["p0", "p1"]);
  assert.equal(await router.route(CONNECTION, scope()), undefined);
  router.close();
});

Deno.test("while decisions are held nobody is asked; then those who waited are decided about by the plugins of then", async () => {
  const { router, asked } = routerOf([() => FORWARD]);
  router.hold();
  router.hold();
  const first = router.route(CONNECTION, scope());
  const [old] = router.plugins;
  assert.ok(old);
  const again = router.ask(old, CONNECTION, scope());
  await Promise.resolve();
  assert.deepEqual(asked, []);
  const { router: other, asked: askedOfOther } = routerOf([() => FORWARD]);
  router.replace(other.plugins);
  router.release();
  assert.equal((await first)?.plugin, other.plugins[0]);
  assert.deepEqual(await again, FORWARD);
  assert.deepEqual([asked, askedOfOther], [["p0"], ["p0"]]);
  router.release();
  router.close();
  other.close();
});
