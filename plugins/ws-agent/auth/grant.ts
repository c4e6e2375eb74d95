import type { ServiceProtocol } from "../control/messages.ts";
import type { TokenLimits } from "./token_limits.ts";
import type { PrivateService } from "../private_name.ts";

/** What an agent that has proved itself may do. Checked at every registration and whenever something changes, not at login alone. */
export interface Grant {
  /** Who it is, for log and status: the token's name, the subject of a JWT, what the controller says. */
  readonly owner: string;
  /**
   * The same for every proof of the same party, and for nobody else: `token:ID`, `jwt:ISSUER:SUBJECT`, `controller:SUBJECT`. A holder
   * of leases is made of it and the agent's client id.
   */
  readonly principal: string;
  /** When it is over, milliseconds since 1970; absent: never. Live sessions are cut then. */
  readonly expiresAt?: number | undefined;
  /** The ports that it may have, of those that the gateway has; absent: any of them. */
  readonly ports?: readonly PortRange[] | undefined;
  /** What all its tunnels may use together; absent: as much as anybody. May change at any time. */
  readonly limits?: TokenLimits | undefined;
  /**
   * Whether this service may be registered. `undefined`: it may; otherwise why not, for the agent: it names the policy and no secret.
   * A controller is asked here, and may take its `timeout`. Never rejects.
   */
  allows(service: RequestedService): Promise<string | undefined> | string | undefined;
  /**
   * Whether a private service of somebody else may be reached now; one's own may be without asking. A controller is asked here.
   * Never rejects.
   */
  mayAccess(service: PrivateService): Promise<AccessAnswer> | AccessAnswer;
  /**
   * Whether it is still good: `undefined`, or why not. Costs little, so that a session may look at every heartbeat, and
   * has to after a reload: tokens and keys may be gone by then. A controller is asked again in the background when its
   * answer has become old, and what it says is told the next time; while it is silent, nobody has to go.
   */
  stillGood(): string | undefined;
}

/** `unknown`: whoever would know does not answer. */
export type AccessAnswer = "may" | "may_not" | "unknown";

export interface RequestedService {
  readonly name: string;
  readonly protocol: ServiceProtocol;
  /** Canonical host name that would be public; for http and tls. */
  readonly hostname?: string;
  /** Whether `hostname` is `NAME.domain` rather than a full name of its own. */
  readonly isSubdomain?: boolean;
  /**
   * The public port that is asked for; 0: any of the range. For tcp and udp. A grant with {@link Grant.ports} refuses 0:
   * whoever assigns a port takes one of those, and asks about it.
   */
  readonly port?: number;
  /** Present when other agents of the same party are to serve it, too. */
  readonly shared?: true;
  /** Whether it has neither a name nor a port, and is reached by accesses alone. */
  readonly private?: true;
}

/** Both ends are inside. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Why a proof was refused. `reason` is a word for the metric `auth_failures_total{reason}`; `message` is for the agent. */
export interface AuthRefusal {
  readonly reason:
    | "bad_token"
    | "expired"
    | "revoked"
    | "bad_signature"
    | "bad_issuer"
    | "controller_refused"
    | "controller_unavailable"
    /** The keys that JWTs are signed with can't be fetched. */
    | "keys_unavailable"
    /** Too many failures of this source, or too many attempts at once. */
    | "blocked"
    | "malformed"
    | "internal_error";
  readonly message: string;
}

export type AuthResult = { readonly grant: Grant } | { readonly refusal: AuthRefusal };

/** Tells who an agent is by the token that it shows: one of the token file, a JWT, or one that the controller knows. Fails closed. */
export interface Authenticator extends Disposable {
  /**
   * @param source The agent's address: failures are counted by it, and too many of them block it for a while.
   * @param options.signal Aborted when the agent has left or its time is over.
   */
  authenticate(
    token: string,
    source: string,
    options: { readonly signal: AbortSignal },
  ): Promise<AuthResult>;
}
