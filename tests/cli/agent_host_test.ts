import assert from "node:assert/strict";
import { AgentHost } from "../../cli/agent_host.ts";
import { unitPermissions } from "../../cli/agent_units.ts";
import { writeAll } from "../../core/byte_stream.ts";
import { SILENT_LOG } from "../../core/log.ts";
import type { AgentEvent } from "../../plugins/ws-agent/agent/events.ts";
import type { AgentSettings } from "../../plugins/ws-agent/agent/settings.ts";
import { FakeGateway, service, settingsFor } from "../plugins/ws-agent/agent/fake_gateway.ts";
import { createAuthority } from "../support/certificates.ts";
import { readToEnd, startEcho } from "../support/echo.ts";
import { until } from "../support/until.ts";
import { MAY_RUN_COMMANDS } from "./run_cli.ts";

const ignore = !MAY_RUN_COMMANDS;

async function startHost(
  settings: AgentSettings,
): Promise<AsyncDisposable & { host: AgentHost; events: AgentEvent[] }> {
  const events: AgentEvent[] = [];
  const host = await AgentHost.start(settings, {
    log: SILENT_LOG,
    watchRequests: false,
    onEvent: (event) => events.push(event),
  });
  return {
    host,
    events,
    async [Symbol.asyncDispose]() {
      host.stopNow();
      await host.stop(0);
    },
  };
}

/** Says something over a tunnel, and gives back what comes of it. */
async function say(gateway: FakeGateway, session: number, service: string, text: string): Promise<string> {
  const stream = await gateway.sessions[session]!.open(service);
  await writeAll(stream, new TextEncoder().encode(text));
  await stream.closeWrite();
  const answer = new TextDecoder().decode(await readToEnd(stream));
  stream.close();
  return answer;
}

Deno.test({
  name: "an agent's worker brings connections to its targets, over TLS with an extra CA",
  ignore,
  async fn() {
    const root = await createAuthority();
    await using gateway = new FakeGateway({ tls: await root.issue({ names: ["tunnel.localhost"] }) });
    await using echo = startEcho();
    await using running = await startHost(
      settingsFor(gateway, [service("echo", `localhost:${echo.address.port}`)], {
        gateway: { secure: true, host: "tunnel.localhost", port: gateway.port, path: "/tunnel/v1" },
        tls: { insecure: false, extraCa: root.certificate },
      }),
    );
    await gateway.registered(0);
    assert.equal(await say(gateway, 0, "echo", "hello"), "hello");
    await until(() => running.events.length === 2, { what: "events" });
    assert.equal((await running.host.status())?.connected, 1);
  },
});

Deno.test({
  name: "an agent's worker gets nowhere but to the gateway and its targets, whatever it is told to do",
  ignore,
  async fn() {
    await using gateway = new FakeGateway();
    await using echo = startEcho();
    await using other = startEcho();
    const settings = settingsFor(gateway, [service("echo", echo.target)]);
    const { net } = await (async () => {
      await using running = await startHost(settings);
      await gateway.registered(0);
      return { net: running.host.net };
    })();
    assert.deepEqual(net, [`127.0.0.1:${gateway.port}`, echo.target].toSorted());
    const probe = new Worker(new URL("./probe_worker.ts", import.meta.url), {
      type: "module",
      deno: { permissions: unitPermissions(net) },
    });
    const found = Promise.withResolvers<Record<string, string>>();
    probe.onmessage = ({ data }) => found.resolve(data);
    probe.postMessage({
      target: echo.address,
      other: other.address,
      file: new URL(import.meta.url).pathname,
    });
    assert.deepEqual(await found.promise, {
      target: "permitted",
      other: "NotCapable",
      listen: "NotCapable",
      lookUp: "EPERM",
      file: "NotCapable",
      folder: "NotCapable",
      write: "NotCapable",
      env: "NotCapable",
      run: "NotCapable",
      sys: "NotCapable",
    });
    probe.terminate();
    assert.equal(other.accepted, 0);
  },
});

Deno.test({
  name: "a reload that needs more of the network starts another worker, and ends no connection of the first",
  ignore,
  async fn() {
    await using gateway = new FakeGateway();
    await using echo = startEcho();
    await using other = startEcho();
    const first = service("first", echo.target);
    await using running = await startHost(settingsFor(gateway, [first]));
    const session = await gateway.registered(0);
    const stream = await session.open("first");
    await writeAll(stream, new TextEncoder().encode("still "));
    await running.host.update(settingsFor(gateway, [first, service("second", other.target)]));
    const second = await gateway.registered(1);
    assert.equal(running.host.size, 2);
    assert.notEqual(second.auth.clientId, session.auth.clientId, "they do not take each other's place");
    assert.equal(await say(gateway, 1, "second", "there"), "there");
    await writeAll(stream, new TextEncoder().encode("here"));
    await stream.closeWrite();
    assert.equal(new TextDecoder().decode(await readToEnd(stream)), "still here");
    stream.close();
    await running.host.update(settingsFor(gateway, [first]));
    assert.equal(running.host.size, 1);
    await until(() => second.ended, { what: "the second worker's connection to end" });
    assert.equal(session.ended, false);
  },
});

Deno.test({
  name: "a refused token is the end for the whole agent",
  ignore,
  async fn() {
    await using gateway = new FakeGateway({ authFail: () => "The token is not known" });
    await using running = await startHost(settingsFor(gateway, [service("a", 1)]));
    assert.deepEqual(await running.host.lost, { kind: "lost", reason: "The token is not known" });
  },
});
