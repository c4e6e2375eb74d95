import assert from "node:assert/strict";
import { GatewayError } from "../../core/errors.ts";
import { type MessageChannelEnd, type Methods, openRpc, type Rpc } from "../../core/rpc.ts";
import { until } from "../support/until.ts";

interface Remote extends Methods {
  double(n: number): number;
  later(n: number): Promise<number>;
  never(): Promise<void>;
  fail(code?: string): void;
  giveFunction(): unknown;
  take(value: unknown): void;
  usePort(port: MessagePort): Promise<string>;
}

interface Pair extends Disposable {
  readonly rpc: Rpc<Remote>;
  readonly taken: unknown[];
  readonly ports: readonly [MessagePort, MessagePort];
}

function pair(): Pair {
  const { port1, port2 } = new MessageChannel();
  const taken: unknown[] = [];
  openRpc(port2, {
    double: (n: number) => 2 * n,
    later: async (n: number) => {
      await Promise.resolve();
      return n + 1;
    },
    never: () => new Promise(() => {}),
    fail(code?: string) {
      throw code === undefined
        ? new TypeError("It broke\nin two lines")
        : new GatewayError(code as GatewayError["code"], "It broke");
    },
    giveFunction: () => () => {},
    take: (value: unknown) => void taken.push(value),
    usePort: (port: MessagePort) =>
      new Promise((resolve) => {
        port.onmessage = ({ data }) => {
          port.close();
          resolve(data);
        };
      }),
  });
  return {
    rpc: openRpc<Remote>(port1, {}),
    taken,
    ports: [port1, port2],
    [Symbol.dispose]() {
      port1.close();
      port2.close();
    },
  };
}

Deno.test("a call gets the answer of its own, in whatever order answers come", async () => {
  using channel = pair();
  const { rpc } = channel;
  const answers = await Promise.all([rpc.call("later", 1), rpc.call("double", 4), rpc.call("later", 5)]);
  assert.deepEqual(answers, [2, 8, 6]);
});

Deno.test("an error keeps its code, so that the caller can tell what to do", async () => {
  using channel = pair();
  await assert.rejects(channel.rpc.call("fail", "dial-timeout"), (error) => {
    assert.ok(error instanceof GatewayError);
    assert.deepEqual([error.code, error.message], ["dial-timeout", "It broke"]);
    return true;
  });
});

Deno.test("any other error comes as an Error with its message on one line", async () => {
  using channel = pair();
  await assert.rejects(channel.rpc.call("fail"), (error) => {
    assert.ok(error instanceof Error && !(error instanceof GatewayError));
    assert.equal(error.message, "It broke in two lines");
    return true;
  });
});

for (const method of ["nothing", "constructor", "__proto__", "toString", "hasOwnProperty"]) {
  Deno.test(`calling "${method}", which the other side does not offer, is an error of that call alone`, async () => {
    using channel = pair();
    const { rpc } = channel as unknown as { rpc: Rpc<Record<string, () => unknown>> };
    await assert.rejects(rpc.call(method), { message: `No method "${method}" on this channel` });
    assert.equal(await channel.rpc.call("double", 3), 6);
  });
}

Deno.test("arguments that are no plain data fail their own call and no other", async () => {
  using channel = pair();
  const other = channel.rpc.call("later", 1);
  await assert.rejects(channel.rpc.call("take", () => {}), { name: "DataCloneError" });
  assert.equal(await other, 2);
});

Deno.test("a result that is no plain data comes as an error", async () => {
  using channel = pair();
  await assert.rejects(channel.rpc.call("giveFunction"), /clone/);
  assert.equal(await channel.rpc.call("double", 1), 2);
});

Deno.test("a notification arrives and is never answered, not even with its error", async () => {
  using channel = pair();
  let answers = 0;
  const deliver = channel.ports[0].onmessage;
  channel.ports[0].onmessage = (event) => {
    answers++;
    deliver?.call(channel.ports[0], event);
  };
  channel.rpc.notify("take", { a: [1, new Uint8Array([2])] });
  channel.rpc.notify("fail");
  await channel.rpc.call("double", 1); // comes behind the two
  assert.deepEqual(channel.taken, [{ a: [1, new Uint8Array([2])] }]);
  assert.equal(answers, 1);
});

Deno.test("close() rejects every pending call, and every later one, with its reason", async () => {
  using channel = pair();
  const { rpc } = channel;
  const pending = [rpc.call("never"), rpc.call("never")];
  rpc.close("The plugin is down");
  rpc.close("Another reason");
  for (const call of [...pending, rpc.call("double", 1)]) {
    await assert.rejects(call, { code: "rpc-closed", message: "The plugin is down" });
  }
  rpc.notify("take", "too late");
  assert.deepEqual(channel.taken, []);
});

Deno.test("an answer that comes after close() is dropped", async () => {
  using channel = pair();
  const call = channel.rpc.call("double", 1);
  channel.rpc.close("Gone");
  await assert.rejects(call, { code: "rpc-closed" });
  const [port] = channel.ports;
  const deliver = port.onmessage;
  const arrived = Promise.withResolvers<unknown>();
  port.onmessage = (event) => {
    deliver?.call(port, event);
    arrived.resolve(event.data);
  };
  assert.deepEqual(await arrived.promise, { id: 1, value: 2 });
});

Deno.test("callWith() hands over what cannot be copied", async () => {
  using channel = pair();
  const { port1, port2 } = new MessageChannel();
  const answer = channel.rpc.callWith([port2], "usePort", port2);
  port1.postMessage("over the new port");
  assert.equal(await answer, "over the new port");
  port1.close();
});

Deno.test("both sides of one channel may call each other", async () => {
  const { port1, port2 } = new MessageChannel();
  const seen: string[] = [];
  const left = openRpc<{ ask(who: string): Promise<string> }>(port1, { name: () => "left" });
  const right: Rpc<{ name(): string }> = openRpc(port2, {
    async ask(who: string) {
      seen.push(who);
      return `${who} asked ${await right.call("name")}`;
    },
  });
  assert.equal(await left.call("ask", "somebody"), "somebody asked left");
  await until(() => seen.length === 1, { what: "the call" });
  port1.close();
  port2.close();
});

Deno.test("what is no message is dropped, whoever posts it, and calls go on", async () => {
  const { port1, port2 } = new MessageChannel();
  const served = openRpc(port1 as MessageChannelEnd, { double: (n: number) => 2 * n });
  const caller = openRpc<{ double(n: number): number }>(port2 as MessageChannelEnd, {});
  for (
    const stray of ["text", null, 7, [], {}, { id: 1 }, { id: "1", method: "double" }, { id: 9, error: null }]
  ) {
    port1.postMessage(stray);
    port2.postMessage(stray);
  }
  port2.postMessage({ id: 1, method: "double", args: "none" });
  assert.equal(await caller.call("double", 21), 42);
  served.close("done");
  caller.close("done");
  port1.close();
  port2.close();
});
