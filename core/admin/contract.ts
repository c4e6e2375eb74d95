import type { LogLevel } from "../log.ts";

/** What the supervisor tells the admin worker when it starts it. */
export interface AdminSettings {
  /** As in the config; a literal address, or `localhost`. */
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
  /** Asked for on everything but the health checks. Without one, only loopback is listened on. */
  readonly token?: string;
  /**
   * Further `Host` values under which the admin side is reached, with the port that clients write or without:
   * the name of a reverse proxy in front, of a container. A name that is not listed is refused.
   */
  readonly hosts?: readonly string[];
  /** @default "debug" */
  readonly logLevel?: LogLevel;
}

/** Where something listens. */
export interface BoundAddress {
  readonly hostname: string;
  readonly port: number;
}

/** What the supervisor may ask of the admin worker, in messages of `core/rpc.ts`. */
export interface AdminWorkerMethods {
  [method: string]: (...args: never[]) => unknown;
  /**
   * Listens; answers with the real port.
   *
   * Throws `GatewayError` with `address-in-use`, `permission-denied`, `listen-failed`, or `config-invalid` (an
   * address that others reach, without a token).
   */
  start(settings: AdminSettings): BoundAddress;
  /** Takes another token for all requests from now on; without one, asks for none. Throws as `start` does. */
  reload(settings: Pick<AdminSettings, "token">): void;
  /** Stops listening and lets requests in progress finish, for a second at most. The worker can be ended then. */
  stop(): Promise<void>;
  /** Answers, to show that the worker lives. */
  ping(): void;
}
