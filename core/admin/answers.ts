import type { Context } from "hono";
import { maskField } from "./mask.ts";

/** What the server knows of a request beside the request. */
export interface AdminBindings {
  /** The address of whoever asks. */
  readonly source: string;
}

/** One request and what it is answered with. */
export type AdminContext = Context<{ Bindings: AdminBindings }>;

/** Status codes that {@link fail} answers with. */
export type FailStatus = 400 | 401 | 403 | 404 | 405 | 413 | 421 | 429 | 431 | 500 | 503 | 504;

/** An answer that says what went wrong, in our own words. */
export function fail(c: AdminContext, status: FailStatus, code: string, message: string): Response {
  return json(c, { error: { code, message } }, status);
}

/** An answer in JSON, without what looks like a secret. */
export function json(c: AdminContext, value: unknown, status: 200 | FailStatus = 200): Response {
  // Read as HTML by mistake it must still be text, so what could open a tag is written as its number.
  const text = JSON.stringify(value, maskField).replaceAll(
    /[<>&\u2028\u2029]/g,
    (character) => "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"),
  );
  return c.body(text + "\n", status, { "content-type": "application/json; charset=utf-8" });
}
