import type { Access } from "./access.ts";
import { type AdminContext, fail } from "./answers.ts";
import { FORM_PATHS, MAX_FORM_BYTES } from "./dashboard/form.ts";
import { wantsPage } from "./negotiation.ts";
import { FAILURE_WINDOW_MS, type TokenGate } from "./token_gate.ts";

/** Names and values together. The server reads up to 400 KiB; a browser sends less than 4 KiB. */
const MAX_HEADER_BYTES = 16 * 1024;

/** Read by load balancers and init systems, which have no token. */
const HEALTH_CHECKS: ReadonlySet<string> = new Set(["/healthz", "/readyz"]);

/** Beside these, for who is about to log in: the page for that, and what it looks like. */
const OPEN_PAGES = /^\/(?:login|assets\/[a-z.]{1,32})$/;

/** Only forms have a body. No other is read, and whoever sends one is told before it arrives. */
export function oversized(c: AdminContext): Response | undefined {
  const { headers } = c.req.raw;
  let bytes = c.req.url.length;
  for (const [name, value] of headers) bytes += name.length + value.length;
  if (bytes > MAX_HEADER_BYTES) return fail(c, 431, "headers_too_large", "Request headers over 16 KiB");
  const length = Number(headers.get("content-length") ?? 0);
  if (c.req.method === "POST" && FORM_PATHS.has(c.req.path)) {
    if (!headers.has("transfer-encoding") && length <= MAX_FORM_BYTES) return undefined;
    return fail(c, 413, "body_too_large", "Forms have a Content-Length of 8 KiB at most");
  }
  if (headers.has("transfer-encoding") || length !== 0) {
    return fail(c, 413, "body_not_allowed", "Requests to the admin side have no body");
  }
  return undefined;
}

/** Every browser says where a form came from. What does not is none, or an old one that anybody can use. */
export function formFromNowhere(c: AdminContext): Response | undefined {
  if (c.req.method !== "POST" || !FORM_PATHS.has(c.req.path)) return undefined;
  if (c.req.header("origin") !== undefined || c.req.header("sec-fetch-site") === "same-origin") {
    return undefined;
  }
  return fail(c, 403, "cross_origin", "Forms are for browsers, which say where they were; use the API");
}

/**
 * A session lets somebody look, and use the forms of the pages, which have a token of their own. A cookie is sent
 * along whoever makes a browser send it, so by itself it changes nothing.
 */
export function notAdmitted(c: AdminContext, access: Access): Response | undefined {
  const { method, path } = c.req;
  if (!access.gate.required || HEALTH_CHECKS.has(path) || OPEN_PAGES.test(path)) return undefined;
  const looks = method === "GET" || method === "HEAD";
  if (looks || (method === "POST" && FORM_PATHS.has(path))) {
    if (access.session(c) !== undefined) return undefined;
    if (wantsPage(c) && c.req.header("authorization") === undefined) {
      return c.redirect(looks ? `/login?${new URLSearchParams({ next: path })}` : "/login", 303);
    }
  }
  return unauthorized(c, access.gate);
}

function unauthorized(c: AdminContext, gate: TokenGate): Response | undefined {
  switch (gate.check(c.req.header("authorization"), c.env.source)) {
    case "ok":
      return undefined;
    case "blocked":
      c.header("retry-after", String(FAILURE_WINDOW_MS / 1000));
      return fail(c, 429, "too_many_failures", "Too many wrong tokens from this address; wait a minute");
    case "missing":
      c.header("www-authenticate", 'Bearer realm="postern"');
      return fail(c, 401, "token_missing", "Send the admin token as Authorization: Bearer");
    case "wrong":
      c.header("www-authenticate", 'Bearer realm="postern", error="invalid_token"');
      return fail(c, 401, "token_wrong", "This is not the admin token");
  }
}
