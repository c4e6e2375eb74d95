import type { ByteCount } from "../../../core/data_plane/relay.ts";
import type { AccessGranted, ControlMessage, Uuid } from "../control/messages.ts";
import type { AccessAnswer } from "../auth/grant.ts";
import type { PrivateService } from "../private_name.ts";
import type { TunnelSession } from "./session.ts";

/** A connection that goes over an access. */
export interface AccessConnection {
  /** Ends both sides at once. */
  cut(): void;
}

/** Somebody's right to reach one private service until some time, and what has come of it. Plain state; others act on it. */
export interface Access {
  readonly id: Uuid;
  /** Of whoever reaches the service. */
  readonly session: TunnelSession;
  readonly service: PrivateService;
  /** The service's lease. */
  readonly key: string;
  readonly protocol: AccessGranted["protocol"];
  /** `monotonic` time of the beginning. */
  readonly since: number;
  /** Milliseconds since 1970. */
  readonly until: number;
  /** Connections since the beginning, and those that are open. */
  connections: number;
  readonly open: Set<AccessConnection>;
  /** To the service, and from it. */
  readonly sent: ByteCount;
  readonly received: ByteCount;
  /** Aborted at the end. */
  readonly life: AbortController;
  stopTimer: () => void;
  /** A question whether it may go on that is under way: one at a time, however many streams wait for it. */
  asking: Promise<AccessAnswer> | undefined;
  /** Sends a message to whoever has it. */
  tell(message: ControlMessage): void;
}
