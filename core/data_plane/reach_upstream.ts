import type { ByteStream } from "../byte_stream.ts";
import type { Forward, Handover, Open } from "../plugin/contract.ts";
import { cancellable } from "./cancel_path.ts";
import type { Connection } from "./connection.ts";
import { dialAny, openByPlugin } from "./dial_targets.ts";
import type { Preface } from "./preface/preface.ts";
import { type Client, Refusal } from "./refusal.ts";
import { proxyHeader, speaksPostgres } from "./upstream.ts";

const NOTHING = new Uint8Array();

/**
 * Connects to a target of the decision, which says hello to it first.
 *
 * @returns The client's side; `connection.upstream` is the other.
 * @throws {Refusal} None can be reached.
 */
export async function forward(
  connection: Connection,
  decision: Forward,
  preface: Preface,
  client: Client,
): Promise<ByteStream> {
  const { record } = connection;
  const { info } = record.decided;
  if (decision.tls && client.layer === "tls") {
    throw new Refusal(client, "not_supported", "TLS to the upstream, but the client's own is not terminated");
  }
  const upstream = await dialAny(connection, decision, client, {
    header: proxyHeader(decision, info, preface.proxy),
    sslRequested: decision.tls ? speaksPostgres(info) : client.sslRequested,
    head: client.head,
    tls: decision.tls,
  });
  connection.upstream = info.terminated && speaksPostgres(info)
    ? cancellable(connection, upstream, decision)
    : upstream;
  record.sent.bytes += client.head.length;
  return client.stream;
}

/** As {@link forward}, to a stream that the plugin opens. */
export async function openUpstream(
  connection: Connection,
  { target }: Open,
  client: Client,
): Promise<ByteStream> {
  const { record } = connection;
  const { info, plugin } = record.decided;
  if (!plugin.open) throw new Refusal(client, "not_supported", "the plugin opens no streams");
  connection.upstream = await openByPlugin(connection, target, client, {
    header: NOTHING,
    sslRequested: client.sslRequested,
    head: client.head,
  }, (signal) => plugin.open?.(info, { signal }));
  record.sent.bytes += client.head.length;
  return client.stream;
}

/** As {@link forward}, to another data plane, which gets the connection as it came. */
export async function handOver(
  connection: Connection,
  { node }: Handover,
  client: Client,
): Promise<ByteStream> {
  const { record, plane: { neighbours } } = connection;
  const { info } = record.decided;
  if (info.handedOver || client.withinTls || !neighbours) {
    throw new Refusal(client, "plugin_failed", "it cannot be handed over to another data plane");
  }
  connection.upstream = await openByPlugin(connection, node, client, {
    header: NOTHING,
    sslRequested: false,
    head: client.head,
  }, () => neighbours.open(node, { connection: record.id, sslRequested: client.sslRequested }, info));
  record.sent.bytes += client.head.length;
  return client.stream;
}
