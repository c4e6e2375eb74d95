import assert from "node:assert/strict";
import { writeAll } from "../../../../core/byte_stream.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../plugins/ws-agent/clock.ts";
import { readToEnd, startEcho } from "../../../support/echo.ts";
import { granted } from "../../../support/permissions.ts";
import { until } from "../../../support/until.ts";
import { FakeGateway, type FakeSession, service, settingsFor, startAgent } from "./fake_gateway.ts";

/** A clock that knows which of its timers are set. */
function countingClock(): Clock & { readonly armed: Set<object> } {
  const armed = new Set<object>();
  const arm = (start: (done: () => void) => () => void) => {
    const entry = {};
    armed.add(entry);
    const end = start(() => armed.delete(entry));
    return () => {
      armed.delete(entry);
      end();
    };
  };
  return {
    ...SYSTEM_CLOCK,
    armed,
    after: (ms, task) =>
      arm((done) =>
        SYSTEM_CLOCK.after(ms, () => {
          done();
          task();
        })
      ),
    every: (ms, task) => arm(() => SYSTEM_CLOCK.every(ms, task)),
  };
}

/** Open files of this process, sockets too; 0 where that can't be seen. */
function openFiles(): number {
  return Deno.build.os === "linux" && granted("read") ? [...Deno.readDirSync("/proc/self/fd")].length : 0;
}

/** The ways in which a connection goes, by its gateway's doing, with a stream open in it. */
const ENDS: readonly ((session: FakeSession) => unknown)[] = [
  (session) => session.send({ type: "disconnect", reason: "closed_by_admin: Go" }),
  (session) => session.yamux.close(),
  (session) => session.yamux.close("internal_error"),
  (session) => session.yamux.goAway(),
  (session) => session.send({ type: "connectAck", connectionId: "00000000-0000-4000-8000-000000000000" }),
];

Deno.test("an agent that loses its gateway again and again keeps nothing of what is gone", async () => {
  await using echo = startEcho();
  await using gateway = new FakeGateway();
  const clock = countingClock();
  await using running = startAgent(settingsFor(gateway, [service("a", echo.target), service("b", 1)]), {
    clock,
  });
  let index = 0;

  /** Lives through every kind of end. @returns What there is when the next connection stands. */
  async function cycle() {
    for (const end of ENDS) {
      const session = await gateway.registered(index++, 2);
      const [whole, open, failing] = [
        await session.open("a"),
        await session.open("a"),
        await session.open("b"),
      ];
      await writeAll(whole, new Uint8Array(1000));
      await whole.closeWrite();
      assert.equal((await readToEnd(whole)).length, 1000);
      whole.close();
      await writeAll(open, Uint8Array.of(1));
      await assert.rejects(readToEnd(failing));
      await end(session);
      await gateway.registered(index, 2);
      open.reset();
      await until(() => session.ended, { what: "the end" });
    }
    const { agent } = running;
    await until(() => agent.status.streams === 0 && echo.open === 0 && gateway.live.length === 1, {
      what: "quiet",
    });
    assert.equal(agent.status.connected, 1);
    return { timers: clock.armed.size, files: openFiles() };
  }

  const first = await cycle();
  for (let i = 0; i < 7; i++) await cycle();
  const last = await cycle();
  await until(() => clock.armed.size <= first.timers, {
    what: () => `${clock.armed.size} timers, ${first.timers} at first`,
  });
  assert.ok(last.files <= first.files + 2, `${last.files} open files, ${first.files} at first`);
});
