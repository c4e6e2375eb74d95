import { messageOf } from "../errors.ts";
import { AcmeFault } from "./fault.ts";
import { parseRetryAfter } from "./schedule.ts";

/** How long one request may take, in milliseconds. */
const REQUEST_MS = 30_000;
/** A certificate chain has a few kilobytes. */
const MAX_BODY_BYTES = 1024 * 1024;
/** Of what a server says about an error; it goes to log and status. */
const MAX_DETAIL = 500;
const PROBLEM_PREFIX = "urn:ietf:params:acme:error:";

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

export interface AskOptions {
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly client?: Deno.HttpClient | undefined;
  readonly signal: AbortSignal;
}

/**
 * One request, of bounded time and size, that follows no redirect: whoever is asked was named in the config.
 *
 * @throws {AcmeFault} `unreachable`: there is no answer.
 */
export async function ask(
  url: string,
  { method, headers, body, client, signal }: AskOptions,
): Promise<Reply> {
  try {
    const response = await fetch(url, {
      method,
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
      ...(headers && { headers: { ...headers } }),
      ...(body !== undefined && { body }),
      ...(client && { client }),
    });
    return { status: response.status, headers: response.headers, text: await readText(response) };
  } catch (error) {
    throw new AcmeFault("unreachable", `Cannot ask ${new URL(url).host}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

/** What an error of `fetch` is about stands in its cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${messageOf(error.cause)}` : "";
  // The runtime's own words have the URL, and a webhook's may have a secret in its path.
  return plainText(`${messageOf(error)}${cause}`.replaceAll(/ for url \([^)]*\)/g, ""));
}

async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "", length = 0;
  for await (const piece of response.body ?? []) {
    length += piece.length;
    if (length > MAX_BODY_BYTES) throw new RangeError(`The answer is longer than ${MAX_BODY_BYTES} bytes`);
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}

/** What a directory says when it refuses (RFC 8555 §6.7). */
interface Problem {
  readonly type?: unknown;
  readonly detail?: unknown;
}

/** The fault that an answer of 400 or more stands for. */
export function faultOf({ status, headers, text }: Reply, what: string, now: number): AcmeFault {
  const problem = problemOf(text);
  const type = typeof problem.type === "string" ? problem.type.replace(PROBLEM_PREFIX, "") : undefined;
  const detail = typeof problem.detail === "string" ? `: ${plainText(problem.detail)}` : "";
  const message = `${what} answers ${status}${type === undefined ? "" : ` ${plainText(type)}`}${detail}`;
  const retryAfterMs = parseRetryAfter(headers.get("retry-after"), now);
  if (status === 429 || type === "rateLimited") {
    // With a problem it is about this name, or its domain; without one somebody in front of the directory is fed up.
    return new AcmeFault("limited", message, { retryAfterMs, forAll: type === undefined, problem: type });
  }
  if (status >= 500) {
    return new AcmeFault("unreachable", message, { retryAfterMs, forAll: status === 503, problem: type });
  }
  return new AcmeFault("refused", message, { retryAfterMs, problem: type });
}

function problemOf(text: string): Problem {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** One bounded line of what somebody else has written. */
export function plainText(text: string): string {
  return text.slice(0, MAX_DETAIL).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");
}

/** Whether the directory only wants another nonce, which the library sees to (RFC 8555 §6.5). */
export function isBadNonce({ status, text }: Reply): boolean {
  return status === 400 && problemOf(text).type === `${PROBLEM_PREFIX}badNonce`;
}
