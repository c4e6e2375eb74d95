import type { ByteStream } from "../byte_stream.ts";
import { GatewayError, messageOf } from "../errors.ts";
import { canonicalAddress } from "../net/address.ts";
import type { ConnectionInfo, Decision, Endpoint, Terminate } from "../plugin/contract.ts";
import type { PluginHandle } from "../plugin/host.ts";
import type { Terminated } from "../tls/terminate.ts";
import { type Arrival, readArrival } from "./arrival.ts";
import { deliverCancel } from "./cancel_path.ts";
import type { Connection } from "./connection.ts";
import type { Preface } from "./preface/preface.ts";
import { type Client, Refusal } from "./refusal.ts";
import { PluginFault, type Routed } from "./router.ts";
import { counting } from "./streams/counting.ts";
import { replaying } from "./streams/replaying.ts";
import { forward, handOver, openUpstream } from "./reach_upstream.ts";
import { answerChallenge, awaitCertificate, readChallenge } from "./acme_path.ts";

const NOTHING = new Uint8Array();

/**
 * Walks a connection from its first byte to its upstream: preface → route → (terminate TLS) → dial.
 *
 * @returns The client's side, when there is something to relay: `connection.upstream` is connected then. Or when a handler
 * takes it: the connection is {@link Connection.beginHandling handling} then.
 * @throws {Refusal} The client is to be turned away.
 */
export async function walk(connection: Connection): Promise<ByteStream | undefined> {
  const { record, plane } = connection;
  const arrival = await arrive(connection);
  const { preface, stream } = arrival;
  const info = record.info = describe(connection, arrival);
  let opening: Client = {
    stream,
    head: preface.replay,
    withinTls: false,
    layer: preface.tls ? "tls" : preface.protocol,
    sslRequested: preface.sslRequested,
    unanswered: preface.cancel !== undefined,
  };
  if (!arrival.ticket) admitProxied(connection, preface, opening);
  if (record.listener.kind === "http" && info.protocol !== "http") {
    throw new Refusal(opening, "no_route", "the listener takes plain HTTP only");
  }
  if (record.listener.kind === "http" && plane.challenges.isExpected) {
    const asked = await readChallenge(connection, opening);
    if (asked.token !== undefined) return await answerChallenge(connection, info, asked.client);
    opening = asked.client;
  }
  if (preface.cancel) {
    const target = await plane.cancels.find(preface.cancel);
    if (target) return await deliverCancel(connection, target, preface.cancel, preface, opening);
  }
  record.state = "routing";
  const { routed, client } = await route(connection, info, opening, arrival.only);
  if (routed === undefined) return await takeUnrouted(connection, info, client);
  record.plugin = routed.plugin;
  plane.metrics.connectionOpened(routed.plugin.name);
  return await carryOut(connection, routed.decision, preface, client);
}

/** Reads what there is to read before the plugins are asked; see `arrival.ts`. */
async function arrive(connection: Connection): Promise<Arrival> {
  const { queues, plane, record } = connection;
  let failure: string | undefined;
  queues.clients.add(connection);
  try {
    return await readArrival(connection);
  } catch (error) {
    failure = messageOf(error);
    throw error;
  } finally {
    queues.clients.delete(connection);
    plane.metrics.prefaceRead(record.age / 1000);
    connection.trace?.step("preface", record.acceptedAt, {}, failure);
  }
}

/** A client behind a trusted proxy is counted by its own address, as others are when they are accepted. */
function admitProxied(connection: Connection, { proxy }: Preface, client: Client): void {
  if (!proxy?.source) return;
  const { limits } = connection.queues;
  const broken = connection.plane.limits.admitSource(proxy.source.address, limits);
  if (broken !== undefined) throw new Refusal(client, broken, "");
  connection.admitted = { source: proxy.source.address, limits };
}

function describe({ record, conn }: Connection, { preface, ticket }: Arrival): ConnectionInfo {
  const { proxy, protocol, tls } = preface;
  return {
    id: record.id,
    listener: record.listener.address,
    ...(record.listener.kind === "http" && { listenerKind: "http" }),
    source: proxy?.source ?? record.peer,
    destination: proxy?.destination ?? endpointOf(conn.localAddr),
    peer: record.peer,
    protocol,
    ...(tls && { tls }),
    ...(ticket && {
      handedOver: { from: ticket.from, ...(ticket.service && { purpose: ticket.service.purpose }) },
    }),
  };
}

function endpointOf(address: Deno.NetAddr): Endpoint {
  return { address: canonicalAddress(address.hostname), port: address.port };
}

async function route(
  connection: Connection,
  info: ConnectionInfo,
  client: Client,
  only: string | undefined,
): Promise<{ readonly routed: Routed | undefined; readonly client: Client }> {
  const { router, metrics } = connection.plane;
  const before = performance.now();
  connection.beginWaiting(client);
  try {
    const routed = await router.route(info, connection, only);
    if (routed) metrics.routed(routed.plugin.name, (performance.now() - before) / 1000);
    connection.trace?.step("route", before, {
      "postern.plugin": routed?.plugin.name,
      "postern.decision": routed?.decision.kind,
    });
    return { routed, client: connection.endWaiting(client) };
  } catch (error) {
    traceFault(connection, before, error);
    throw pluginRefusal(connection, error, connection.endWaiting(client));
  }
}

function traceFault({ trace }: Connection, before: number, error: unknown): void {
  const fault = error instanceof PluginFault ? error : undefined;
  trace?.step("route", before, { "postern.plugin": fault?.plugin.name }, messageOf(fault?.cause ?? error));
}

