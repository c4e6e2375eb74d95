import { ByteReader, RequestHead } from "../../../core/http1/mod.ts";
import { type ByteStream, writeAll } from "../../../core/plugin/mod.ts";

/** As much of the request as is read away, so that a reset does not overtake the answer. */
const MAX_DISCARDED_BYTES = 1 << 20;

/** Why a connection is answered by the agent itself. `forbidden`: the program does not take it. */
export type RefusalReason = "refused" | "timeout" | "forbidden";

/**
 * Answers one request with 502, in place of a service that is not there, or with 403, once its head has come; and reads on until the gateway has
 * understood. Says nothing of the target: the public reads it.
 *
 * @throws What the stream throws. Bounded by whoever closes it.
 */
export async function answerRefusal(
  stream: ByteStream,
  service: string,
  reason: RefusalReason,
): Promise<void> {
  const { method, length } = await readHead(stream);
  await writeAll(stream, response(service, reason, method === "HEAD"));
  await stream.closeWrite();
  await discardRest(stream, length);
}

/**
 * Reads to the end of a head, or to where it is seen that this is none: who watches takes an answer that comes earlier for one that
 * nobody asked for.
 *
 * @returns The bytes that were read, and the method as far as it has come.
 */
async function readHead(stream: ByteStream): Promise<{ method: string; length: number }> {
  const head = new RequestHead();
  const reader = new ByteReader(stream);
  try {
    while (await reader.fill() && head.parse(reader.bytes) === "more");
    return { method: head.method, length: reader.available };
  } finally {
    head.fields.release();
    reader.release();
  }
}

/**
 * Reads a stream to its end, so that a reset does not overtake what was sent; a stream that brings much too much is left.
 *
 * @param discarded Bytes that were thrown away before.
 * @throws What the stream throws. Bounded in time by whoever closes it.
 */
export async function discardRest(stream: ByteStream, discarded = 0): Promise<void> {
  const buffer = new Uint8Array(4096);
  for (let length = discarded; length < MAX_DISCARDED_BYTES;) {
    const more = await stream.read(buffer);
    if (more === null) return;
    length += more;
  }
}

const TEXTS: Readonly<Record<RefusalReason, (service: string) => readonly [status: string, text: string]>> = {
  refused: (service) => [
    "502 Bad Gateway",
    `The tunnel to "${service}" is up, but the local service behind it is not running.`,
  ],
  timeout: (service) => [
    "502 Bad Gateway",
    `The tunnel to "${service}" is up, but the local service behind it did not answer in time.`,
  ],
  forbidden: () => ["403 Forbidden", "This service does not take this connection."],
};

function response(service: string, reason: RefusalReason, isHead: boolean): Uint8Array {
  const [status, text] = TEXTS[reason](service);
  const body = new TextEncoder().encode(`${status}\n\n${text}\n`);
  const head = [
    `HTTP/1.1 ${status}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${body.length}`,
    "Cache-Control: no-store",
    "Connection: close",
    "",
    "",
  ];
  const bytes = new TextEncoder().encode(head.join("\r\n"));
  const whole = new Uint8Array(bytes.length + (isHead ? 0 : body.length));
  whole.set(bytes);
  if (!isHead) whole.set(body, bytes.length);
  return whole;
}
