/** The part of `ws` that the tests use. The types that are published for it bring Node's own along. */
export class WebSocket {
  constructor(url: string, protocols: string | readonly string[], options?: Record<string, unknown>);
  readonly protocol: string;
  readonly extensions: string;
  on(event: "open", listener: () => void): this;
  on(event: "message", listener: (data: Uint8Array, isBinary: boolean) => void): this;
  on(event: "pong", listener: (data: Uint8Array) => void): this;
  on(event: "close", listener: (code: number, reason: Uint8Array) => void): this;
  on(event: "error", listener: (error: Error) => void): this;
  send(data: Uint8Array | string, options?: { binary?: boolean; fin?: boolean }): void;
  ping(data: string): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
}

export class WebSocketServer {
  constructor(options: Record<string, unknown>);
  address(): { readonly port: number };
  on(event: "connection", listener: (socket: WebSocket) => void): this;
  on(event: "listening", listener: () => void): this;
  close(done: () => void): void;
}
