import type { IncomingMessage, ServerResponse } from "node:http";
import { canonicalName } from "../../core/plugin/mod.ts";
import { closeAfter, StreamHttpServer } from "../../core/data_plane/streams/http_server.ts";
import { CONTENT_SECURITY_POLICY, htmlPage, textPage } from "./page.ts";

const COMMON_HEADERS = {
  "cache-control": "no-store",
  "content-security-policy": CONTENT_SECURITY_POLICY,
  "referrer-policy": "no-referrer",
  "vary": "accept",
  "x-content-type-options": "nosniff",
};

/** Serves the page over byte streams. */
export class PageServer extends StreamHttpServer {
  constructor() {
    super((request, response, { tls }) => answer(request, response, tls?.serverName));
  }
}

/** @param serverName What the client's TLS asked for; absent in plain HTTP. */
function answer(request: IncomingMessage, response: ServerResponse, serverName: string | undefined): void {
  const host = hostOf(request);
  if (serverName !== undefined && host !== serverName) {
    return refuse(response, 421, "Misdirected Request: the Host is not the name that TLS asked for\n");
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    return refuse(response, 405, "Method Not Allowed: this page can only be read\n");
  }
  if (request.url !== "/") return send(response, 404, "text/plain", "Not Found: there is only / here\n");
  const name = host ?? "localhost";
  if (request.headers.accept?.includes("text/html")) send(response, 200, "text/html", htmlPage(name));
  else send(response, 200, "text/plain", textPage(name));
}

/** The canonical name in the Host header, without its port; `undefined` when it is no name. */
function hostOf({ headers: { host = "" } }: IncomingMessage): string | undefined {
  return canonicalName(host.replace(/:\d{0,5}$/, ""));
}

function refuse(response: ServerResponse, status: number, text: string): void {
  closeAfter(response);
  send(response, status, "text/plain", text);
}

/** Node's server leaves out the body of an answer to HEAD. */
function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    ...COMMON_HEADERS,
    "content-type": `${type}; charset=utf-8`,
    "content-length": new TextEncoder().encode(body).length,
  });
  response.end(body);
}
