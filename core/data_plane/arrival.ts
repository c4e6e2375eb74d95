import type { ByteStream } from "../byte_stream.ts";
import type { Connection } from "./connection.ts";
import { type HandoverTicket, readTicket } from "./handover.ts";
import type { Preface } from "./preface/preface.ts";
import { readPreface } from "./preface/read_preface.ts";
import { Refusal } from "./refusal.ts";
import { replaying } from "./streams/replaying.ts";

const NOTHING = new Uint8Array();

/** A connection that is ready to be routed. */
export interface Arrival {
  readonly preface: Preface;
  /** What is to be read on from. */
  readonly stream: ByteStream;
  /** Present when another data plane handed it over. */
  readonly ticket?: HandoverTicket;
  /** The one plugin that it is for. */
  readonly only?: string | undefined;
}

/**
 * Reads what there is to read before the plugins are asked, which the listener decides: on one of a plugin's own nothing,
 * because there the server may be the first to speak; from another data plane its ticket first.
 *
 * @throws {Refusal} What was read is refused.
 */
export async function readArrival(connection: Connection): Promise<Arrival> {
  const { conn, record: { listener } } = connection;
  switch (listener.kind) {
    case "plugin":
      return { preface: UNREAD, stream: conn, only: listener.plugin };
    case "plane":
      return await readHandedOver(connection);
    default:
      return { preface: await read(connection, conn), stream: conn };
  }
}

const UNREAD: Preface = { protocol: "other", sslRequested: false, replay: NOTHING };

async function readHandedOver(connection: Connection): Promise<Arrival> {
  const { conn, plane: { neighbours } } = connection;
  const handed = neighbours && await readTicket(conn, neighbours.secret);
  if (!handed) throw refusal(conn, "proxy_protocol_refused", "no ticket of another data plane");
  const { ticket, proxy, rest } = handed;
  if (ticket.service) {
    return { preface: { ...UNREAD, proxy, replay: rest }, stream: conn, ticket, only: ticket.service.plugin };
  }
  const stream = replaying(conn, rest);
  const preface = await read(connection, stream);
  const { protocol, sslRequested } = ticket.sslRequested
    ? { protocol: "postgres" as const, sslRequested: true }
    : preface;
  return { preface: { ...preface, proxy, protocol, sslRequested }, stream, ticket };
}

async function read({ queues, record }: Connection, stream: ByteStream): Promise<Preface> {
  const result = await readPreface(stream, {
    maxBytes: queues.limits.maxPrefaceBytes,
    proxy: record.listener.proxyFrom.has(record.peer.address) ? "trusted" : "refused",
  });
  if (result.kind === "preface") return result.preface;
  throw refusal(stream, result.fault, result.detail, result.protocol);
}

function refusal(
  stream: ByteStream,
  fault: Extract<Awaited<ReturnType<typeof readPreface>>, { kind: "refused" }>["fault"],
  detail: string,
  layer: Refusal["client"]["layer"] = "other",
): Refusal {
  return new Refusal({ stream, head: NOTHING, withinTls: false, layer, sslRequested: false }, fault, detail);
}
