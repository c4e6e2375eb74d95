import assert from "node:assert/strict";
import { systemTools } from "../../../plugins/cloudflared/tools.ts";
import { hasStandIn } from "../../support/cloudflared.ts";
import { until } from "../../support/until.ts";
import { Harness, HOST } from "./harness.ts";

const ignore = !hasStandIn();
const LOST = `2026-08-20T10:54:27Z ERR failed to connect to origin error="dial tcp: no such host"`;

Deno.test({
  name: "a program that ends at each connection is started no more often than its growing waits allow",
  ignore,
  async fn() {
    await using harness = await Harness.start({ crashAfter: 0 }, { restart: { backoff: "150ms", max: 0 } });
    const refusals = new Set<string>();
    const end = performance.now() + 1400;
    while (performance.now() < end) {
      const asked = await harness.ask();
      if (asked.decision?.kind === "forward") {
        await asked.use();
        await until(() => harness.process()?.state !== "ready", {
          what: "the end of the program to be known",
        });
      } else {
        refusals.add(asked.reject.detail ?? "");
        await new Promise((resolve) => setTimeout(resolve, 5)); // as a client would that comes again at once
      }
    }
    const starts = harness.standIn.starts.length;
    assert.ok(starts >= 2 && starts <= 4, `${starts} starts: at 0, 150, 450, and 1050 ms`);
    for (const why of refusals) assert.match(why, /The program ended: exit code 3.*tried again in/);
    assert.ok(refusals.size > 0);
  },
});

Deno.test({
  name: "a crash that cuts off many connections at once is a crash: who comes next waits for the restart",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    const all = await Promise.all(Array.from({ length: 30 }, () => harness.ask()));
    Deno.kill(harness.standIn.starts[0]?.pid ?? 0, "SIGKILL");
    // Their ends may be known before that of the program.
    for (const one of all.slice(1)) one.end("upstream_reset", 0);
    await harness.untilState("restarting");
    assert.equal(await (await harness.ask()).use(), "ping");
    const causes = harness.logged("cloudflared_failed").map(({ fields }) => fields["cause"]);
    assert.deepEqual([causes, harness.standIn.starts.length], [["exited"], 2]);
  },
});

Deno.test({
  name: "the port of a program that crashed is not another's while connections may be on their way to it",
  ignore,
  async fn() {
    const first = 10_000 + Math.floor(Math.random() * 18_000);
    await using harness = await Harness.start({}, { ports: first, restart: { backoff: "10ms", max: 10 } });
    const a = await harness.ask("a.example.com"); // still dialing
    harness.standIn.behave({ exit: 1 }, "cft-a.example.com");
    Deno.kill(harness.standIn.starts[0]?.pid ?? 0, "SIGKILL");
    await harness.untilState("restarting", "cft-a.example.com");
    const b = (await harness.ask("b.example.com")).reject;
    assert.match(b.detail ?? "", /Every port of the range/);
    harness.standIn.behave({}, "cft-a.example.com");
    await harness.untilState("ready", "cft-a.example.com");
    assert.equal(await a.use(), "ping", "its own tunnel may have it again");
  },
});

Deno.test({
  name: "who has left before the plugin hears of it starts nothing",
  ignore,
  async fn() {
    await using harness = await Harness.start();
    const { reject } = await harness.ask(undefined, { signal: AbortSignal.abort() });
    assert.equal(reject.reason, "unavailable");
    assert.deepEqual([harness.process(), harness.standIn.starts], [undefined, []]);
  },
});

Deno.test({
  name: "a process that has carried nothing makes room before one that has, however long that has been idle",
  ignore,
  async fn() {
    const first = 10_000 + Math.floor(Math.random() * 18_000);
    await using harness = await Harness.start({}, { ports: `${first}-${first + 1}` });
    assert.equal(await (await harness.ask("real.example.com")).use(), "ping");
    for (const made of ["up1", "up2", "up3"]) {
      (await harness.ask(`${made}.example.com`)).end("client_reset", 0);
    }
    const stopped = harness.logged("cloudflared_stopping").map(({ fields }) => fields["hostname"]);
    assert.deepEqual(stopped, ["cft-up1.example.com", "cft-up2.example.com"]);
    assert.equal(harness.process("cft-real.example.com")?.state, "ready");
  },
});

