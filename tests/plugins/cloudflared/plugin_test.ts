import assert from "node:assert/strict";
import { hasStandIn } from "../../support/cloudflared.ts";
import { until } from "../../support/until.ts";
import { connection, tlsConnection } from "../connection.ts";
import { systemTools } from "../../../plugins/cloudflared/tools.ts";
import { Harness, HOST, NAME, parse } from "./harness.ts";

const ignore = !hasStandIn();
const NEVER = { signal: new AbortController().signal };

Deno.test({
  name:
    "cloudflared is started for the first connection, with cloudflared's command line, and carries its bytes",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    assert.equal(harness.standIn.starts.length, 0, "nothing is started before it is asked for");
    const asked = await harness.ask();
    const { port } = asked.forward;
    assert.deepEqual(asked.decision, {
      ...{ kind: "forward", to: `127.0.0.1:${port}`, proxyProtocol: "pass", retryMs: 1000 },
    });
    const [start, ...more] = harness.standIn.starts;
    assert.deepEqual([start?.args, more], [
      ["access", "tcp", "--hostname", HOST, "--url", `localhost:${port}`],
      [],
    ]);
    assert.deepEqual(Object.keys(start?.env ?? {}).filter((name) => name !== "LC_CTYPE"), [
      ...["HOME", "POSTERN_GATEWAY_PID"],
    ]);
    assert.equal(await asked.use(), "ping");
  },
});

Deno.test({
  name:
    "cloudflared takes what has one of its names by TLS, also behind PostgreSQL's SSLRequest, and nothing else",
  ignore,
  async fn() {
    await using harness = await Harness.start({}, { names: ["*.example.com"] });
    const { plugin } = harness;
    for (const other of [tlsConnection("example.org"), tlsConnection(), connection({ protocol: "ssh" })]) {
      assert.equal(plugin.route(other, NEVER), undefined);
    }
    assert.equal(harness.standIn.starts.length, 0);
    const postgres = await plugin.route(tlsConnection("db.example.com", { protocol: "postgres" }), NEVER);
    assert.equal(postgres?.kind, "forward");
    const long = (await harness.ask(`${"a".repeat(63)}.example.com`)).reject;
    assert.deepEqual([long.reason, harness.standIn.starts.length], ["unknown_name", 1]);
  },
});

Deno.test({
  name: "fifty first connections at once share one start, and the next ones wait for nothing",
  ignore,
  async fn() {
    await using harness = await Harness.start({ startMs: 100 });
    const all = await Promise.all(Array.from({ length: 50 }, () => harness.ask()));
    assert.equal(new Set(all.map(({ forward }) => forward.port)).size, 1);
    assert.deepEqual([harness.standIn.starts.length, harness.process()?.references], [1, 50]);
    const at = harness.plugin.route(tlsConnection(NAME), NEVER);
    assert.ok(at !== undefined && !(at instanceof Promise), "an answer without a promise");
  },
});

Deno.test({
  name: "names that make the same host name share a tunnel, others have their own",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    const names = ["db.customer.example.com", "db-customer.example.com", "web.customer.example.com"];
    const [a, b, c] = await Promise.all(names.map((name) => harness.ask(name)));
    assert.equal(a?.forward.port, b?.forward.port);
    assert.notEqual(a?.forward.port, c?.forward.port);
    assert.equal(harness.metric("cloudflared_processes", { state: "ready" }), 2);
  },
});

Deno.test({
  name:
    "the first client waits no more than 50 ms longer than the program, whether that says that it listens or not",
  ignore,
  async fn() {
    // One that says nothing is tried from half a second on.
    for (const silent of [false, true]) {
      await using harness = await Harness.start({ startMs: silent ? 600 : 100, silent });
      let listened = 0;
      const watching = (async () => {
        const { port } = await until(() => harness.standIn.starts[0], { what: "a start" });
        // A bind that fails tells when somebody listens, without a connection.
        await until(() => {
          try {
            Deno.listen({ hostname: "127.0.0.1", port }).close();
            return false;
          } catch {
            return listened = performance.now();
          }
        }, { what: "the program to listen" });
      })();
      const asked = await harness.ask();
      const answered = performance.now();
      await watching;
      assert.ok(answered - listened < 50, `${answered - listened} ms after it listened`);
      assert.equal(await asked.use(), "ping");
    }
  },
});

