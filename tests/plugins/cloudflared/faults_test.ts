import assert from "node:assert/strict";
import { hasStandIn } from "../../support/cloudflared.ts";
import { temporaryFolder } from "../../support/processes.ts";
import { until } from "../../support/until.ts";
import { Harness, HOST } from "./harness.ts";

const ignore = !hasStandIn();
const STAMP = "2026-08-20T10:54:27Z";
const ORIGIN_ERROR = `${STAMP} ERR failed to connect to origin error=`;

Deno.test({
  name:
    "a crash with connections restarts the program with growing waits, then gives up; the next connection tries anew",
  ignore,
  async fn() {
    await using harness = await Harness.start({}, { restart: { backoff: "60ms", max: 3 } });
    await harness.ask();
    harness.standIn.behave({ exit: 7, say: ["panic: something broke"] });
    const [{ pid = 0 } = {}] = harness.standIn.starts;
    Deno.kill(pid, "SIGKILL");
    await harness.untilState("failed");

    const waits = harness.logged("cloudflared_failed").map(({ fields }) => fields["waitMs"]);
    assert.deepEqual(waits, [60, 120, 240, 0]);
    const reasons = harness.logged("cloudflared_failed").map(({ fields }) => String(fields["reason"]));
    assert.match(reasons[0] ?? "", /^The program ended: killed by SIGKILL/);
    assert.match(reasons[1] ?? "", /exit code 7: panic: something broke$/);
    const times = harness.logged("cloudflared_restarting").map(({ time }) => time);
    const gaps = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    assert.ok((gaps[0] ?? 0) >= 119 && (gaps[1] ?? 0) >= 239, `restarts came ${gaps} ms apart`);
    assert.deepEqual(harness.logged("cloudflared_gave_up").map(({ fields }) => fields["restarts"]), [3]);
    assert.equal(harness.standIn.starts.length, 4);
    assert.deepEqual([harness.process()?.state, harness.process()?.restarts], ["failed", 3]);
    assert.match(harness.process()?.lastFailure ?? "", /something broke/);
    assert.match(harness.plugin.status().reason ?? "", /^1 of 1 tunnels failed$/);
    assert.equal(harness.metric("cloudflared_restarts_total"), 3);
    assert.equal(harness.metric("cloudflared_failures_total", { reason: "exited" }), 4);

    harness.standIn.behave({});
    assert.equal(await (await harness.ask()).use(), "ping");
    assert.equal(harness.process()?.state, "ready");
    assert.equal(harness.plugin.status().reason, undefined);
  },
});

Deno.test({
  name: "who comes while a crashed program is restarted waits for it",
  ignore,
  async fn() {
    await using harness = await Harness.start({ crashAfter: 1 }, { restart: { backoff: "300ms", max: 3 } });
    const [first, second] = [await harness.ask(), await harness.ask()];
    assert.equal(await first.use(), "ping");
    await harness.ask(); // somebody for whom it is restarted
    assert.equal(await second.use(), "", "the program ends with it");
    await harness.untilState("restarting");
    const third = await harness.ask();
    assert.equal(await third.use(), "ping");
    assert.deepEqual([harness.process()?.state, harness.standIn.starts.length], ["ready", 2]);
  },
});

Deno.test({
  name: "a crash that concerns nobody is no reason to start it again",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    (await harness.ask()).end();
    Deno.kill(harness.standIn.starts[0]?.pid ?? 0, "SIGKILL");
    await harness.untilState("none");
    assert.equal(harness.logged("cloudflared_failed").length, 1);
    assert.equal(harness.standIn.starts.length, 1);
  },
});

Deno.test({
  name:
    "a start that fails tells everybody who waits what the program said last, and keeps others away for a while",
  ignore,
  async fn() {
    const say = Array.from({ length: 20 }, (_, i) => `${STAMP} INF line ${i}`);
    await using harness = await Harness.start({ exit: 3, say }, { restart: { backoff: "300ms", max: 3 } });
    const all = await Promise.all([harness.ask(), harness.ask(), harness.ask()]);
    for (const { reject } of all) {
      assert.equal(reject.reason, "unavailable");
      assert.match(reject.detail ?? "", /exit code 3: line 10 \| .*line 19/);
    }
    assert.equal(harness.standIn.starts.length, 1);
    assert.equal(harness.metric("cloudflared_starts_total", { result: "failed" }), 1);
    assert.match((await harness.ask()).reject.detail ?? "", /tried again in 0\.\d s$/);
    assert.equal(harness.standIn.starts.length, 1, "no start for who comes too early");
    harness.standIn.behave({});
    const asked = await until(async () => {
      const one = await harness.ask();
      return one.decision?.kind === "forward" && one;
    }, { what: "the wait to be over" });
    assert.equal(await asked.use(), "ping");
  },
});

