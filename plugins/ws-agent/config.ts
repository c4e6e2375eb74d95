/** The plugin's section of the config, checked. Plain data; times in milliseconds. */
export interface WsAgentConfig {
  /** Http tunnels are `NAME.domain`; canonical. */
  readonly domain: string;
  /** Where agents connect: a canonical host name. */
  readonly endpoint: string;
  /** Starts with `/`. */
  readonly controlPath: string;
  /** The path of the token file as written; see `auth/token_file.ts`. */
  readonly tokens?: string | undefined;
  readonly jwt?: JwtConfig | undefined;
  readonly controller?: { readonly url: string; readonly timeoutMs: number } | undefined;
  readonly ports: { readonly first: number; readonly last: number };
  /** The address that tunnel ports are listened on. */
  readonly portsAddress: string;
  readonly heartbeat: { readonly intervalMs: number; readonly timeoutMs: number };
  readonly reconnectGraceMs: number;
  readonly limits: TunnelLimits;
  /** Closes a tunnel without streams for so long; 0: never. */
  readonly idleTimeoutMs: number;
  /** Serves http tunnels over plain HTTP on listeners of `kind: http` too, instead of a redirect. @default false */
  readonly plainHttp: boolean;
  /** Lets agents connect without TLS (`ws://`) on listeners of `kind: http`. @default false */
  readonly plainEndpoint: boolean;
}

export type JwtConfig =
  & { readonly issuer?: string | undefined }
  & ({ readonly secret: string } | { readonly jwks: string });

export interface TunnelLimits {
  readonly tunnels: number;
  readonly servicesPerTunnel: number;
  readonly streamsPerTunnel: number;
  readonly failedAuthPerMinute: number;
}
