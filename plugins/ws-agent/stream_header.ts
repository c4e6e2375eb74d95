import {
  type ByteStream,
  canonicalName,
  encodeProxyV2,
  type Endpoint,
  parseProxyHeader,
  TLV,
  type Tlv,
} from "../../core/plugin/mod.ts";
import type { Uuid } from "./control/messages.ts";
import { UUID_BYTES, uuidFromBytes, uuidToBytes } from "./control/uuid.ts";

/** The TLV with the service's id: the first of the types that are for custom use (HAProxy's proxy-protocol.txt §2.2). */
const SERVICE_ID = 0xe0;

/**
 * The longest header that is taken. Ours has at most 464 bytes: 52 with IPv6 addresses, a host name of 253, an id of 128
 * and a service, each behind 3; the rest is room for TLVs to come.
 */
export const MAX_STREAM_HEADER_BYTES = 1024;

const V2_FIRST_BYTE = 0x0d;
/** Of the connection's id (proxy-protocol.txt §2.2.5). */
const MAX_ID = 128;

/** What each data stream begins with: for whom it is. */
export interface StreamHeader {
  /** The public client, and where it connected to. */
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** Whether the stream carries datagrams of UDP, each behind its length. */
  readonly datagrams?: true;
  /** The host name that was asked for, canonical; absent for a service that is reached by its port. */
  readonly name?: string;
  /** As in the gateway's log: 1 to 128 printable ASCII characters. */
  readonly connectionId: string;
  readonly serviceId: Uuid;
}

/** A stream that does not begin as it should. */
export class StreamHeaderFault extends Error {
  override readonly name = "StreamHeaderFault";
}

/**
 * Writes the header of a data stream.
 *
 * @throws {RangeError} For a value that it cannot hold.
 */
export function encodeStreamHeader(header: StreamHeader): Uint8Array {
  const { source, destination, datagrams, name, connectionId, serviceId } = header;
  if (!isConnectionId(connectionId)) throw new RangeError(`A stream cannot have the id "${connectionId}"`);
  if (name !== undefined && canonicalName(name) !== name) {
    throw new RangeError(`"${name}" is no canonical host name`);
  }
  const tlvs: Tlv[] = [
    { type: TLV.uniqueId, value: ascii(connectionId) },
    { type: SERVICE_ID, value: uuidToBytes(serviceId) },
  ];
  if (name !== undefined) tlvs.unshift({ type: TLV.authority, value: ascii(name) });
  return encodeProxyV2(source, destination, tlvs, "proxy", datagrams ? "udp" : "tcp");
}

/** The runtime's encoder takes longer for so little. */
function ascii(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** What {@link readStreamHeader} found. */
export interface ReadStreamHeader {
  readonly header: StreamHeader;
  /** The first bytes of the client, which were read along. A view into the buffer that was read into. */
  readonly rest: Uint8Array;
}

/**
 * Reads the header off a stream. How long it may take is the caller's to bound.
 *
 * @param buffer To read into; at least {@link MAX_STREAM_HEADER_BYTES}.
 * @throws {StreamHeaderFault} It is not as it should be, or the stream ended. Else what the stream throws.
 */
export async function readStreamHeader(
  stream: Pick<ByteStream, "read">,
  buffer: Uint8Array = new Uint8Array(MAX_STREAM_HEADER_BYTES),
): Promise<ReadStreamHeader> {
  if (buffer.length < MAX_STREAM_HEADER_BYTES) throw new RangeError("The buffer is too small for a header");
  for (let length = 0;;) {
    const read = await stream.read(buffer.subarray(length));
    if (read === null) throw new StreamHeaderFault("Stream that ended in its header");
    length += read;
    const parsed = parseStreamHeader(buffer.subarray(0, length));
    if (parsed !== undefined) {
      return { header: parsed.header, rest: buffer.subarray(parsed.length, length) };
    }
  }
}

/**
 * Reads the header at the start of `seen`. What is returned holds nothing of `seen`.
 *
 * @returns It and its length, or `undefined` while there is more to come.
 * @throws {StreamHeaderFault}
 */
export function parseStreamHeader(
  seen: Uint8Array,
): { readonly header: StreamHeader; readonly length: number } | undefined {
  if (seen.length > 0 && seen[0] !== V2_FIRST_BYTE) throw fault("Stream without a PROXY v2 header");
  const parsed = parseProxyHeader(seen);
  if (parsed.kind === "malformed") throw fault(parsed.detail);
  if (parsed.kind === "no") throw fault("Stream without a PROXY v2 header");
  if (parsed.kind === "more") {
    if (parsed.total > MAX_STREAM_HEADER_BYTES) throw tooLong(parsed.total);
    return undefined;
  }
  if (parsed.length > MAX_STREAM_HEADER_BYTES) throw tooLong(parsed.length);
  const { datagrams, tlvs } = parsed.value;
  const { source, destination } = datagrams ?? parsed.value;
  if (source === undefined || destination === undefined) throw fault("Stream header without addresses");
  const kind = datagrams && { datagrams: true as const };
  return { header: { source, destination, ...kind, ...readTlvs(tlvs) }, length: parsed.length };
}

function readTlvs(tlvs: readonly Tlv[]): Omit<StreamHeader, "source" | "destination"> {
  const id = single(tlvs, TLV.uniqueId),
    service = single(tlvs, SERVICE_ID),
    name = single(tlvs, TLV.authority);
  const connectionId = id === undefined ? "" : String.fromCharCode(...id);
  if (!isConnectionId(connectionId)) throw fault("Stream header without a proper connection id");
  if (service?.length !== UUID_BYTES) throw fault("Stream header without a proper service id");
  const known = { connectionId, serviceId: uuidFromBytes(service) };
  return name === undefined ? known : { name: readName(name), ...known };
}

/** A TLV that came twice would mean one thing here and another elsewhere. */
function single(tlvs: readonly Tlv[], type: number): Uint8Array | undefined {
  const [first, second] = tlvs.filter((tlv) => tlv.type === type);
  if (second !== undefined) throw fault(`Stream header with TLV ${type} twice`);
  return first?.value;
}

function readName(bytes: Uint8Array): string {
  const name = String.fromCharCode(...bytes);
  if (canonicalName(name) !== name) throw fault("Stream header with a name that is no canonical host name");
  return name;
}

function isConnectionId(id: string): boolean {
  return id.length <= MAX_ID && /^[\x21-\x7e]+$/.test(id);
}

function tooLong(length: number): StreamHeaderFault {
  return fault(`Stream header of ${length} bytes, over ${MAX_STREAM_HEADER_BYTES}`);
}

function fault(message: string): StreamHeaderFault {
  return new StreamHeaderFault(message);
}