Deno.test({
  name:
    "a tunnel that nobody uses any more is stopped after idleTimeout, and started again when it is asked for",
  ignore,
  async fn() {
    await using harness = await Harness.start({}, { idleTimeout: "100ms" });
    const [a, b] = [await harness.ask(), await harness.ask()];
    a.end();
    a.end(); // told twice, it counts once
    harness.plugin.closed({ connection: "stranger", bytesIn: 0, bytesOut: 0, ms: 1, result: "ok" });
    assert.equal(harness.process()?.references, 1);
    await new Promise((resolve) => setTimeout(resolve, 200)); // twice the time that it would have, unused
    assert.equal(harness.standIn.alive.length, 1);

    b.end("plane_lost", 0);
    await harness.untilState("none");
    await until(() => harness.standIn.alive.length === 0, { what: "the process to end" });
    assert.equal(harness.logged("cloudflared_stopping")[0]?.fields["why"], "idle");
    assert.deepEqual(harness.logged("cloudflared_failed"), [], "an end that was asked for is no failure");

    const again = await harness.ask();
    assert.equal(await again.use(), "ping");
    assert.equal(harness.standIn.starts.length, 2);
  },
});

Deno.test({
  name: "a connection that comes while a tunnel idles keeps it from being stopped",
  ignore,
  async fn() {
    const later: (() => void)[] = [];
    const real = systemTools();
    const after = (ms: number, task: () => void) => {
      if (ms !== 123_456) return real.after(ms, task);
      later.push(task);
      return () => void later.splice(later.indexOf(task), 1);
    };
    await using harness = await Harness.start({}, { idleTimeout: "123456ms" }, { after });
    (await harness.ask()).end();
    assert.equal(later.length, 1);
    const asked = await harness.ask();
    assert.equal(later.length, 0, "the timer is off");
    asked.end();
    assert.equal(later.length, 1);
  },
});

Deno.test({
  name: "idleTimeout 0 keeps a tunnel for ever",
  ignore,
  async fn() {
    await using harness = await Harness.start({}, { idleTimeout: 0 });
    (await harness.ask()).end();
    assert.equal(harness.process()?.state, "ready");
  },
});

Deno.test({
  name: "a client that leaves stops waiting at once; the start goes on, and the idle timer takes it down",
  ignore,
  async fn() {
    await using harness = await Harness.start({ startMs: 300 }, { idleTimeout: "50ms" });
    const [gone, stays] = [new AbortController(), new AbortController()];
    const first = harness.ask(NAME, { signal: gone.signal });
    const second = harness.ask(NAME, { signal: stays.signal });
    gone.abort();
    assert.equal((await first).reject.reason, "unavailable");
    assert.equal(harness.process()?.state, "starting");
    stays.abort();
    await second;
    assert.equal(harness.process()?.references, 0);
    await harness.untilState("ready");
    await harness.untilState("none");
    assert.equal(harness.standIn.starts.length, 1);
    const late = await harness.ask(NAME, { signal: AbortSignal.abort() });
    assert.equal(late.reject.reason, "unavailable");
  },
});

Deno.test({
  name: "a program that does not heed SIGTERM is killed 2 s later, and its port rests until then",
  ignore,
  async fn() {
    await using harness = await Harness.start({ ignoreTerm: true }, { idleTimeout: "20ms" });
    const asked = await harness.ask();
    const { port } = asked.forward;
    asked.end();
    const began = performance.now();
    await harness.untilState("none");
    assert.equal(harness.metric("cloudflared_processes", { state: "stopping" }), 1);
    const again = await harness.ask();
    assert.notEqual(again.forward.port, port, "a new process does not wait for the old one");
    await until(() => harness.standIn.alive.length === 1, { what: "SIGKILL" });
    const ms = performance.now() - began;
    assert.ok(ms > 1900 && ms < 4000, `${ms} ms`);
  },
});

