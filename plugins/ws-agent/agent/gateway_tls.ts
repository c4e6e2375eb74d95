import { type ByteStream, closeQuietly, GatewayError, messageOf } from "../../../core/plugin/mod.ts";
import { caCertificates, connectTls } from "../../../core/tls/connect.ts";
import { type NetworkStream, TcpStream } from "./network.ts";
import type { GatewayTls } from "./settings.ts";
import { trusting } from "./trust.ts";

/** What the tunnel speaks inside: a WebSocket starts as HTTP/1.1. */
const ALPN = ["http/1.1"];

/**
 * Handshakes that nobody answered, and of which the runtime keeps the socket for as long as the other side does: it has no way to
 * abort them. After so many, `node:tls` shakes hands until somebody answers again.
 */
const MAX_STALLED = 4;
let stalled = 0;

/**
 * Shakes hands with the gateway by the runtime's own TLS: measured, it takes a third of the time for each byte that `node:tls` takes on
 * a byte stream, and this is the one connection that everything goes through. It trusts the runtime's CAs (`DENO_TLS_CA_STORE`,
 * `DENO_CERT`) beside the extra one.
 */
export async function openNativeTls(
  stream: NetworkStream,
  host: string,
  tls: GatewayTls,
  signal: AbortSignal,
): Promise<ByteStream> {
  if (!(stream instanceof TcpStream) || tls.insecure || stalled >= MAX_STALLED) {
    const secured = await connectWithNode(stream, host, tls, signal);
    stalled = 0;
    return secured;
  }
  const caCerts = tls.extraCa === undefined ? [] : caCertificates(tls.extraCa, "gateway");
  let secured: Deno.TlsConn | undefined;
  const end = () => closeQuietly(secured);
  signal.addEventListener("abort", end);
  try {
    secured = await Deno.startTls(stream.connection, { hostname: host, caCerts, alpnProtocols: ALPN });
    if (signal.aborted) end();
    await secured.handshake();
    stalled = 0;
    return secured;
  } catch (error) {
    if (signal.aborted) stalled++;
    closeQuietly(secured ?? stream);
    throw describe(error, host);
  } finally {
    signal.removeEventListener("abort", end);
  }
}

async function connectWithNode(
  stream: NetworkStream,
  host: string,
  { extraCa, insecure }: GatewayTls,
  signal: AbortSignal,
): Promise<ByteStream> {
  const end = () => closeQuietly(stream);
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  try {
    return await connectTls(stream, { host, ...trusting(extraCa), insecure, alpn: ALPN, peer: "gateway" });
  } finally {
    signal.removeEventListener("abort", end);
  }
}

/** The runtime's words are those of its TLS library. */
function describe(error: unknown, host: string): GatewayError {
  const text = messageOf(error);
  const fault = (message: string) => new GatewayError("dial-failed", message, { cause: error });
  if (/not valid for name|NotValidForName/i.test(text)) {
    return fault(`The gateway's certificate is not for "${host}"`);
  }
  if (/UnknownIssuer|CaUsedAsEndEntity|BadSignature|Revoked|InvalidPurpose/i.test(text)) {
    return fault(`The gateway's certificate is not trusted; trust its CA with tls.ca, or --ca`);
  }
  if (/Expired|NotValidYet/i.test(text)) {
    return fault("The gateway's certificate is out of date, or this machine's clock is");
  }
  if (/Unrecogni[sz]edName/i.test(text)) {
    return fault(
      `The gateway does not know the name "${host}": agents reach it by the one in its config, as endpoint`,
    );
  }
  if (error instanceof Deno.errors.UnexpectedEof || error instanceof Deno.errors.ConnectionReset) {
    return fault("The gateway closed the connection in the TLS handshake");
  }
  return fault(`The TLS handshake with the gateway failed: ${text}`);
}
