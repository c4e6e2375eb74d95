import { type AccessRequest, DatabaseDown, type DenialReason, type Verdict } from "./access.ts";

/**
 * The one question that the database is asked. The answer is one row, always: who, where and what not comes from one
 * snapshot, so no change in between can mix an old grant with a new organization.
 *
 * Every comparison is written so that NULL, which the schema forbids and a table of somebody else's may allow,
 * denies. `$1` is the organization, `$2` the user, `$3` the connect id.
 */
export const ACCESS_QUERY = {
  name: "postern_access",
  text: `
    SELECT host.internal_ip_addr AS address,
      CASE
        WHEN host.connect_id IS NULL THEN 'unknown_host'
        WHEN member.user_id IS NULL THEN 'unknown_user'
        WHEN member.org_id IS DISTINCT FROM $1::text THEN 'other_organization'
        WHEN host.org_id IS DISTINCT FROM $1::text THEN 'other_organization'
        WHEN $2::text = ANY (host.user_ids) THEN 'allowed'
        WHEN EXISTS (
          SELECT FROM teams AS team
          WHERE team.team_id = ANY (host.team_ids) AND team.org_id = $1::text AND $2::text = ANY (team.user_ids)
        ) THEN 'allowed'
        ELSE 'not_listed'
      END AS verdict
    FROM (SELECT) AS question
    LEFT JOIN backend_hosts AS host ON host.connect_id = $3::text
    LEFT JOIN users AS member ON member.user_id = $2::text`,
} as const;

const DENIALS: ReadonlySet<unknown> = new Set<DenialReason>([
  "unknown_host",
  "unknown_user",
  "other_organization",
  "not_listed",
]);

/** A name has 253 characters at most, and a port five: what is longer is no address, and nothing to remember. */
const MAX_ADDRESS_CHARS = 300;

/** What {@link ACCESS_QUERY} is asked with. */
export function accessValues({ org, user, connectId }: AccessRequest): string[] {
  return [org, user, connectId];
}

/**
 * Whether a row for this request can exist at all. PostgreSQL's text holds no NUL and no half of a surrogate pair:
 * the first would be an error of the database's, and the second would be sent as U+FFFD, which somebody else may be
 * called.
 */
export function isStorable(request: AccessRequest): boolean {
  return accessValues(request).every((value) => value.isWellFormed() && !value.includes("\0"));
}

/** What is answered to a request that is not {@link isStorable}. */
export const NO_SUCH_ROW: Verdict = { kind: "denied", reason: "unknown_host" };

/**
 * The verdict in the rows that {@link ACCESS_QUERY} gave.
 *
 * @throws {DatabaseDown} They are not an answer to it: no row, several (the tables have no primary keys), or a row
 * of another shape.
 */
export function verdictOf(rows: readonly Readonly<Record<string, unknown>>[]): Verdict {
  const [row] = rows;
  if (row === undefined || rows.length > 1) {
    throw new DatabaseDown(`The database gave ${rows.length} answers where one was wanted`);
  }
  const { verdict, address } = row;
  if (verdict === "allowed" && typeof address === "string") {
    const isTooLong = address.length > MAX_ADDRESS_CHARS;
    return { kind: "allowed", address: isTooLong ? `text of ${address.length} characters` : address };
  }
  if (isDenial(verdict)) return { kind: "denied", reason: verdict };
  throw new DatabaseDown("The database gave an answer that says neither yes nor no");
}

function isDenial(verdict: unknown): verdict is DenialReason {
  return DENIALS.has(verdict);
}
