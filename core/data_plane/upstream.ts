import { type ByteStream, writeAll } from "../byte_stream.ts";
import { GatewayError } from "../errors.ts";
import { canonicalName } from "../names.ts";
import { parseAddress } from "../net/address.ts";
import type { ConnectionInfo, Forward, UpstreamTls } from "../plugin/contract.ts";
import { connectTls } from "../tls/connect.ts";
import { SSL_REQUEST } from "./preface/postgres.ts";
import type { ProxyHeader } from "./preface/preface.ts";
import { encodeProxyV1, encodeProxyV2 } from "./preface/proxy_protocol.ts";

const NOTHING = new Uint8Array();
/** PostgreSQL's one-byte answer to an SSLRequest that it takes. */
const S = "S".charCodeAt(0);

/**
 * The PROXY header that an upstream gets: made from checked values, never from what a stranger sent, but for
 * `pass`, which sends on the exact header of a trusted peer.
 */
export function proxyHeader(
  forward: Forward,
  info: ConnectionInfo,
  received: ProxyHeader | undefined,
): Uint8Array {
  switch (forward.proxyProtocol) {
    case "v1":
      return encodeProxyV1(info.source, info.destination);
    case "v2":
      return encodeProxyV2(info.source, info.destination, forward.tlvs);
    case "pass":
      return received?.raw ?? NOTHING;
    default:
      return NOTHING;
  }
}

/** What an upstream gets before the client's next bytes. */
export interface Greeting {
  /** A PROXY header, or nothing. */
  readonly header: Uint8Array;
  /** Whether it is to be asked for TLS, as a PostgreSQL server is. */
  readonly sslRequested: boolean;
  /** What was read from the client already. */
  readonly head: Uint8Array;
  /** Whether it is spoken to in TLS. */
  readonly tls?: UpstreamTls | undefined;
}

/**
 * Sends what the upstream gets before the client's next bytes: at most two writes and one read, and a TLS handshake
 * when there is one. It has no deadline of its own: closing `upstream` ends it at any time.
 *
 * @param host Who the target is, canonical: what its certificate is for, as long as nothing else is said.
 * @returns What is to be relayed: the upstream itself, or what lies within its TLS.
 * @throws {GatewayError} `dial-failed`; `certificate-invalid` when the CAs are none.
 */
export async function greetUpstream(
  upstream: ByteStream,
  greeting: Greeting,
  host: string,
): Promise<ByteStream> {
  const { header, sslRequested, head, tls } = greeting;
  const before = sslRequested ? join(header, SSL_REQUEST) : tls ? header : join(header, head);
  if (before.length > 0) await writeAll(upstream, before);
  if (sslRequested) await readSslAnswer(upstream);
  const inner = tls ? await connectTls(upstream, { host: serverName(tls, host), ca: tls.ca }) : upstream;
  if (sslRequested || tls) await writeAll(inner, head);
  return inner;
}

function serverName({ serverName = "" }: UpstreamTls, host: string): string {
  const name = serverName === "" ? host : parseAddress(serverName) ?? canonicalName(serverName);
  if (name !== undefined) return name;
  throw new GatewayError("dial-failed", `${JSON.stringify(serverName)} is no server name`);
}

/** Whether a client speaks PostgreSQL: behind an SSLRequest, in plain text, or by direct TLS (ALPN). */
export function speaksPostgres({ protocol, terminated }: ConnectionInfo): boolean {
  return protocol === "postgres" || terminated?.alpn === "postgresql";
}

/**
 * Reads PostgreSQL's answer to an SSLRequest (its manual, "SSL Session Encryption").
 *
 * @throws {GatewayError} `dial-failed`: the upstream has no TLS, or sent more than its one byte (CVE-2021-23222:
 * bytes from before the encryption must not pass as bytes from within it).
 */
async function readSslAnswer(upstream: ByteStream): Promise<void> {
  const answer = new Uint8Array(2);
  const length = await upstream.read(answer);
  if (length === 1 && answer[0] === S) return;
  throw new GatewayError("dial-failed", describeSslAnswer(length, answer));
}

function describeSslAnswer(length: number | null, [first]: Uint8Array): string {
  if (length === null) {
    return "The PostgreSQL upstream closed the connection instead of answering the SSLRequest";
  }
  if (first === S) return "The PostgreSQL upstream sent bytes behind its answer to the SSLRequest";
  return "The PostgreSQL upstream does not offer TLS";
}

function join(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  if (second.length === 0) return first;
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
