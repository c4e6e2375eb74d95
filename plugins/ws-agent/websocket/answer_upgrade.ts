import { acceptOf, isKey, listMembers, TOKEN, WEBSOCKET_VERSION } from "./handshake.ts";

/** A request's head, parsed strictly by somebody else. */
export interface UpgradeRequest {
  readonly method: string;
  /** Not looked at here: whose path it is, the caller has decided. */
  readonly target: string;
  /** As `HTTP/1.1`. */
  readonly version: string;
  /**
   * A field's value by its name in lower case. One that came several times is joined with `, ` (RFC 9110 §5.3), so that
   * none can hide behind another.
   */
  header(name: string): string | undefined;
}

/** An answer other than 101. */
export interface UpgradeRefusal {
  readonly status: number;
  /** One line for the people who run the agent: what is wrong, and nothing that a stranger may not know. */
  readonly text: string;
  /** When it makes sense to come back, in seconds: for 429 and 503. */
  readonly retryAfterSeconds?: number;
}

export type UpgradeAnswer =
  | {
    readonly kind: "accepted";
    /** What goes to the client before the first frame. */
    readonly response: Uint8Array;
    /** The one agreed; absent when the client asked for none. */
    readonly protocol?: string;
  }
  | { readonly kind: "refused"; readonly refusal: UpgradeRefusal; readonly response: Uint8Array };

/**
 * Answers the opening handshake of a WebSocket (RFC 6455 §4.2). No extension is ever agreed to. Browsers are turned
 * away, by the Origin that they cannot help sending: a page must not open a tunnel with what its user may reach.
 *
 * @param protocols The subprotocols that are spoken here. A client that asks for others only is refused.
 */
export function answerUpgrade(request: UpgradeRequest, protocols: readonly string[]): UpgradeAnswer {
  const asked = listProtocols(request.header("sec-websocket-protocol"));
  const protocol = asked?.find((name) => protocols.includes(name));
  const refusal = asked === undefined
    ? badRequest("Sec-WebSocket-Protocol is not a list of names")
    : findRefusal(request) ?? (asked.length > 0 && protocol === undefined
      ? badRequest(`No subprotocol in common: this is ${protocols.join(", ") || "spoken without one"}`)
      : undefined);
  if (refusal !== undefined) return { kind: "refused", refusal, response: encodeRefusal(refusal) };
  const response = encodeAccept(request.header("sec-websocket-key") ?? "", protocol);
  return protocol === undefined ? { kind: "accepted", response } : { kind: "accepted", response, protocol };
}

function findRefusal(request: UpgradeRequest): UpgradeRefusal | undefined {
  const { method, version } = request;
  if (method !== "GET") return { status: 405, text: "A WebSocket is opened by GET" };
  if (version !== "HTTP/1.1") return { status: 505, text: "A WebSocket is opened over HTTP/1.1" };
  if (request.header("origin") !== undefined) {
    return { status: 403, text: "This is for agents and not for browsers" };
  }
  if (!listMembers(request.header("upgrade")).includes("websocket")) return UPGRADE_REQUIRED;
  if (!listMembers(request.header("connection")).includes("upgrade")) {
    return badRequest("Connection does not say Upgrade");
  }
  if (request.header("sec-websocket-version") !== WEBSOCKET_VERSION) {
    return { status: 426, text: `WebSocket version ${WEBSOCKET_VERSION} is spoken here` };
  }
  if (!isKey(request.header("sec-websocket-key") ?? "")) {
    return badRequest("Sec-WebSocket-Key is not 16 bytes in Base64");
  }
  if (request.header("host") === undefined) return badRequest("Host is missing");
  const hasBody = request.header("transfer-encoding") !== undefined ||
    (request.header("content-length") ?? "0") !== "0";
  return hasBody ? badRequest("The request has a body") : undefined;
}

const UPGRADE_REQUIRED: UpgradeRefusal = { status: 426, text: "This is a WebSocket endpoint for agents" };

function badRequest(text: string): UpgradeRefusal {
  return { status: 400, text };
}

/** @returns The names in the client's order of preference; `undefined` when one is no token. */
function listProtocols(value: string | undefined): string[] | undefined {
  if (value === undefined) return [];
  const names = value.split(",").map((name) => name.trim());
  return names.every((name) => TOKEN.test(name)) ? names : undefined;
}

function encodeAccept(key: string, protocol: string | undefined): Uint8Array {
  return encodeHead([
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    `Sec-WebSocket-Accept: ${acceptOf(key)}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
  ]);
}

const STATUS_TEXT: ReadonlyMap<number, string> = new Map([
  [400, "Bad Request"],
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [404, "Not Found"],
  [405, "Method Not Allowed"],
  [421, "Misdirected Request"],
  [426, "Upgrade Required"],
  [429, "Too Many Requests"],
  [500, "Internal Server Error"],
  [503, "Service Unavailable"],
  [505, "HTTP Version Not Supported"],
]);

/** A whole answer other than 101. The connection is to be closed behind it. */
export function encodeRefusal({ status, text, retryAfterSeconds }: UpgradeRefusal): Uint8Array {
  const body = `${text.replaceAll(/[\r\n]+/g, " ")}\n`;
  return encodeHead([
    `HTTP/1.1 ${status} ${STATUS_TEXT.get(status) ?? "Refused"}`,
    "Connection: close",
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${new TextEncoder().encode(body).length}`,
    ...(status === 405 ? ["Allow: GET"] : []),
    ...(status === 426 ? ["Upgrade: websocket", `Sec-WebSocket-Version: ${WEBSOCKET_VERSION}`] : []),
    ...(retryAfterSeconds === undefined ? [] : [`Retry-After: ${Math.ceil(retryAfterSeconds)}`]),
  ], body);
}

function encodeHead(lines: readonly string[], body = ""): Uint8Array {
  return new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n${body}`);
}
