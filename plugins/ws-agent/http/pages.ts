import { createHash } from "node:crypto";

/** What the gateway itself answers with, when a service does not. */
export type ErrorStatus = keyof typeof PAGES;

const PAGES = {
  400: ["Bad Request", "The request is malformed."],
  404: ["Not Found", "Nothing is registered under this name."],
  408: ["Request Timeout", "The request took too long to arrive."],
  413: ["Content Too Large", "The request is too large."],
  414: ["URI Too Long", "The address in the request is too long."],
  417: ["Expectation Failed", "The request expects what is not supported here."],
  421: ["Misdirected Request", "This connection is not for the host that the request names."],
  431: ["Request Header Fields Too Large", "The header of the request is too large."],
  501: ["Not Implemented", "The request asks for what is not supported here."],
  502: ["Bad Gateway", "The service behind this name cannot be reached, or gave no proper answer."],
  503: ["Service Unavailable", "The service is over a limit now. Try again later."],
  504: ["Gateway Timeout", "The service behind this name did not answer in time."],
  505: ["HTTP Version Not Supported", "Use HTTP/1.1 or HTTP/2."],
} as const;

const STYLE =
  `:root{color-scheme:light dark}body{font:1.0625rem/1.6 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1.25rem}`;

/** Allows the page its own style and nothing else. */
const CONTENT_SECURITY_POLICY = `default-src 'none'; style-src 'sha256-${
  createHash("sha256").update(STYLE).digest("base64")
}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

/** An answer of the gateway's own, for HTTP of either version. */
export interface ErrorPage {
  readonly status: ErrorStatus;
  readonly reason: string;
  /** Names in lower case; `content-length` is there. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

export interface ErrorPageOptions {
  /** What the client accepts, as it wrote it. HTML is only for those who ask for it. */
  readonly accept?: string | undefined;
  /** The name that is asked for, to show. Anything at all: it is escaped. */
  readonly hostname?: string | undefined;
}

/** Short, made of fixed texts: nothing of what went wrong inside is in it. */
export function errorPage(status: ErrorStatus, { accept, hostname }: ErrorPageOptions = {}): ErrorPage {
  const [reason, text] = PAGES[status];
  const asHtml = acceptsHtml(accept);
  const body = encoder.encode(
    asHtml ? html(status, reason, text, hostname) : `${status} ${reason}: ${text}\n`,
  );
  return {
    status,
    reason,
    headers: [
      ["content-type", asHtml ? "text/html; charset=utf-8" : "text/plain; charset=utf-8"],
      ["content-length", String(body.length)],
      ["cache-control", "no-store"],
      ["content-security-policy", CONTENT_SECURITY_POLICY],
      ["x-content-type-options", "nosniff"],
      ...(status === 503 ? [["retry-after", "5"] as const] : []),
    ],
    body,
  };
}

/** Whether `text/html` itself is asked for: a tool that takes anything wants plain text. */
export function acceptsHtml(accept: string | undefined): boolean {
  if (accept === undefined || accept.length > MAX_ACCEPT) return false;
  return accept.split(",").some((range) => {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    return type === "text/html" && !parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter));
  });
}

/** Browsers send about 150 characters. */
const MAX_ACCEPT = 4096;
const encoder = new TextEncoder();

function html(status: number, reason: string, text: string, hostname: string | undefined): string {
  const name = hostname === undefined ? "" : `<p>${escapeHtml(hostname)}</p>\n`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${status} ${reason}</title>
<style>${STYLE}</style>
<h1>${status} ${reason}</h1>
<p>${text}</p>
${name}</html>
`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
