import type { IncomingMessage, ServerResponse } from "node:http";
import type { ByteStream } from "../byte_stream.ts";
import type { ConnectionInfo } from "../plugin/contract.ts";
import type { SignalScope } from "../plugin/host.ts";
import { agrees, more, NO, type Parsed } from "./preface/parsed.ts";
import { answerAndClose, StreamHttpServer } from "./streams/http_server.ts";

const PATH = "/.well-known/acme-challenge/";
const OPENING = new TextEncoder().encode(`GET ${PATH}`);
/** They have 43 characters where 256 bits are encoded; nobody has much longer ones. */
const MAX_TOKEN_BYTES = 256;
/** Read at a time by whoever looks for a token. */
export const CHALLENGE_READ_BYTES = 512;

/**
 * The token that a directory asks for by HTTP (RFC 8555 §8.3), from the first bytes of a request in origin form.
 *
 * @param seen Every byte so far, from offset 0.
 * @returns `yes` when the token is whole, with the bytes up to its end.
 */
export function parseChallengeRequest(seen: Uint8Array): Parsed<string> {
  if (!agrees(seen, OPENING)) return NO;
  let end = OPENING.length;
  while (end < seen.length && isTokenByte(seen[end])) end++;
  if (end - OPENING.length > MAX_TOKEN_BYTES) return NO;
  if (end >= seen.length) return more(Math.max(seen.length, OPENING.length) + 1);
  if (end === OPENING.length || seen[end] !== SPACE) return NO;
  const token = String.fromCharCode(...seen.subarray(OPENING.length, end));
  return { kind: "yes", value: token, length: end };
}

const SPACE = 0x20;

/** Of base64url. */
function isTokenByte(byte = 0): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x2d || byte === 0x5f;
}

/** What is answered to directories that look whether this gateway has a name. */
export class HttpChallenges implements AsyncDisposable {
  /** Token → key authorization. */
  #answers: ReadonlyMap<string, string> = new Map();
  #server: StreamHttpServer | undefined;

  replace(answers: Readonly<Record<string, string>>): void {
    this.#answers = new Map(Object.entries(answers));
  }

  /** Whether anybody may be asking for one now: as a rule nobody is, and then no request is looked at. */
  get isExpected(): boolean {
    return this.#answers.size > 0;
  }

  /** Whether there is an answer. What is asked for else may be a tunnel's own. */
  has(token: string): boolean {
    return this.#answers.has(token);
  }

  /** Takes over the stream. Resolves when it is closed. */
  serve(stream: ByteStream, connection: ConnectionInfo, scope: SignalScope): Promise<void> {
    this.#server ??= new StreamHttpServer((request, response) => this.#answer(request, response));
    return this.#server.serve(stream, connection, scope);
  }

  #answer({ url = "" }: IncomingMessage, response: ServerResponse): void {
    const answer = url.startsWith(PATH) ? this.#answers.get(url.slice(PATH.length)) : undefined;
    if (answer === undefined) answerAndClose(response, 404, "No such challenge\n");
    else answerAndClose(response, 200, answer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
  }
}
