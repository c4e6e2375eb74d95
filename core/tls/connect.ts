import { X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { connect, rootCertificates, type TLSSocket } from "node:tls";
import type { ByteStream } from "../byte_stream.ts";
import { StreamDuplex } from "../data_plane/streams/duplex.ts";
import { GatewayError, messageOf } from "../errors.ts";
import { isAddress } from "../net/address.ts";
import { Lru } from "./lru.ts";
import { plaintextOf } from "./plaintext.ts";
import { isCertificateFor } from "./server_identity.ts";
import { RUNTIME_TLS } from "./transport.ts";

export interface ConnectTlsOptions {
  /** Canonical name or address: asked for by SNI when it is a name, and what the certificate must be for. */
  readonly host: string;
  /** The only CAs that the certificate may lead to, PEM. @default those of the runtime */
  readonly ca?: string | undefined;
  /**
   * CAs that it may lead to as well, beside those of the runtime or `ca`, PEM. Without `ca`, a worker needs the permission
   * `sys: ["ca"]` for it.
   */
  readonly extraCa?: string | undefined;
  /** Takes any certificate, or none that makes sense: anybody may be at the other end. @default false */
  readonly insecure?: boolean | undefined;
  /** What to offer by ALPN, best first. @default nothing */
  readonly alpn?: readonly string[] | undefined;
  /** How the other side is called in messages. @default "upstream" */
  readonly peer?: string | undefined;
}

/**
 * Shakes hands as the TLS client, and verifies the certificate: its chain, its dates, its usage and its names.
 *
 * It has no deadline of its own: closing `stream` ends it at any time. It takes the stream over, and closes it when
 * it fails. `Deno.startTls` is not used: it trusts the runtime's CAs beside `ca`, and a connection that was closed
 * while its peer stays silent keeps its socket for as long as the peer likes.
 *
 * @returns The plaintext. Closing it closes the stream beneath.
 * @throws {GatewayError} `dial-failed`: the certificate is not good, or there was no handshake.
 * `certificate-invalid`: there is no CA in `ca`.
 */
export async function connectTls(stream: ByteStream, options: ConnectTlsOptions): Promise<ByteStream> {
  const { host, insecure = false, alpn, peer = "upstream" } = options;
  const transport = new StreamDuplex(stream, RUNTIME_TLS);
  transport.on("error", () => {}); // whoever watches over its time may close the stream at any moment
  try {
    const socket = connect({
      socket: transport as unknown as Socket,
      rejectUnauthorized: !insecure, // said, so that no variable of the environment says otherwise
      checkServerIdentity: () => undefined, // it is done below, from DER
      ...(insecure ? undefined : anchors(options)),
      ...(alpn !== undefined && { ALPNProtocols: [...alpn] }),
      ...(isAddress(host) ? { host } : { servername: host }),
    });
    await handshake(socket, peer);
    if (!insecure) verify(socket, host, peer);
    return plaintextOf(socket, transport);
  } catch (error) {
    transport.destroy();
    throw error;
  }
}

/** Unlike on a server, the runtime tells of every end that a handshake may have. */
function handshake(socket: TLSSocket, peer: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.on("error", (error) => reject(describe(error, peer)));
  });
}

function verify(socket: TLSSocket, host: string, peer: string): void {
  const { raw } = socket.getPeerCertificate(true);
  if (!socket.authorized || raw === undefined) throw fault(untrusted(peer));
  if (!isCertificateFor(raw, host)) throw fault(`The ${peer}'s certificate is not for "${host}"`);
}

/** The runtime says the same of all these. */
function untrusted(peer: string): string {
  return `The ${peer}'s certificate is not trusted: it does not lead to the CAs, is out of date, or not for servers`;
}

function describe(error: Error & { code?: unknown }, peer: string): GatewayError {
  if (error.code === "UNABLE_TO_VERIFY_LEAF_SIGNATURE") return fault(untrusted(peer), error);
  return fault(`The TLS handshake with the ${peer} failed: ${messageOf(error)}`, error);
}

function fault(message: string, cause?: unknown): GatewayError {
  return new GatewayError("dial-failed", message, { cause });
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** A handful of decisions name CAs; the bound is for a plugin that makes them up. */
const known = new Lru<string[]>(64);

/** What is trusted: nothing said, the runtime's own. */
function anchors({ ca, extraCa, peer }: ConnectTlsOptions): { ca: string[] } | undefined {
  if (extraCa === undefined) return ca === undefined ? undefined : { ca: caCertificates(ca, peer) };
  const own = ca === undefined ? rootCertificates : caCertificates(ca, peer);
  return { ca: [...own, ...caCertificates(extraCa, peer)] };
}

/**
 * One PEM text a certificate: of several in one text the runtime takes what it can read, and says nothing.
 *
 * @throws {GatewayError} `certificate-invalid`: there is none, or a malformed one.
 */
export function caCertificates(ca: string, peer = "upstream"): string[] {
  const found = known.get(ca);
  if (found !== undefined) return found;
  const anchors = ca.match(CERTIFICATE) ?? [];
  if (anchors.length === 0) throw invalid(`No CA certificate to verify the ${peer} against`);
  for (const anchor of anchors) {
    try {
      new X509Certificate(anchor);
    } catch (error) {
      throw invalid(`A CA certificate to verify the ${peer} against is malformed`, error);
    }
  }
  known.set(ca, anchors);
  return anchors;
}

function invalid(message: string, cause?: unknown): GatewayError {
  return new GatewayError("certificate-invalid", message, { cause });
}