Deno.test({
  name: "a process that failed by its own words, and has carried nothing, is kept for 10 s at most",
  ignore,
  async fn() {
    const waits: number[] = [];
    const real = systemTools();
    const after = (ms: number, task: () => void) => {
      waits.push(ms);
      return real.after(ms, task);
    };
    await using harness = await Harness.start({ crashAfter: 100 }, { idleTimeout: "123456ms" }, { after });
    harness.standIn.behave({ drop: true, take: true, each: [LOST] }, "cft-made-up.example.com");
    assert.equal(await (await harness.ask("made-up.example.com")).use(), "");
    await until(() => waits.includes(10_000), { what: `the timer of a useless process: ${waits}` });
    assert.ok(!waits.includes(123_456));
    assert.equal(await (await harness.ask()).use(), "ping");
    assert.ok(waits.includes(123_456), "one that works is kept as configured");
    assert.equal(harness.process(HOST)?.state, "ready");
  },
});

Deno.test({
  name: "a program that is missing in the PATH is told at the start, and the plugin is not ready",
  ignore,
  async fn() {
    const mayRun = () => false;
    await using harness = await Harness.start({}, { command: "cloudflared" }, { mayRun });
    const { ready, reason } = harness.plugin.status();
    assert.deepEqual([ready, reason], [
      false,
      'The program is not there: "cloudflared" was not in the PATH when the gateway started',
    ]);
    assert.equal(harness.logged("cloudflared_failed")[0]?.fields["cause"], "program_missing");
  },
});

Deno.test({
  name: "a program that was missing for one tunnel and is there for the next is no reason not to be ready",
  ignore,
  async fn() {
    await using harness = await Harness.start({}, { idleTimeout: "20ms" });
    const { path } = harness.standIn;
    await Deno.rename(path, `${path}.away`);
    assert.match((await harness.ask("a.example.com")).reject.detail ?? "", /The program is not there/);
    assert.equal(harness.plugin.status().ready, false);
    await Deno.rename(`${path}.away`, path);
    (await harness.ask("b.example.com")).end();
    await harness.untilState("none", "cft-b.example.com");
    assert.equal(harness.plugin.status().ready, true);
  },
});

Deno.test({
  name: "a program that says nothing is waited for half a second once, and then is known to say nothing",
  ignore,
  async fn() {
    await using harness = await Harness.start({ silent: true, startMs: 100 });
    const times: number[] = [];
    for (const name of ["a", "b", "c"]) {
      const began = performance.now();
      assert.equal(await (await harness.ask(`${name}.example.com`)).use(), "ping");
      times.push(performance.now() - began);
    }
    const [first = 0, ...others] = times;
    assert.ok(first >= 500 && others.every((ms) => ms < 450), `${times} ms`);
  },
});

Deno.test({
  name: "one that says that it listens is never tried by connecting to it, however slow it is known to be",
  ignore,
  async fn() {
    let tried = 0;
    const real = systemTools();
    const answers = (port: number) => (tried++, real.answers(port));
    await using harness = await Harness.start({ startMs: 100 }, {}, { answers });
    for (const name of ["a", "b"]) {
      assert.equal(await (await harness.ask(`${name}.example.com`)).use(), "ping");
    }
    assert.equal(tried, 0);
  },
});

Deno.test({
  name: "whatever a program prints, the log has lines that a terminal can show, and the tunnel works",
  ignore,
  async fn() {
    const secret = "planted-secret-0123456789";
    const say = ["\x1b[2J\x1b]0;title\x07red\x00end", "\u202eabc", secret.repeat(400), "x".repeat(1_000_000)];
    await using harness = await Harness.start({ say }, { serviceToken: { id: "planted-id", secret } });
    assert.equal(await (await harness.ask()).use(), "ping");
    const lines = harness.logged("cloudflared_output").map(({ fields }) => String(fields["line"]));
    assert.ok(lines.length >= 4, `${lines}`);
    for (const line of lines) {
      assert.doesNotMatch(line, /[\p{Cc}]|planted/u);
      assert.ok(line.length <= 1000);
    }
  },
});
