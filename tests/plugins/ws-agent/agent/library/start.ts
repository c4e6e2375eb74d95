import { type ByteStream, writeAll } from "../../../../../core/byte_stream.ts";
import {
  Agent,
  type AgentEvent,
  type AgentOptions,
  type ServiceOptions,
} from "../../../../../plugins/ws-agent/agent/library/mod.ts";
import type { YamuxStream } from "../../../../../plugins/ws-agent/yamux/mod.ts";
import { FakeGateway, type FakeSession } from "../fake_gateway.ts";

/** An agent of a program, a gateway that lets it in, and their one connection. */
export interface Started extends AsyncDisposable {
  readonly agent: Agent;
  readonly gateway: FakeGateway;
  readonly session: FakeSession;
  readonly events: AgentEvent[];
  /** A public connection to the service, on which this was sent. */
  send(service: string, bytes: string | Uint8Array): Promise<YamuxStream>;
}

export async function startLibrary(
  services: readonly ServiceOptions[],
  more: Partial<AgentOptions> = {},
): Promise<Started> {
  await using stack = new AsyncDisposableStack();
  const gateway = stack.use(new FakeGateway());
  const events: AgentEvent[] = [];
  const agent = stack.use(
    new Agent({
      gateway: `ws://127.0.0.1:${gateway.port}`,
      token: "a-token",
      connections: 1,
      services,
      onEvent: (event) => events.push(event),
      ...more,
    }),
  );
  agent.start();
  await agent.ready();
  const session = await gateway.registered(0, services.length);
  const owned = stack.move();
  return {
    agent,
    gateway,
    session,
    events,
    async send(service, bytes) {
      const stream = await session.open(service);
      await writeAll(stream, typeof bytes === "string" ? encode(bytes) : bytes);
      return stream;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** What comes until it ends with `end`, or the stream does. ASCII. */
export async function readUntil(stream: ByteStream, end?: string): Promise<string> {
  const buffer = new Uint8Array(16 * 1024);
  let text = "";
  while (end === undefined || !text.endsWith(end)) {
    const length = await stream.read(buffer);
    if (length === null) break;
    text += new TextDecoder().decode(buffer.subarray(0, length));
  }
  return text;
}
