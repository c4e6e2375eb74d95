/// <reference lib="deno.worker" />
/** An agent in a worker that may connect to its gateway and do nothing else. */
import { Agent } from "../../../../../plugins/ws-agent/agent/library/mod.ts";

let agent: Agent | undefined;

self.onmessage = async ({ data }: MessageEvent<{ readonly port: number } | "stop">) => {
  if (data === "stop") {
    await agent?.stop();
    return self.postMessage("stopped");
  }
  agent = new Agent({
    gateway: `ws://127.0.0.1:${data.port}`,
    token: "a-token",
    connections: 1,
    services: [
      { name: "http", protocol: "http", fetch: async (request) => new Response(await request.text()) },
      { name: "tcp", protocol: "tcp", handle: ({ readable, writable }) => readable.pipeTo(writable) },
      { name: "else", protocol: "tcp", target: "127.0.0.1:1" },
    ],
    onEvent: (event) => event.kind === "target_failed" && self.postMessage(event.reason),
  });
  agent.start();
};