Deno.test({
  name: "a program that never listens is stopped after startupTimeout",
  ignore,
  async fn() {
    await using harness = await Harness.start({ neverListen: true }, { startupTimeout: "300ms" });
    const { reject } = await harness.ask();
    assert.match(reject.detail ?? "", /did not listen in time: not within 300 ms/);
    assert.equal(harness.metric("cloudflared_failures_total", { reason: "startup_timeout" }), 1);
    await until(() => harness.standIn.alive.length === 0, { what: "the process to end" });
  },
});

Deno.test({
  name:
    "a program that could not be started keeps the gateway unready for a while, and not until a client comes",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    let later = 0;
    const now = () => performance.now() + later;
    await using harness = await Harness.start({}, { command: `${folder.path}/cloudflared` }, { now });
    await harness.ask();
    assert.equal(harness.plugin.status().ready, false);
    later = 30_001;
    assert.equal(harness.plugin.status().ready, true);
  },
});

Deno.test({
  name: "a program that is gone, or that may not be run, is named; the plugin is not ready until it is there",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const command = `${folder.path}/cloudflared`;
    await using missing = await Harness.start({}, { command, restart: { backoff: "10ms", max: 1 } });
    assert.match((await missing.ask()).reject.detail ?? "", /The program is not there: ".*\/cloudflared"/);
    assert.equal(missing.metric("cloudflared_failures_total", { reason: "program_missing" }), 1);
    assert.equal(missing.plugin.status().ready, false);
    assert.match(missing.plugin.status().reason ?? "", /^The program is not there/);
    await Deno.copyFile(missing.standIn.path, command);
    const working = await until(async () => {
      const one = await missing.ask();
      return one.decision?.kind === "forward" && one;
    }, { what: "the program to be found" });
    assert.equal(await working.use(), "ping");
    assert.equal(missing.plugin.status().ready, true);
  },
});

Deno.test({
  name: "a file that is no program is named as one that may not be run",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const command = `${folder.path}/cloudflared`;
    await Deno.writeTextFile(command, "not a program", { mode: 0o644 });
    await using harness = await Harness.start({}, { command });
    assert.match((await harness.ask()).reject.detail ?? "", /The program may not be run/);
    assert.equal(harness.metric("cloudflared_failures_total", { reason: "not_permitted" }), 1);
  },
});

Deno.test({
  name: "ports that others have are passed over; nobody is sent to whoever listens there",
  ignore,
  async fn() {
    const first = 10_000 + Math.floor(Math.random() * 18_000);
    using stranger = Deno.listen({ hostname: "127.0.0.1", port: first });
    await using harness = await Harness.start({}, { ports: `${first}-${first + 10}` });
    const asked = await harness.ask();
    assert.notEqual(asked.forward.port, stranger.addr.port);
    assert.deepEqual([await asked.use(), harness.standIn.starts.length], ["ping", 1]);
  },
});

Deno.test({
  name:
    "a port that is taken between the check and the start is put aside, and the start is tried with another",
  ignore,
  async fn() {
    const strangers: Deno.Listener[] = [];
    // Says that the port is free, and takes it.
    const isFree = (port: number) => {
      if (strangers.length < 2) {
        const stranger = Deno.listen({ hostname: "127.0.0.1", port });
        strangers.push(stranger);
        (async () => {
          for await (const conn of stranger) conn.close();
        })();
      }
      return true;
    };
    await using harness = await Harness.start({ startMs: 100 }, {}, { isFree });
    const asked = await harness.ask();
    const taken = strangers.map((one) => (one.addr as Deno.NetAddr).port);
    strangers.forEach((one) => one.close());
    assert.equal(harness.standIn.starts.length, 3);
    assert.ok(!taken.includes(asked.forward.port));
    assert.equal(await asked.use(), "ping");
    assert.deepEqual(harness.logged("cloudflared_port_taken").map(({ fields }) => fields["port"]), taken);
    assert.equal(harness.metric("cloudflared_failures_total", { reason: "port_taken" }), 2);
    assert.equal(harness.metric("cloudflared_restarts_total"), 0, "that is no crash");
    assert.deepEqual(harness.logged("cloudflared_failed"), []);
  },
});

Deno.test({
  name: "ports that are all taken by others end in a refusal that says so",
  ignore,
  async fn() {
    await using harness = await Harness.start({ taken: true });
    assert.match((await harness.ask()).reject.detail ?? "", /took the port: 5 ports in a row/);
    assert.equal(harness.standIn.starts.length, 5);
  },
});

