import type { IncomingMessage, ServerResponse } from "node:http";
import type { ByteStream } from "../byte_stream.ts";
import { canonicalName } from "../names.ts";
import type { ConnectionInfo } from "../plugin/contract.ts";
import type { SignalScope } from "../plugin/host.ts";
import { answerAndClose, StreamHttpServer } from "./streams/http_server.ts";

/** Sends plain HTTP on to the same place over https. */
export class HttpsRedirects implements AsyncDisposable {
  /** The public port of https. */
  httpsPort = 443;
  /** How long a client may take for a request's headers, in milliseconds; open connections keep what they began with. */
  headersTimeoutMs = 10_000;
  /** By the time that they give: a reload may change it. Made when the first client comes. */
  readonly #servers = new Map<number, StreamHttpServer>();

  /** Takes over the stream. Resolves when it is closed. */
  serve(stream: ByteStream, connection: ConnectionInfo, scope: SignalScope): Promise<void> {
    return this.#server().serve(stream, connection, scope);
  }

  #server(): StreamHttpServer {
    const { headersTimeoutMs } = this;
    const known = this.#servers.get(headersTimeoutMs);
    if (known) return known;
    const server = new StreamHttpServer((request, response) => this.#redirect(request, response), {
      headersTimeoutMs,
    });
    this.#servers.set(headersTimeoutMs, server);
    return server;
  }

  #redirect({ headers: { host = "" }, url = "" }: IncomingMessage, response: ServerResponse): void {
    const name = canonicalName(host.replace(/:\d{0,5}$/, ""));
    if (name === undefined || !url.startsWith("/")) { // an absolute URL would make this an open redirect
      return answerAndClose(response, 400, "Bad Request: the Host is not a name\n");
    }
    const port = this.httpsPort === 443 ? "" : `:${this.httpsPort}`;
    response.setHeader("location", `https://${name}${port}${url}`);
    answerAndClose(response, 308, "This service is reached by https\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers.values()) await server[Symbol.asyncDispose]();
  }
}
