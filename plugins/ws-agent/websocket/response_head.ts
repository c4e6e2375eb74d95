import { ResponseHead } from "../../../core/http1/mod.ts";
import type { ByteStream } from "../../../core/plugin/mod.ts";

/** The longest head of an answer. Ours has some 200 bytes; proxies before the gateway add theirs. */
const MAX_HEAD_BYTES = 8 * 1024;
/** The longest line of a refusal that is shown. */
const MAX_SHOWN = 200;
/** Years of it are a mistake. */
const MAX_RETRY_AFTER_SECONDS = 24 * 60 * 60;

/** An answer that is no opening of a WebSocket, nor a proper refusal. */
export class HandshakeFault extends Error {
  override readonly name = "HandshakeFault";
}

/** An answer's status and fields. */
export interface UpgradeResponse {
  readonly status: number;
  /** A field by its name in lower case; one that came several times is joined with `, `. */
  header(name: string): string | undefined;
  /** What was read behind the head. */
  readonly rest: Uint8Array;
}

/** An answer other than 101, as from a gateway that does not let this agent in, or a proxy before it. */
export class UpgradeRefused extends Error {
  override readonly name = "UpgradeRefused";
  readonly status: number;
  /** When it asks to come back. Up to a day. */
  readonly retryAfterMs: number | undefined;
  /** The first line of its body, without control characters, of at most 200 characters; may be empty. */
  readonly text: string;

  constructor({ status, header }: UpgradeResponse, body: Uint8Array) {
    const isText = /^text\/plain\b/i.test(header("content-type") ?? "");
    const text = isText ? firstLine(body) : "";
    super(`The gateway answered ${status}${text === "" ? "" : `: ${text}`}`);
    this.status = status;
    this.text = text;
    this.retryAfterMs = parseRetryAfter(header("retry-after"));
  }
}

/**
 * Reads the head of the answer to an upgrade, strictly.
 *
 * @throws {HandshakeFault} Else what the stream throws.
 */
export async function readResponseHead(stream: Pick<ByteStream, "read">): Promise<UpgradeResponse> {
  const seen = new Uint8Array(MAX_HEAD_BYTES);
  const head = new ResponseHead();
  for (let length = 0; length < seen.length;) {
    const read = await stream.read(seen.subarray(length));
    if (read === null) throw new HandshakeFault("The gateway hung up in the handshake");
    length += read;
    const result = head.parse(seen.subarray(0, length), "GET");
    if (result === "done") return describe(head, seen.slice(head.length, length));
    if (result !== "more") throw new HandshakeFault(`The gateway's answer is malformed: ${result.word}`);
  }
  throw new HandshakeFault(`The gateway's answer has a head over ${MAX_HEAD_BYTES} bytes`);
}

function describe({ status, fields }: ResponseHead, rest: Uint8Array): UpgradeResponse {
  const header = (name: string) => fields.has(name) ? fields.getAll(name).join(", ") : undefined;
  return { status, header, rest };
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
