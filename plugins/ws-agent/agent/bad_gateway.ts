import { type ByteStream, writeAll } from "../../../core/plugin/mod.ts";

/** As much of the request as is read away, so that a reset does not overtake the answer. */
const MAX_DISCARDED_BYTES = 1 << 20;
const HEAD = new TextEncoder().encode("HEAD ");

/**
 * Answers one request with 502, in place of a service that is not there, and reads on until the gateway has understood. Says nothing of
 * the target: the public reads it.
 *
 * @throws What the stream throws. Bounded by whoever closes it.
 */
export async function answerBadGateway(
  stream: ByteStream,
  service: string,
  reason: "refused" | "timeout",
): Promise<void> {
  const first = new Uint8Array(4096);
  const length = await stream.read(first) ?? 0;
  const isHead = HEAD.every((byte, i) => first[i] === byte && i < length);
  await writeAll(stream, response(service, reason, isHead));
  await stream.closeWrite();
  for (let discarded = length; discarded < MAX_DISCARDED_BYTES;) {
    const more = await stream.read(first);
    if (more === null) return;
    discarded += more;
  }
}

function response(service: string, reason: "refused" | "timeout", isHead: boolean): Uint8Array {
  const why = reason === "timeout" ? "did not answer in time" : "is not running";
  const body = new TextEncoder().encode(
    `502 Bad Gateway\n\nThe tunnel to "${service}" is up, but the local service behind it ${why}.\n`,
  );
  const head = [
    "HTTP/1.1 502 Bad Gateway",
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
