import { replaying } from "../../core/data_plane/streams/replaying.ts";
import type { HttpFault } from "../../core/http1/mod.ts";
import {
  type ByteStream,
  closeQuietly,
  type ConnectionInfo,
  type PlaneContext,
} from "../../core/plugin/mod.ts";
import { Arrival } from "./arrival.ts";
import type { Clock } from "./clock.ts";
import type { WsAgentConfig } from "./config.ts";
import type { Directory } from "./directory.ts";
import type { AgentEndpoint } from "./endpoint.ts";
import { type BareYamux, type FirstRequest, type NotHttp, readFirstRequest } from "./first_request.ts";
import { isUnder, nameKey } from "./names.ts";
import type { PublicHttp } from "./public_http.ts";
import { turnAway } from "./turn_away.ts";
import { encodeRefusal } from "./websocket/answer_upgrade.ts";

/** For the first request's head, as on any other connection. */
const HEAD_TIMEOUT_MS = 10_000;

export interface PlainHttpTools {
  readonly config: () => WsAgentConfig;
  readonly plane: Pick<PlaneContext, "httpsPort">;
  readonly directory: Directory;
  readonly endpoint: AgentEndpoint;
  readonly http: PublicHttp;
  readonly clock: Clock;
}

/** Connections without TLS, which nothing tells apart but the Host of their first request. */
export class PlainHttp {
  readonly #tools: PlainHttpTools;

  constructor(tools: PlainHttpTools) {
    this.#tools = tools;
  }

  /** Owns the stream. Resolves when it is closed. */
  async serve(stream: ByteStream, connection: ConnectionInfo, signal: AbortSignal): Promise<void> {
    const first = await this.#readFirst(stream, signal);
    if (first === undefined || typeof first === "string" || "yamux" in first) return closeQuietly(stream);
    if ("word" in first) {
      return await this.#refuse(stream, first.status, `The request is malformed: ${first.word}`);
    }
    await this.#serveFirst(first, stream, connection, signal);
  }

  async #readFirst(
    stream: ByteStream,
    signal: AbortSignal,
  ): Promise<FirstRequest | BareYamux | HttpFault | NotHttp | undefined> {
    using arrival = new Arrival(stream, this.#tools.clock, HEAD_TIMEOUT_MS);
    const leave = () => arrival.end();
    signal.addEventListener("abort", leave);
    try {
      return await readFirstRequest(stream);
    } catch {
      return undefined; // it has left, or took too long
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  /** Whoever serves it owns the stream. */
  async #serveFirst(
    first: FirstRequest,
    stream: ByteStream,
    connection: ConnectionInfo,
    signal: AbortSignal,
  ): Promise<void> {
    const { config, endpoint, http } = this.#tools;
    const { plainEndpoint, endpoint: endpointName } = config();
    const { head, seen } = first;
    const hostname = head.authority.name;
    if (hostname === undefined) return await this.#refuse(stream, 400, "The Host is not a name");
    if (hostname === endpointName && plainEndpoint) {
      return await endpoint.serve(stream, connection, signal, first);
    }
    if (this.#isServed(hostname)) {
      head.fields.release();
      return await http.serve(replaying(stream, seen), connection, { hostname, secure: false, signal });
    }
    await this.#redirect(stream, hostname, head.path);
  }

  #isServed(hostname: string): boolean {
    const { config, directory } = this.#tools;
    const { plainHttp, domain, endpoint } = config();
    if (!plainHttp || hostname === endpoint) return false;
    const found = directory.find(nameKey(hostname), { elsewhere: true });
    if (found.kind === "nobody") return isUnder(hostname, domain);
    return (found.kind === "here" ? found.service.protocol : found.protocol) === "http";
  }

  async #redirect(stream: ByteStream, hostname: string, path: string): Promise<void> {
    const { config, plane } = this.#tools;
    const { publicPort = plane.httpsPort } = config();
    const port = publicPort === 443 ? "" : `:${publicPort}`;
    const location = `https://${hostname}${port}${path.startsWith("/") ? path : "/"}`;
    const body = "This service is reached by https\n";
    const answer = [
      "HTTP/1.1 308 Permanent Redirect",
      `Location: ${location}`,
      "Connection: close",
      "Cache-Control: no-store",
      "Content-Type: text/plain; charset=utf-8",
      `Content-Length: ${body.length}`,
      "",
      body,
    ];
    await turnAway(stream, new TextEncoder().encode(answer.join("\r\n")), this.#tools.clock);
  }

  #refuse(stream: ByteStream, status: number, text: string): Promise<void> {
    return turnAway(stream, encodeRefusal({ status, text }), this.#tools.clock);
  }
}
