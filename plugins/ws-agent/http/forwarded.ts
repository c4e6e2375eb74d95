import type { ConnectionInfo } from "../../../core/plugin/mod.ts";

/**
 * The lines that tell a service what was asked for and by whom: `Host`, `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC
 * 7239). They stand in the place of what the client sent of the kind: see `fields.ts`.
 */
export class ForwardedLines {
  readonly #before: string;
  readonly #after: string;
  readonly #node: string;
  readonly #protocol: "http" | "https";
  #host: string | undefined;
  #lines: Uint8Array = new Uint8Array();

  /** @param secure Whether the client came by TLS. */
  constructor({ source, destination }: Pick<ConnectionInfo, "source" | "destination">, secure: boolean) {
    const { address } = source;
    this.#protocol = secure ? "https" : "http";
    this.#node = address.includes(":") ? `"[${address}]"` : address;
    this.#before = `X-Forwarded-For: ${address}\r\nX-Real-IP: ${address}\r\n` +
      `X-Forwarded-Proto: ${this.#protocol}\r\nX-Forwarded-Port: ${destination.port}\r\n`;
    this.#after = `;proto=${this.#protocol}\r\n`;
  }

  /**
   * The lines, each with its CRLF.
   *
   * @param host As the client wrote it; must have been found to be a host and a port.
   */
  for(host: string): Uint8Array {
    if (host !== this.#host) {
      const forwardedHost = /^[\w.-]+$/.test(host) ? host : `"${host}"`;
      this.#host = host;
      this.#lines = encoder.encode(
        `Host: ${host}\r\n${this.#before}X-Forwarded-Host: ${host}\r\n` +
          `Forwarded: for=${this.#node};host=${forwardedHost}${this.#after}`,
      );
    }
    return this.#lines;
  }
}

const encoder = new TextEncoder();
