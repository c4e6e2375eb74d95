import { ResponseHead } from "../../../../core/http1/mod.ts";
import {
  type ByteStream,
  closeQuietly,
  formatHostPort,
  GatewayError,
  type HostPort,
  writeAll,
} from "../../../../core/plugin/mod.ts";
import { formatProxy, type ProxyAddress } from "./proxy_address.ts";

/** The longest head of an answer. Proxies say a line, and who they are. */
const MAX_HEAD_BYTES = 8 * 1024;

/**
 * Asks a proxy for a connection (RFC 9110 §9.3.6). It looks the name up, too. Closes the stream when this fails.
 *
 * Nothing is read behind the answer's head but what has come with it: the stream can be handed on.
 *
 * @param signal Ends it. A proxy that stalls is for the caller to bound.
 * @returns What came behind the head.
 * @throws {GatewayError} `dial-failed`, which names the proxy, and never what it was shown. Else the reason of `signal`.
 */
export async function connectThrough(
  stream: ByteStream,
  proxy: ProxyAddress,
  to: HostPort,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const abort = () => closeQuietly(stream);
  signal.addEventListener("abort", abort);
  try {
    signal.throwIfAborted();
    await writeAll(stream, encodeConnect(proxy, to));
    const { status, rest } = await readAnswer(stream);
    if (status < 200 || status > 299) throw new ProxyFault(refusalOf(status, proxy, to));
    return rest;
  } catch (error) {
    closeQuietly(stream);
    signal.throwIfAborted();
    const why = error instanceof ProxyFault ? error.message : "closed the connection without an answer";
    throw new GatewayError("dial-failed", `The proxy at ${formatProxy(proxy)} ${why}`, { cause: error });
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** What a proxy did, as the second half of a sentence. */
class ProxyFault extends Error {
  override readonly name = "ProxyFault";
}

function encodeConnect({ credentials }: ProxyAddress, to: HostPort): Uint8Array {
  const place = formatHostPort(to);
  const lines = [`CONNECT ${place} HTTP/1.1`, `Host: ${place}`];
  if (credentials !== undefined) lines.push(`Proxy-Authorization: Basic ${basic(credentials)}`);
  return new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`);
}

/** RFC 7617 §2, in UTF-8. */
function basic({ user, password }: NonNullable<ProxyAddress["credentials"]>): string {
  return new TextEncoder().encode(`${user}:${password}`).toBase64();
}

/** Reads the head of an answer, strictly. What its fields say of a body does not count for a 2xx (RFC 9110 §9.3.6). */
async function readAnswer(
  stream: ByteStream,
): Promise<{ readonly status: number; readonly rest: Uint8Array }> {
  const seen = new Uint8Array(MAX_HEAD_BYTES);
  const head = new ResponseHead();
  for (let length = 0; length < seen.length;) {
    const read = await stream.read(seen.subarray(length));
    if (read === null) throw new ProxyFault("closed the connection without an answer");
    length += read;
    const result = head.parse(seen.subarray(0, length), "CONNECT");
    if (result === "done") return { status: head.status, rest: seen.slice(head.length, length) };
    if (result !== "more") throw new ProxyFault(`gave an answer that is malformed: ${result.word}`);
  }
  throw new ProxyFault(`gave an answer with a head over ${MAX_HEAD_BYTES} bytes`);
}

function refusalOf(status: number, { credentials }: ProxyAddress, to: HostPort): string {
  const place = formatHostPort(to);
  switch (status) {
    case 407:
      return credentials === undefined
        ? "wants a user and a password (407)"
        : "does not take this user and password (407)";
    case 403:
      return `does not allow connections to ${place} (403)`;
    case 502:
    case 503:
    case 504:
      return `cannot reach ${place} (${status})`;
    default:
      return `does not connect to ${place}: it answered ${status}`;
  }
}
