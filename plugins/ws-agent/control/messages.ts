/** What an agent may expose, by the word of its config. */
export type ServiceProtocol = "http" | "tcp" | "tls" | "udp";

/** 16 raw bytes, written as a UUID (RFC 9562) in lower case. */
export type Uuid = string;

/** 0x13: asks for a service, with more than Register can say. Bounded and checked by its parser. */
export interface RegisterService {
  readonly name: string;
  readonly protocol: ServiceProtocol;
  /** For people who look at the gateway: the agent dials what its own config says. */
  readonly target?: string;
  readonly hostname?: string;
  /** 0 or absent: assigned. */
  readonly remotePort?: number;
  readonly private?: boolean;
  /** Whether other agents with the same token may serve it, too, when they ask for it likewise. */
  readonly shared?: boolean;
  /** How connections are spread over those who share it. @default "least-streams" */
  readonly balance?: Balance;
}

export const BALANCES = ["least-streams", "round-robin", "source-hash"] as const;
/** How connections are spread over agents that share a service. `source-hash`: by the public client's address. */
export type Balance = (typeof BALANCES)[number];

/** 0x14: the answer to it. */
export interface ServiceRegistered {
  readonly serviceId: Uuid;
  readonly name: string;
  /** Where the public reaches it. */
  readonly url: string;
  readonly remotePort?: number;
}

/** 0x15: asks to reach a private service, by streams that the agent opens. Bounded and checked by its parser. */
export interface AccessService {
  /** `NAME` of its own, or `OWNER/NAME`. */
  readonly service: string;
  /** For how long, in milliseconds; absent: as long as the gateway gives it. */
  readonly ttlMs?: number;
}

/** 0x16: the answer to it. */
export interface AccessGranted {
  readonly accessId: Uuid;
  /** As `OWNER/NAME`, whatever was asked. */
  readonly service: string;
  readonly protocol: "http" | "tcp" | "tls";
  /** When it is over, milliseconds since 1970 by the gateway's clock. */
  readonly until: number;
  /** The same from now on, for whoever has another clock. */
  readonly ttlMs: number;
}

/** A control message; PROTOCOL.md, "Control stream". Times are in milliseconds since 1970. */
export type ControlMessage =
  | { readonly type: "auth"; readonly token: string; readonly clientId: Uuid }
  | { readonly type: "authOk"; readonly tunnelId: Uuid }
  | { readonly type: "authFail"; readonly reason: string }
  | {
    readonly type: "register";
    readonly name: string;
    readonly protocol: "tcp" | "udp";
    readonly localPort: number;
    readonly remotePort: number;
  }
  | { readonly type: "registerOk"; readonly serviceId: Uuid }
  | { readonly type: "registerFail"; readonly reason: string }
  | ({ readonly type: "registerService" } & RegisterService)
  | ({ readonly type: "serviceRegistered" } & ServiceRegistered)
  | ({ readonly type: "accessService" } & AccessService)
  | ({ readonly type: "accessGranted" } & AccessGranted)
  | { readonly type: "accessFail"; readonly reason: string }
  | { readonly type: "accessEnded"; readonly accessId: Uuid; readonly reason: string }
  | Connect
  | { readonly type: "connectAck"; readonly connectionId: Uuid }
  | { readonly type: "connectFail"; readonly connectionId: Uuid; readonly reason: string }
  | { readonly type: "heartbeat"; readonly time: number }
  | { readonly type: "heartbeatAck"; readonly time: number }
  | { readonly type: "unregister"; readonly serviceId: Uuid }
  | { readonly type: "disconnect"; readonly reason: string };

/** Tells a plain agent of a public connection, which it is to come for. */
export interface Connect {
  readonly type: "connect";
  readonly serviceId: Uuid;
  readonly connectionId: Uuid;
  readonly clientAddress: string;
}
