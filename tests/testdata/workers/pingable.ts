/// <reference lib="deno.worker" />
import { type MessageChannelEnd, openRpc } from "../../../core/rpc.ts";

/** A worker that lives as long as it is let, and ends in whichever way it is asked to. */
const methods = {
  ping() {},
  hang: () => new Promise(() => {}),
  fail(message: string) {
    throw new RangeError(message);
  },
  close: () => self.close(),
  exit: () => Deno.exit(1),
  crash: () => void setTimeout(() => Promise.reject(new Error("crashed"))),
  busy(ms: number) {
    for (const end = performance.now() + ms; performance.now() < end;);
  },
};

export type PingableMethods = typeof methods;

openRpc(self as unknown as MessageChannelEnd, methods);
