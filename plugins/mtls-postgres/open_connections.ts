import type { ConnectionId, Endpoint } from "../../core/plugin/mod.ts";
import type { AccessRequest } from "./access.ts";
import type { Identity } from "./identity.ts";
import type { Ending } from "./outcome.ts";

/** Somebody who was let in, and is still there. */
export interface OpenConnection {
  readonly connection: ConnectionId;
  readonly source: Endpoint;
  readonly connectId: string;
  readonly identity: Identity;
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** When the first certificate of the chain expires, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** `host:port`; absent for one that was taken over, until the database is asked. */
  target: string | undefined;
  /** Why it was told to end; it is there until the gateway says that it is gone. */
  ending: Ending | undefined;
}

/** Everybody who got where they are by the same answer of the database. */
export interface Group {
  readonly request: AccessRequest;
  readonly members: ReadonlySet<OpenConnection>;
}

/** Everybody who was let in, grouped by what the database is to be asked about them. */
export class OpenConnections {
  readonly #byId = new Map<ConnectionId, OpenConnection>();
  readonly #groups = new Map<
    string,
    { readonly request: AccessRequest; readonly members: Set<OpenConnection> }
  >();

  get size(): number {
    return this.#byId.size;
  }

  add(connection: OpenConnection): void {
    this.delete(connection.connection);
    this.#byId.set(connection.connection, connection);
    const request = requestOf(connection);
    const key = keyOf(request);
    let group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, group = { request, members: new Set() });
    group.members.add(connection);
  }

  /** Harmless for one that is not there. */
  delete(id: ConnectionId): void {
    const connection = this.#byId.get(id);
    if (connection === undefined) return;
    this.#byId.delete(id);
    const key = keyOf(requestOf(connection));
    const group = this.#groups.get(key);
    group?.members.delete(connection);
    if (group?.members.size === 0) this.#groups.delete(key);
  }

  has(connection: OpenConnection): boolean {
    return this.#byId.get(connection.connection) === connection;
  }

  /** As they are now: both lists may be walked while connections come and go. */
  all(): OpenConnection[] {
    return [...this.#byId.values()];
  }

  groups(): Group[] {
    return [...this.#groups.values()];
  }
}

export function requestOf(
  { identity: { org, user }, connectId }: Pick<OpenConnection, "identity" | "connectId">,
): AccessRequest {
  return { org, user, connectId };
}

/** None of the three can hold a NUL: two come from a SPIFFE ID, one is a DNS label. */
function keyOf({ org, user, connectId }: AccessRequest): string {
  return `${org}\0${user}\0${connectId}`;
}