Deno.test({
  name: "disposing stops every process, those that start and those that do not want to, side by side",
  ignore,
  async fn() {
    const harness = await Harness.start();
    await using _ = harness;
    harness.standIn.behave({ ignoreTerm: true }, "cft-a.example.com");
    harness.standIn.behave({ ignoreTerm: true }, "cft-b.example.com");
    harness.standIn.behave({ neverListen: true }, "cft-c.example.com");
    await Promise.all(["a.example.com", "b.example.com", "d.example.com"].map((name) => harness.ask(name)));
    const starting = harness.ask("c.example.com");
    await until(() => harness.standIn.starts.length === 4, { what: "four starts" });
    const began = performance.now();
    await harness.plugin[Symbol.asyncDispose]();
    assert.ok(performance.now() - began < 3500, "one after the other it would take 4 s");
    assert.deepEqual(harness.standIn.alive, []);
    assert.equal((await starting).reject.reason, "unavailable");
    assert.equal((await harness.ask("e.example.com")).reject.reason, "unavailable");
    assert.equal(harness.standIn.starts.length, 4, "nothing is started any more");
  },
});

Deno.test({
  name: "a reload keeps tunnels that it does not concern, and lets the others end with their connections",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    const asked = await harness.ask();
    const { port } = asked.forward;

    harness.plugin.reload(parse({ ...harness.section, idleTimeout: "1h", startupTimeout: "20s" }));
    const same = await harness.ask();
    assert.deepEqual([same.forward.port, harness.standIn.starts.length], [port, 1]);

    const token = { id: "1.access", secret: "abc" };
    harness.plugin.reload(parse({ ...harness.section, serviceToken: token }));
    const other = await harness.ask();
    assert.notEqual(other.forward.port, port, "it was started without the token");
    assert.equal(harness.standIn.starts[1]?.env["TUNNEL_SERVICE_TOKEN_ID"], "1.access");
    assert.equal(harness.standIn.alive.length, 2);
    asked.end();
    assert.equal(harness.standIn.alive.length, 2, "one connection is left");
    same.end();
    await until(() => harness.standIn.alive.length === 1, { what: "the old process to end" });
    assert.equal(await other.use(), "ping");
  },
});

Deno.test({
  name: "who waits for a start while a reload changes the host name gets the new one",
  ignore,
  async fn() {
    await using harness = await Harness.start({ startMs: 200 });
    const waiting = harness.ask();
    await until(() => harness.standIn.starts.length === 1, { what: "a start" });
    harness.plugin.reload(parse({ ...harness.section, hostname: "other-{sni}" }));
    assert.equal(await (await waiting).use(), "ping");
    assert.equal(harness.standIn.starts[1]?.hostname, "other-db-customer.example.com");
    await until(() => harness.standIn.alive.length === 1, { what: "the other start to be stopped" });
  },
});

Deno.test({
  name: "status, routes and metrics tell what runs",
  ignore,
  async fn() {
    await using harness = await Harness.start({}, { names: ["*.example.com", "*"] });
    const asked = await harness.ask();
    const { plugin, standIn } = harness;
    assert.deepEqual(plugin.status(), {
      ready: true,
      details: {
        processes: [{
          serverName: NAME,
          hostname: HOST,
          state: "ready",
          references: 1,
          restarts: 0,
          pid: standIn.starts[0]?.pid,
          port: asked.forward.port,
          ageSeconds: 0,
        }],
        tunnels: 1,
        stopping: 0,
      },
    });
    assert.deepEqual(plugin.routes(), [
      { match: "*.example.com", action: "cloudflared access tcp, host name cft-{sni}", targets: [] },
      {
        match: "*",
        action: "cloudflared access tcp, host name cft-{sni}",
        targets: [{ target: HOST, healthy: true, connections: 1 }],
      },
    ]);
    assert.equal(harness.metric("cloudflared_processes", { state: "ready" }), 1);
    assert.equal(harness.metric("cloudflared_references"), 1);
    assert.equal(harness.metric("cloudflared_starts_total", { result: "ok" }), 1);
    assert.equal(harness.metric("cloudflared_starts_total", { result: "failed" }), 0);
    assert.equal(harness.metric("cloudflared_restarts_total"), 0);
  },
});
