import type { Context } from "hono";

/** What forms are sent to; nothing else takes a body. */
export const FORM_PATHS: ReadonlySet<string> = new Set([
  "/login",
  "/logout",
  "/tunnels/close",
  "/connections/close",
]);

/** A token, an id and a filter of 200 characters, each of them written as up to nine. */
export const MAX_FORM_BYTES = 8 * 1024;

/** Who sends a form has all of it. A request that is in progress counts, so it must not stay for long. */
const FORM_TIMEOUT_MS = 5_000;

/**
 * The fields of a form; none when it is no form, too large, or late.
 *
 * Only what a browser sends by itself is read: `application/x-www-form-urlencoded` (URL Standard, §5).
 *
 * @param timeoutMs How long all of it may take, in milliseconds.
 */
export async function readForm(
  c: Pick<Context, "req">,
  timeoutMs: number = FORM_TIMEOUT_MS,
): Promise<URLSearchParams> {
  const { body, headers } = c.req.raw;
  if (
    body === null || !/^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(headers.get("content-type") ?? "")
  ) {
    return new URLSearchParams();
  }
  const reader = body.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true; // to the reader it looks like the end: half a form would pass for a whole one
    reader.cancel().catch(() => {});
  }, timeoutMs);
  try {
    const text = await readText(reader);
    return new URLSearchParams(late ? "" : text ?? "");
  } catch {
    return new URLSearchParams(); // its client has gone
  } finally {
    clearTimeout(timer);
  }
}

async function readText(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string | undefined> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (let part; !(part = await reader.read()).done;) {
    bytes += part.value.length;
    if (bytes > MAX_FORM_BYTES) {
      await reader.cancel();
      return undefined;
    }
    text += decoder.decode(part.value, { stream: true });
  }
  return text;
}