Deno.test({
  name:
    "when every port is in use, the tunnel that was idle for longest makes room; with none, who comes is refused",
  ignore,
  async fn() {
    const first = 10_000 + Math.floor(Math.random() * 18_000);
    await using harness = await Harness.start({}, { ports: `${first}-${first + 1}` });
    const [a, b] = [await harness.ask("a.example.com"), await harness.ask("b.example.com")];
    const { reject } = await harness.ask("c.example.com");
    assert.deepEqual([reject.reason, /Every port of the range/.test(reject.detail ?? "")], [
      "unavailable",
      true,
    ]);
    assert.equal(harness.metric("cloudflared_failures_total", { reason: "no_free_port" }), 1);
    b.end();
    a.end();
    assert.equal(await (await harness.ask("c.example.com")).use(), "ping");
    assert.equal(harness.logged("cloudflared_stopping")[0]?.fields["hostname"], "cft-b.example.com");
    assert.equal(harness.standIn.alive.length, 2);
  },
});

const complaints: readonly [cause: string, line: string][] = [
  ["edge_refused", `${ORIGIN_ERROR}"websocket: bad handshake" originURL=https://${HOST}`],
  ["edge_unreachable", `${ORIGIN_ERROR}"dial tcp: lookup ${HOST}: no such host" originURL=https://${HOST}`],
  [
    "certificate_error",
    `${ORIGIN_ERROR}"tls: failed to verify certificate: x509: certificate has expired" originURL=x`,
  ],
];

for (const [cause, line] of complaints) {
  Deno.test({
    name:
      `a program that listens and fails every connection opens the breaker: ${cause}, and no restart storm`,
    ignore,
    async fn() {
      await using harness = await Harness.start({ drop: true, take: true, each: [line] }, {
        restart: { backoff: "400ms", max: 3 },
      });
      for (let i = 0; i < 3; i++) assert.equal(await (await harness.ask()).use(), "");
      await harness.untilState("failed");
      const { reject } = await harness.ask();
      assert.equal(reject.reason, "unavailable");
      assert.match(reject.detail ?? "", /^cft-db-customer\.example\.com: .*tried again in 0\.\d s$/);
      assert.match(reject.detail ?? "", /failed to connect to origin/, "what the program said");
      assert.equal(harness.logged("cloudflared_failed")[0]?.fields["cause"], cause);
      assert.equal(harness.metric("cloudflared_failures_total", { reason: cause }), 3);
      assert.equal(harness.metric("cloudflared_restarts_total"), 0);
      await until(() => harness.standIn.alive.length === 0, { what: "the useless process to end" });

      // One may try when the wait is over; it fails, and the next wait is twice as long.
      const trial = await until(async () => {
        const one = await harness.ask();
        return one.decision?.kind === "forward" && one;
      }, { what: "the breaker to let one through" });
      assert.match(
        (await harness.ask()).reject.detail ?? "",
        /tried again in/,
        "the others wait for the trial",
      );
      assert.equal(await trial.use(), "");
      await until(() => harness.logged("cloudflared_failed").length === 2, { what: "the trial to fail" });
      assert.deepEqual(harness.logged("cloudflared_failed").map(({ fields }) => fields["waitMs"]), [
        400,
        800,
      ]);
      assert.equal(harness.standIn.starts.length, 2);

      harness.standIn.behave({});
      const works = await until(async () => {
        const one = await harness.ask();
        return one.decision?.kind === "forward" && one;
      }, { what: "the breaker to let one through" });
      assert.equal(await works.use(), "ping");
      assert.equal(harness.logged("cloudflared_recovered").length, 1);
      assert.equal(await (await harness.ask()).use(), "ping");
    },
  });
}

Deno.test({
  name: "a program that drops connections without a word opens the breaker too, after more of them",
  ignore,
  async fn() {
    await using harness = await Harness.start({ drop: true, take: true });
    for (let i = 0; i < 9; i++) await (await harness.ask()).use();
    assert.equal(harness.process()?.state, "ready");
    await (await harness.ask()).use();
    assert.equal(harness.process()?.state, "failed");
    assert.match((await harness.ask()).reject.detail ?? "", /drops every connection: 10 in a row/);
    assert.equal(harness.metric("cloudflared_failures_total", { reason: "dropped_connections" }), 1);
  },
});

Deno.test({
  name: "connections that were answered, or that the client ended, are no fault of the tunnel",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    for (let i = 0; i < 9; i++) (await harness.ask()).end("no_answer", 0);
    (await harness.ask()).end("upstream_reset", 10);
    for (let i = 0; i < 9; i++) (await harness.ask()).end("no_answer", 0);
    for (let i = 0; i < 50; i++) (await harness.ask()).end("client_reset", 0);
    assert.equal(harness.process()?.state, "ready");
  },
});

