import type {
  ClosedEvent,
  ConnectionInfo,
  Decision,
  DialEvent,
  Plugin,
} from "../../../core/plugin/contract.ts";
import { readToEnd, serveTcp, type TestServer } from "../../support/echo.ts";
import type { TestPlane } from "../../support/plane.ts";
import { until } from "../../support/until.ts";

/** A plugin, and what it was told. */
export interface Recording {
  readonly plugin: Plugin;
  readonly asked: readonly ConnectionInfo[];
  readonly dialed: readonly DialEvent[];
  readonly closed: readonly ClosedEvent[];
}

/** A plugin that answers as given, and writes down what it is told. */
export function recording(
  answer: (connection: ConnectionInfo) => Decision | undefined,
  more: Partial<Plugin> = {},
): Recording {
  const asked: ConnectionInfo[] = [];
  const dialed: DialEvent[] = [];
  const closed: ClosedEvent[] = [];
  const plugin: Plugin = {
    route(connection) {
      asked.push(connection);
      return answer(connection);
    },
    dialed: (event) => void dialed.push(event),
    closed: (event) => void closed.push(event),
    ...more,
  };
  return { plugin, asked, dialed, closed };
}

/** Writes down all that each connection sends, up to its FIN. */
export function recordingServer(): TestServer & { readonly seen: readonly Uint8Array[] } {
  const seen: Uint8Array[] = [];
  const server = serveTcp(async (conn) => void seen.push(await readToEnd(conn)));
  return Object.create(server, Object.getOwnPropertyDescriptors({ seen }));
}

/** A port on loopback where nobody listens. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

/** Waits until the gateway has no connection any more. */
export async function empty(gateway: TestPlane): Promise<void> {
  await until(() => gateway.plane.size === 0, { what: "the gateway to be empty" });
}

/** The results of every logged event of this name. */
export function loggedResults(gateway: TestPlane, event: string): unknown[] {
  return gateway.events.filter((one) => one.event === event).map(({ fields }) => fields.result);
}
