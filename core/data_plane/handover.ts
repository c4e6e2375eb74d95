import { timingSafeEqual } from "node:crypto";
import { type ByteStream, writeAll } from "../byte_stream.ts";
import { GatewayError } from "../errors.ts";
import type { ConnectionInfo } from "../plugin/contract.ts";
import type { NodeId } from "../registry/registry.ts";
import type { ProxyHeader } from "./preface/preface.ts";
import { encodeProxyV2, parseProxyHeader, TLV, type Tlv } from "./preface/proxy_protocol.ts";

/** Of the range for custom use (HAProxy's proxy-protocol.txt §2.2.7): what one data plane tells another. */
const HANDOVER_TLV = { secret: 0xe1, from: 0xe2, plugin: 0xe3, purpose: 0xe4, sslRequested: 0xe5 } as const;

/** Addresses, the secret and the names; nobody else gets as far as to send more. */
const MAX_HEADER_BYTES = 4096;
const NOTHING = new Uint8Array();
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What one data plane tells another of a connection that it hands over. */
export interface HandoverTicket {
  readonly from: NodeId;
  /** The connection's id where it came in. */
  readonly connection: string;
  /** A PostgreSQL SSLRequest was answered already. */
  readonly sslRequested: boolean;
  /** Present when it is not a client's connection that is handed over, but a stream that a plugin opened to itself. */
  readonly service?: { readonly plugin: string; readonly purpose: string } | undefined;
}

/** A connection that another data plane handed over, and the bytes that came behind the ticket. */
export interface HandedOver {
  readonly ticket: HandoverTicket;
  readonly proxy: ProxyHeader;
  readonly rest: Uint8Array;
}

/** @param secret Known to the data planes of this run only. */
export function encodeTicket(
  secret: Uint8Array,
  { from, connection, sslRequested, service }: HandoverTicket,
  info: Pick<ConnectionInfo, "source" | "destination">,
): Uint8Array {
  const text = (type: number, value: string): Tlv => ({ type, value: encoder.encode(value) });
  return encodeProxyV2(info.source, info.destination, [
    { type: HANDOVER_TLV.secret, value: secret },
    text(TLV.uniqueId, connection),
    text(HANDOVER_TLV.from, from),
    ...(sslRequested ? [{ type: HANDOVER_TLV.sslRequested, value: NOTHING }] : []),
    ...(service
      ? [text(HANDOVER_TLV.plugin, service.plugin), text(HANDOVER_TLV.purpose, service.purpose)]
      : []),
  ]);
}

/**
 * Reads the ticket that a connection between data planes begins with. Any other program on this machine can connect as
 * well: without the secret it gets nothing.
 *
 * @returns `undefined`: it is none of ours.
 */
export async function readTicket(stream: ByteStream, secret: Uint8Array): Promise<HandedOver | undefined> {
  let buffer = new Uint8Array(512);
  for (let seen = 0;;) {
    if (seen === buffer.length) {
      if (seen >= MAX_HEADER_BYTES) return undefined;
      const larger = new Uint8Array(2 * buffer.length);
      larger.set(buffer);
      buffer = larger;
    }
    const length = await stream.read(buffer.subarray(seen));
    if (length === null) return undefined;
    seen += length;
    const parsed = parseProxyHeader(buffer.subarray(0, seen));
    if (parsed.kind === "yes") {
      const ticket = ticketOf(parsed.value, secret);
      return ticket && { ticket, proxy: parsed.value, rest: buffer.slice(parsed.length, seen) };
    }
    if (parsed.kind !== "more" || parsed.total > MAX_HEADER_BYTES) return undefined;
  }
}

function ticketOf({ tlvs, source }: ProxyHeader, secret: Uint8Array): HandoverTicket | undefined {
  const find = (type: number) => tlvs.find((tlv) => tlv.type === type)?.value;
  const text = (type: number) => decoder.decode(find(type));
  const shown = find(HANDOVER_TLV.secret);
  if (shown?.length !== secret.length || !timingSafeEqual(shown, secret) || source === undefined) {
    return undefined;
  }
  const plugin = text(HANDOVER_TLV.plugin);
  return {
    from: text(HANDOVER_TLV.from),
    connection: text(TLV.uniqueId),
    sslRequested: find(HANDOVER_TLV.sslRequested) !== undefined,
    service: plugin === "" ? undefined : { plugin, purpose: text(HANDOVER_TLV.purpose) },
  };
}

/** The ways to the other data planes. */
export class Neighbours {
  /** This data plane. */
  readonly self: NodeId;
  readonly secret: Uint8Array;
  /** Node → port on loopback. */
  ports: Readonly<Record<NodeId, number>> = {};

  constructor(self: NodeId, secret: Uint8Array) {
    this.self = self;
    this.secret = secret;
  }

  /** Those that there are beside this one. */
  get others(): readonly NodeId[] {
    return Object.keys(this.ports).filter((node) => node !== this.self);
  }

  /** @throws {GatewayError} `dial-failed`: there is no such data plane, or it has just ended. */
  portOf(node: NodeId): number {
    const port = this.ports[node];
    if (port !== undefined && node !== this.self) return port;
    throw new GatewayError("dial-failed", `There is no other data plane "${node}"`);
  }

  /** Connects, and shows the ticket. */
  async open(
    node: NodeId,
    ticket: Omit<HandoverTicket, "from">,
    info: ConnectionInfo,
  ): Promise<Deno.TcpConn> {
    const port = this.portOf(node);
    const conn = await Deno.connect({ hostname: LOOPBACK, port }).catch((cause) => {
      throw new GatewayError("dial-failed", `Data plane "${node}" cannot be reached`, { cause });
    });
    try {
      conn.setNoDelay();
      await writeAll(conn, encodeTicket(this.secret, { ...ticket, from: this.self }, info));
      return conn;
    } catch (error) {
      conn.close();
      throw error;
    }
  }
}

/** Where data planes listen for each other. */
export const LOOPBACK = "127.0.0.1";
