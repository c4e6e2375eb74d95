/** An agent whose machine gets another address: what stood is dead without a word, and new connections work at once. */
import assert from "node:assert/strict";
import { writeAll } from "../../core/byte_stream.ts";
import { DarkNetwork } from "../support/dark_network.ts";
import { startEcho } from "../support/echo.ts";
import { roundTrip } from "../plugins/ws-agent/harness.ts";
import { tcp, Tunnels } from "../support/tunnels.ts";
import { until } from "../support/until.ts";
import { can } from "./can.ts";

const LINK_TIMES = { heartbeatMs: 300, silenceMs: 400 };
/** From the last byte to the end of the old connection, and the next attempt: 400 ms and 250 ms, and room for a busy machine. */
const BACK_MS = 4000;

Deno.test({
  name:
    "an agent whose address changed is back by itself, with its port, while the gateway still has the old connection",
  ignore: !can(),
  async fn() {
    await using echo = startEcho();
    // The gateway does not find out: only the takeover gives the port back.
    await using tunnels = await Tunnels.start({ section: { heartbeat: { interval: "5m", timeout: "10m" } } });
    using network = new DarkNetwork(({ port }) => port === tunnels.port);
    const agent = await tunnels.agent([tcp("echo", echo.target)], {}, { network, linkTimes: LINK_TIMES });
    const port = agent.port("echo");
    using before = await tunnels.connect(port);
    assert.equal(await roundTrip(before, "before"), "before");

    network.darken();
    network.lighten();
    const since = performance.now();
    await until(() => agent.events.filter(({ kind }) => kind === "connected").length === 2, {
      what: "a new connection",
      deadlineMs: BACK_MS,
    });
    assert.ok(performance.now() - since < BACK_MS);

    await until(async () => {
      using after = await tunnels.connect(port).catch(() => undefined);
      return after !== undefined && await roundTrip(after, "after") === "after";
    }, { what: "the same port to be served again", deadlineMs: BACK_MS });
    // What went over the old connection is over for the public, too.
    await assert.rejects(async () => {
      await writeAll(before, new Uint8Array(1));
      if (await before.read(new Uint8Array(1)) === null) throw new Deno.errors.ConnectionReset();
    });
  },
});
