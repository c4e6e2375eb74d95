import { TOKEN } from "./handshake.ts";

/** The longest line of a refusal that is shown. */
const MAX_SHOWN = 200;
/** Years of it are a mistake. */
const MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60;

/** An answer that is no opening of a WebSocket, nor a proper refusal. */
export class HandshakeFault extends Error {
  override readonly name = "HandshakeFault";
}

/** An answer other than 101, as from a gateway that does not let this agent in, or a proxy before it. */
export class UpgradeRefused extends Error {
  override readonly name = "UpgradeRefused";
  readonly status: number;
  /** When it asks to come back. Up to a day. */
  readonly retryAfterMs: number | undefined;
  /** The first line of its body, without control characters, of at most 200 characters; may be empty. */
  readonly text: string;

  constructor(head: ResponseHead, body: Uint8Array) {
    const isText = /^text\/plain\b/i.test(head.header("content-type") ?? "");
    const text = isText ? firstLine(body) : "";
    super(`The gateway answered ${head.status}${text === "" ? "" : `: ${text}`}`);
    this.status = head.status;
    this.text = text;
    this.retryAfterMs = parseRetryAfter(head.header("retry-after"));
  }
}

/** An answer's status and fields. */
export interface ResponseHead {
  readonly status: number;
  /** By its name in lower case; one that came several times is joined with `, `. */
  header(name: string): string | undefined;
}

const decoder = new TextDecoder("latin1");

/**
 * @param bytes All of it, with the empty line at its end.
 * @throws {HandshakeFault}
 */
export function parseResponseHead(bytes: Uint8Array): ResponseHead {
  const [statusLine = "", ...lines] = decoder.decode(bytes.subarray(0, -4)).split("\r\n");
  const status = /^HTTP\/1\.[01] ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/.exec(statusLine)?.[1];
  if (status === undefined) throw new HandshakeFault("The answer does not begin with an HTTP status line");
  const fields = new Map<string, string>();
  for (const line of lines) {
    const [name, value] = parseField(line);
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return { status: Number(status), header: (name) => fields.get(name) };
}

/** RFC 9112 §5: no space before the colon, no folded lines, nothing but visible characters, spaces and tabs. */
function parseField(line: string): [name: string, value: string] {
  const colon = line.indexOf(":");
  const name = line.slice(0, colon), value = line.slice(colon + 1);
  if (colon < 0 || !TOKEN.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
    throw new HandshakeFault("The answer has a malformed header line");
  }
  return [name.toLowerCase(), value.replaceAll(/^[\t ]+|[\t ]+$/g, "")];
}

/** From a stranger to the terminal of somebody: one short line, and nothing that moves a cursor. */
function firstLine(body: Uint8Array): string {
  const [line = ""] = new TextDecoder().decode(body).trimStart().split(/[\r\n]/, 1);
  return line.replaceAll(/\p{C}/gu, "?").trim().slice(0, MAX_SHOWN);
}

/** RFC 9110 §10.2.3: seconds, or a date. */
function parseRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  if (!Number.isFinite(seconds)) return undefined;
  return Math.max(0, Math.min(seconds, MAX_RETRY_AFTER_SECONDS)) * 1000;
}
