/** Another `fetch`, where a test wants to see what is asked. */
export type Fetch = (input: string, init: RequestInit) => Promise<Response>;

/** Answers of key servers and controllers are a few KiB. */
export const MAX_ANSWER_BYTES = 65_536;

export interface BoundedRequest extends RequestInit {
  /** From the first byte sent to the last one read, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** There was no answer that can be used. Its message names no secret, and nothing that was sent. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
}

/**
 * Asks an HTTP server for JSON. A redirect is no answer: what is sent here is for one server, and what comes back is to
 * be believed because it comes from there.
 *
 * @throws {NoAnswer} For any status but 200, a body over {@link MAX_ANSWER_BYTES} or without JSON, and no answer in time.
 */
export async function fetchJson(
  fetch: Fetch,
  url: string,
  { timeoutMs, signal, ...init }: BoundedRequest,
): Promise<unknown> {
  using deadline = new Deadline(timeoutMs, signal);
  try {
    const response = await fetch(url, { ...init, redirect: "manual", signal: deadline.signal });
    if (response.status === 200) return JSON.parse(await readText(response));
    await response.body?.cancel();
    throw new NoAnswer(`Status ${response.status} where 200 was expected`);
  } catch (error) {
    if (error instanceof NoAnswer) throw error;
    throw new NoAnswer(deadline.isOver ? `No answer in ${timeoutMs} ms` : wordsFor(error), { cause: error });
  }
}

/** What may be told of a URL: there may be a password or a key in all the rest of it. */
export function serverOf(url: string): string {
  return URL.parse(url)?.host ?? "";
}

/** The messages of the runtime may quote what was sent, or what came. */
function wordsFor(error: unknown): string {
  if (error instanceof SyntaxError) return "The answer is no JSON";
  if (error instanceof DOMException && error.name === "AbortError") return "Given up";
  return "It can't be reached";
}

async function readText(response: Response): Promise<string> {
  const declared = Number(response.headers.get("content-length") ?? 0);
  if (declared > MAX_ANSWER_BYTES) {
    await response.body?.cancel();
    throw tooLong();
  }
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length; // as unpacked, where the answer is compressed
    if (length > MAX_ANSWER_BYTES) throw tooLong(); // which ends the reading, too
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function tooLong(): NoAnswer {
  return new NoAnswer(`The answer is longer than ${MAX_ANSWER_BYTES} bytes`);
}

/** A signal that comes after some time, or with another one. */
class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timer: ReturnType<typeof setTimeout>;
  #isOver = false;

  constructor(timeoutMs: number, outer: AbortSignal) {
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      this.#isOver = true;
      this.#controller.abort();
    }, timeoutMs);
    if (outer.aborted) this.#controller.abort();
    else outer.addEventListener("abort", this.#onAbort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  #onAbort = (): void => this.#controller.abort();

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#onAbort);
  }
}