Deno.test({
  name: "an open breaker leaves the connections alone that go through the tunnel",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    const open = await harness.ask();
    for (let i = 0; i < 10; i++) (await harness.ask()).end("no_answer", 0);
    assert.equal(harness.process()?.state, "failed");
    assert.equal(harness.standIn.alive.length, 1, "somebody uses it");
    open.end("ok", 0);
    await until(() => harness.standIn.alive.length === 0, {
      what: "the process to end with its last connection",
    });
  },
});

const logins: readonly [what: string, line: string][] = [
  ["asks for a login", "Please open the following URL and log in with your Cloudflare account:"],
  [
    "was redirected to one",
    `${ORIGIN_ERROR}"failed to find Access application at https://${HOST}" originURL=x`,
  ],
];

for (const [what, line] of logins) {
  Deno.test({
    name: `a program that ${what} is stopped at once, and clients are refused with that reason`,
    ignore,
    async fn() {
      await using harness = await Harness.start({ each: [line], take: true, drop: true });
      await (await harness.ask()).use();
      await harness.untilState("failed");
      assert.match((await harness.ask()).reject.detail ?? "", /asks for a login; configure a serviceToken/);
      assert.equal(harness.metric("cloudflared_failures_total", { reason: "login_required" }), 1);
      await until(() => harness.standIn.alive.length === 0, { what: "the process to end" });
      assert.equal(harness.standIn.starts.length, 1);
    },
  });

  Deno.test({
    name: `a program with a service token that ${what} has one that is not good enough`,
    ignore,
    async fn() {
      const serviceToken = { id: "1.access", secret: "abc" };
      await using harness = await Harness.start({ each: [line], take: true, drop: true }, { serviceToken });
      await (await harness.ask()).use();
      await harness.untilState("failed");
      assert.match((await harness.ask()).reject.detail ?? "", /does not accept the service token/);
      assert.equal(harness.metric("cloudflared_failures_total", { reason: "bad_service_token" }), 1);
    },
  });
}

Deno.test({
  name: "a program that prints 100 MB is drained, and the log gets little of it",
  ignore,
  async fn() {
    await using harness = await Harness.start({ babble: 100_000_000 });
    assert.equal(await (await harness.ask()).use(), "ping");
    const lines = harness.logged("cloudflared_output").length;
    assert.ok(lines > 0 && lines < 200, `${lines} lines in the log`);
    const left = () =>
      harness.logged("cloudflared_output_left_out").reduce(
        (sum, { fields }) => sum + Number(fields["lines"]),
        0,
      );
    await harness.plugin[Symbol.asyncDispose]();
    assert.ok(left() > 1_900_000, `${left()} lines were left out`);
  },
});

Deno.test({
  name:
    "planted secrets are in no log line, status, metric, refusal or argument, whatever the program prints",
  ignore,
  async fn() {
    const serviceToken = { id: "planted-id.access", secret: "planted-secret" };
    const jwt = "eyJplanted.eyJplanted.planted";
    const dump =
      `${STAMP} DBG Websocket request: Cf-Access-Client-Secret: planted-secret cookie CF_Authorization=${jwt}`;
    const each = [dump, `planted-id.access:planted-secret`, `${ORIGIN_ERROR}"planted-secret ${jwt}"`];
    await using harness = await Harness.start({ say: [dump], each, drop: true, take: true }, {
      serviceToken,
    });
    await harness.ask();
    const [start] = harness.standIn.starts;
    assert.ok(start);
    assert.equal(start.env["TUNNEL_SERVICE_TOKEN_SECRET"], "planted-secret", "it does get the secret");
    assert.doesNotMatch(Deno.readTextFileSync(`/proc/${start.pid}/cmdline`), /planted/);
    for (let i = 0; i < 3; i++) await (await harness.ask()).use();
    await harness.untilState("failed");
    harness.standIn.behave({ exit: 1, say: [dump, ...each] }, "cft-other.example.com");
    const refusals = [(await harness.ask()).reject, (await harness.ask("other.example.com")).reject];
    const { plugin } = harness;
    const told = JSON.stringify([
      harness.events,
      plugin.status(),
      plugin.routes(),
      plugin.metrics(),
      refusals,
    ]);
    assert.ok(
      harness.logged("cloudflared_output").length >= 4 && /\*\*\*/.test(told),
      "there was something to hide",
    );
    assert.doesNotMatch(told, /planted/);
  },
});

Deno.test({
  name: "only so many failed names are remembered: strangers make them up",
  ignore,
  async fn() {
    await using harness = await Harness.start({}, { command: "/nonexistent/cloudflared" });
    for (let i = 0; i < 1100; i++) await harness.ask(`n${i}.example.com`);
    const { details } = harness.plugin.status();
    assert.equal(details?.["tunnels"], 1000);
    assert.equal((details?.["processes"] as unknown[]).length, 200);
  },
});
