/**
 * The part of `pg` that is used here. The types that are published for it bring Node's own along, which differ from
 * the runtime's, and change what the rest of the gateway is checked against.
 */
declare namespace pg {
  interface ClientConfig {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
    readonly password: () => string | undefined;
    readonly ssl: false | { readonly ca?: string };
    readonly sslnegotiation: "postgres" | "direct";
    readonly application_name: string;
    readonly client_encoding: string;
    readonly options: string;
    readonly query_timeout: number;
    readonly connectionTimeoutMillis: number;
    readonly keepAlive: boolean;
  }
  interface Query {
    readonly name?: string;
    readonly text: string;
    readonly values: unknown[];
  }
  interface Result {
    readonly rows: Record<string, unknown>[];
  }
  class Client {
    constructor(config: ClientConfig & Readonly<Record<string, unknown>>);
    connect(): Promise<void>;
    query(query: Query | string): Promise<Result>;
    end(): Promise<void>;
    on(event: "error", listener: (error: Error) => void): this;
    on(event: "end", listener: () => void): this;
    on(event: "notification", listener: (message: { readonly channel: string }) => void): this;
  }
  class Pool {
    constructor(
      config: ClientConfig & {
        readonly Client: new () => Client;
        readonly max: number;
        readonly idleTimeoutMillis: number;
      },
    );
    /** Questions that wait for a connection. */
    readonly waitingCount: number;
    query(query: Query): Promise<Result>;
    end(): Promise<void>;
    on(event: "error", listener: (error: Error) => void): this;
  }
}
export default pg;
