import { type ByteStream, closeQuietly, writeAll } from "../../../core/plugin/mod.ts";
import { acceptOf, TOKEN, WEBSOCKET_VERSION } from "./handshake.ts";
import { HandshakeFault, readResponseHead, UpgradeRefused, type UpgradeResponse } from "./response_head.ts";
import { WebSocketBytes } from "./web_socket_bytes.ts";

/** As much of a refusal's body as is read for its first line. */
const MAX_BODY_BYTES = 1024;
/** How long a refusal's body may take: its status is known already. */
const BODY_MS = 1000;

export interface ConnectOptions {
  /** For the Host header: a name, with the port unless it is the scheme's own. */
  readonly host: string;
  /** Begins with `/`. */
  readonly path: string;
  /** The subprotocol, which the server has to agree to. Absent: none. */
  readonly protocol?: string;
  /** Others, such as `Postern-Agent`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the handshake, not what comes of it. A gateway that stalls is for the caller to bound. */
  readonly signal?: AbortSignal;
}

/**
 * Opens a WebSocket over a stream (RFC 6455 §4.1), as its client. Owns the stream: it is closed when this fails.
 *
 * @throws {UpgradeRefused} The server answered with another status than 101.
 * @throws {HandshakeFault} It answered with something that is no opening of a WebSocket.
 * @throws {TypeError} For a host, path or header that no request can carry.
 * Else what the stream throws, or the reason of `signal`.
 */
export async function connectWebSocket(stream: ByteStream, options: ConnectOptions): Promise<WebSocketBytes> {
  const { signal } = options;
  const abort = () => closeQuietly(stream);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    signal?.throwIfAborted();
    return await shakeHands(stream, options);
  } catch (error) {
    closeQuietly(stream);
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

async function shakeHands(stream: ByteStream, options: ConnectOptions): Promise<WebSocketBytes> {
  const key = crypto.getRandomValues(new Uint8Array(16)).toBase64();
  await writeAll(stream, encodeRequest(options, key));
  const response = await readResponseHead(stream);
  if (response.status !== 101) throw await describeRefusal(stream, response);
  const wrong = findWrong(response, key, options.protocol);
  if (wrong !== undefined) throw new HandshakeFault(wrong);
  return new WebSocketBytes(stream, { role: "client", replay: response.rest });
}

function encodeRequest({ host, path, protocol, headers = {} }: ConnectOptions, key: string): Uint8Array {
  if (!/^[\x21-\x7e]+$/.test(host)) throw new TypeError("A host of printable characters is wanted");
  if (!/^\/[\x21-\x7e]*$/.test(path)) throw new TypeError(`The path must begin with "/" and have no spaces`);
  const extra = Object.entries(headers).map(([name, value]) => {
    if (!TOKEN.test(name) || !/^[\x20-\x7e]*$/.test(value)) {
      throw new TypeError(`Header ${name} cannot be sent`);
    }
    return `${name}: ${value}`;
  });
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Key: ${key}`,
    `Sec-WebSocket-Version: ${WEBSOCKET_VERSION}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
    ...extra,
  ];
  return new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`);
}

/** RFC 6455 §4.1, the rules for an answer. That Connection names Upgrade has been seen to with the head. */
function findWrong(
  { header }: UpgradeResponse,
  key: string,
  protocol: string | undefined,
): string | undefined {
  if (header("upgrade")?.toLowerCase() !== "websocket") return "The answer's Upgrade is not websocket";
  if (header("sec-websocket-accept") !== acceptOf(key)) {
    return "The answer's Sec-WebSocket-Accept is wrong";
  }
  if (header("sec-websocket-extensions") !== undefined) {
    return "The answer has an extension that was not asked for";
  }
  if (header("sec-websocket-protocol") !== protocol) {
    return protocol === undefined
      ? "The answer has a subprotocol that was not asked for"
      : `The answer is not for the subprotocol ${protocol}`;
  }
  return undefined;
}

async function describeRefusal(stream: ByteStream, response: UpgradeResponse): Promise<Error> {
  const timer = setTimeout(() => closeQuietly(stream), BODY_MS);
  try {
    return new UpgradeRefused(response, await readBodyStart(stream, response));
  } finally {
    clearTimeout(timer);
  }
}

/** As much of the body as there is, within bounds. What keeps it from being read is not worth an error of its own. */
async function readBodyStart(stream: ByteStream, { header, rest }: UpgradeResponse): Promise<Uint8Array> {
  const declared = /^\d{1,9}$/.test(header("content-length") ?? "")
    ? Number(header("content-length"))
    : MAX_BODY_BYTES;
  const body = new Uint8Array(Math.min(declared, MAX_BODY_BYTES));
  let length = Math.min(rest.length, body.length);
  body.set(rest.subarray(0, length));
  try {
    while (length < body.length && !body.subarray(0, length).includes(0x0a)) {
      const read = await stream.read(body.subarray(length));
      if (read === null) break;
      length += read;
    }
  } catch {
    // It was closed, or reset by a server that had no more to say.
  }
  return body.subarray(0, length);
}
