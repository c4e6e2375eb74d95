import { FieldSet, type FieldTable, HOP_BY_HOP, type RequestHead } from "../../../../core/http1/mod.ts";

/** What ends at this hop. The body's length is told: programs look at it. */
const NOT_FOR_HANDLERS = new FieldSet(HOP_BY_HOP.filter((name) => name !== "content-length"));

/**
 * A request as the handler gets it.
 *
 * @param body Absent: it has none.
 * @throws {TypeError} For what no `Request` can be: an odd host, a method that is forbidden there.
 */
export function toRequest(
  head: RequestHead,
  body: ReadableStream<Uint8Array<ArrayBuffer>> | undefined,
  signal: AbortSignal,
): Request {
  const { method, fields } = head;
  const scheme = fields.get("x-forwarded-proto") === "http" ? "http" : "https";
  // Put together as text: resolving a path that begins with "//" would make its first part the host.
  const path = head.path === "*" ? "/" : head.path;
  const url = `${scheme}://${fields.get("host") ?? ""}${path}`;
  const carriesBody = body !== undefined && method !== "GET" && method !== "HEAD";
  return new Request(url, { method, headers: toHeaders(fields), signal, ...(carriesBody && { body }) });
}

function toHeaders(fields: FieldTable): Headers {
  const headers = new Headers();
  for (let i = 0; i < fields.count; i++) {
    if (fields.isIn(i, NOT_FOR_HANDLERS) || fields.listed && fields.isIn(i, fields.listed)) continue;
    headers.append(fields.name(i), fields.value(i));
  }
  return headers;
}
