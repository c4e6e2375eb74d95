/** Who wants to get where. All three come from the client, the first two from its verified certificate. */
export interface AccessRequest {
  readonly org: string;
  readonly user: string;
  /** The label in front of the plugin's domain. */
  readonly connectId: string;
}

/** Why somebody does not get in, as far as the database knows. For the audit log; the client is told none of it. */
export type DenialReason = "unknown_host" | "unknown_user" | "other_organization" | "not_listed";

/** What the database says about a request. */
export type Verdict =
  /** `address` is `internal_ip_addr` as it stands in the database: nothing about it is checked yet. */
  | { readonly kind: "allowed"; readonly address: string }
  | { readonly kind: "denied"; readonly reason: DenialReason };

/** Whether the database can be asked. */
export type DatabaseState =
  | { readonly up: true; readonly listening: boolean }
  /** `reason` holds no secret. */
  | { readonly up: false; readonly reason: string };

/** What answers the question whether somebody may get somewhere: PostgreSQL, or PGlite within this worker. */
export interface AccessDatabase extends AsyncDisposable {
  readonly state: DatabaseState;
  /** Queries that {@link decide} has sent so far. */
  readonly queries: number;
  /**
   * Asks in one round trip, with one prepared statement.
   *
   * @throws {DatabaseDown} There is no answer: nobody gets in.
   */
  decide(request: AccessRequest): Promise<Verdict>;
}

/** What an {@link AccessDatabase} tells of by itself. */
export interface DatabaseEvents {
  /**
   * Whatever was decided may be wrong by now: a trigger of the schema has notified, or such notices may have been
   * missed while the connection for them was down.
   */
  changed(): void;
  /** The state is another than before. */
  stateChanged(state: DatabaseState): void;
}

/** The database cannot be reached, is too slow, or answers with an error. */
export class DatabaseDown extends Error {
  override readonly name = "DatabaseDown";
}