/** A plugin that does not work lets nobody in. */
function pluginRefusal({ record, plane }: Connection, error: unknown, client: Client): unknown {
  if (!(error instanceof PluginFault) || record.result !== undefined) return error;
  const { plugin, timedOut, cause } = error;
  if (plane.faults.may(`plugin_fault ${plugin.name}`)) {
    plane.log.error("plugin_fault", { connection: record.id, plugin: plugin.name, reason: messageOf(cause) });
  }
  return new Refusal(client, timedOut ? "timeout" : "plugin_failed", `plugin ${plugin.name}`);
}

/** Plain HTTP on an `http` listener is sent on to https; everything else that no plugin takes is refused. */
async function takeUnrouted(
  connection: Connection,
  info: ConnectionInfo,
  client: Client,
): Promise<undefined> {
  if (connection.record.listener.kind === "http" && info.protocol === "http") {
    connection.beginHandling();
    await connection.plane.redirects.serve(replaying(client.stream, client.head), info, connection);
    return;
  }
  if (client.unanswered) {
    throw new Refusal(client, "no_route", "a PostgreSQL CancelRequest for a session that is not known");
  }
  const named = info.tls?.serverName !== undefined;
  const unnamed = info.tls || info.protocol === "postgres" ? "no_server_name" : "no_route";
  throw new Refusal(client, named ? "unknown_name" : unnamed, "no plugin takes it");
}

async function carryOut(
  connection: Connection,
  decision: Decision,
  preface: Preface,
  client: Client,
): Promise<ByteStream | undefined> {
  connection.record.isDecided = decision.kind !== "terminate" || decision.then !== undefined;
  switch (decision.kind) {
    case "forward":
      return await forward(connection, decision, preface, client);
    case "terminate":
      return await terminate(connection, decision, preface, client);
    case "open":
      return await openUpstream(connection, decision, client);
    case "handover":
      return await handOver(connection, decision, client);
    case "handle":
      return handle(connection, client);
    case "reject":
      throw new Refusal(client, decision.reason, decision.detail ?? "");
  }
}

function handle(connection: Connection, client: Client): ByteStream {
  const { record } = connection;
  if (!record.decided.plugin.handle) {
    throw new Refusal(client, "not_supported", "the plugin handles no streams");
  }
  connection.beginHandling();
  return counting(replaying(client.stream, client.head), record.sent, record.received);
}

async function terminate(
  connection: Connection,
  decision: Terminate,
  preface: Preface,
  client: Client,
): Promise<ByteStream | undefined> {
  const { record, plane } = connection;
  const { plugin, info } = record.decided;
  if (!info.tls || info.terminated) throw new Refusal(client, "not_supported", "no TLS to terminate");
  const { serverName } = info.tls;
  if (serverName === undefined) throw new Refusal(client, "no_server_name", "no certificate without a name");
  const ready = plane.certificates.lookup(serverName)
    ? client
    : await awaitCertificate(connection, serverName, client);
  const terminated = await shakeHands(connection, serverName, decision, ready);
  const behind = record.info = { ...info, terminated: terminated.info };
  const inner: Client = {
    stream: terminated.stream,
    head: NOTHING,
    withinTls: true,
    layer: info.protocol === "postgres" ? "postgres" : "other",
    sslRequested: false,
  };
  if (decision.then) return await carryOut(connection, decision.then, preface, inner);
  const again = await askAgain(connection, plugin, behind, inner);
  return await carryOut(connection, again.decision, preface, again.client);
}

async function askAgain(
  connection: Connection,
  plugin: PluginHandle,
  info: ConnectionInfo,
  client: Client,
): Promise<{ readonly decision: Decision; readonly client: Client }> {
  connection.record.state = "routing";
  connection.beginWaiting(client);
  const before = performance.now();
  try {
    const decision = await connection.plane.router.ask(plugin, info, connection);
    connection.trace?.step("route", before, {
      "postern.plugin": plugin.name,
      "postern.decision": decision?.kind,
    });
    if (decision !== undefined) return { decision, client: connection.endWaiting(client) };
  } catch (error) {
    traceFault(connection, before, error);
    throw pluginRefusal(connection, error, connection.endWaiting(client));
  }
  throw new Refusal(connection.endWaiting(client), "forbidden", "the plugin takes it no more");
}

async function shakeHands(
  connection: Connection,
  serverName: string,
  { alpn, minVersion, clientCertificate }: Terminate,
  client: Client,
): Promise<Terminated> {
  const { queues, plane, record } = connection;
  record.state = "handshake";
  queues.clients.add(connection);
  const before = performance.now();
  try {
    const terminated = await plane.terminator.terminate(client.stream, {
      replay: client.head,
      serverName,
      ...(alpn && { alpn }),
      ...(minVersion && { minVersion }),
      ...(clientCertificate && { clientCertificate }),
    });
    plane.metrics.handshake((performance.now() - before) / 1000);
    connection.trace?.step("handshake", before, { "postern.tls_version": terminated.info.version });
    return terminated;
  } catch (error) {
    connection.trace?.step("handshake", before, {}, messageOf(error));
    // The CA that the plugin named is of no use: nothing has been said to the client yet.
    const fault = error instanceof GatewayError
      ? new PluginFault(connection.record.decided.plugin, error)
      : error;
    throw pluginRefusal(connection, fault, client);
  } finally {
    queues.clients.delete(connection);
  }
}
