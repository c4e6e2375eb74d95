import type {
  AccessRequest,
  DatabaseEvents,
  DatabaseState,
  Verdict,
} from "../../../plugins/mtls-postgres/access.ts";

/** Two organizations that have a team, a user and a host of nearly the same names, and some odd ones. */
export const SEED = `
  INSERT INTO users (user_id, org_id) VALUES
    ('alice', 'acme'), ('bob', 'acme'), ('carol', 'acme'), ('ALICE', 'acme'), ('mallory', 'evil'), ('eve', 'evil'),
    ('o''brien', 'acme'), ('''; DROP TABLE users; --', 'acme'), ('%', 'acme'), ('a,b', 'acme'), ('{a}', 'acme'),
    ('"q"', 'acme'), ('back\\slash', 'acme'), ('NULL', 'acme'), ('zoë', 'acme'), ('名前', 'acme'), ('😀', 'acme'),
    ('', 'acme'), ('moved', 'evil');
  INSERT INTO teams (team_id, org_id, user_ids) VALUES
    ('ops', 'acme', '{bob,moved,ghost}'), ('red', 'evil', '{alice,mallory}'), ('empty', 'acme', '{}'),
    ('null', 'acme', '{NULL}'), ('o''team', 'acme', ARRAY['o''brien']), ('mixed', 'evil', '{carol,eve}');
  INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id, user_ids, team_ids) VALUES
    ('direct', '10.0.0.1:22', 'acme', '{alice,moved,ghost,mallory}', '{}'),
    ('team', '10.0.0.2', 'acme', '{}', '{ops}'),
    ('both', '[fd00::1]:22', 'acme', '{alice}', '{empty,ops}'),
    ('nobody', '10.0.0.4', 'acme', '{}', '{}'),
    ('foreign-team', '10.0.0.5', 'acme', '{}', '{red,mixed}'),
    ('no-such-team', '10.0.0.6', 'acme', '{}', '{gone}'),
    ('nulls', '10.0.0.7', 'acme', '{NULL}', '{NULL,null}'),
    ('evil-host', '10.6.6.6', 'evil', '{alice,eve}', '{ops,mixed}'),
    ('everyone', '10.0.0.8', 'acme',
      ARRAY['o''brien', '''; DROP TABLE users; --', 'a,b', '{a}', '"q"', 'back\\slash', 'zoë', '名前', '😀', ''], '{}'),
    ('quoted-team', '10.0.0.9', 'acme', '{}', ARRAY['o''team']),
    ('ho''st', '10.0.0.10', 'acme', '{alice}', '{}'),
    ('no-address', '', 'acme', '{alice}', '{}');`;

export interface AccessCase {
  readonly name: string;
  readonly request: AccessRequest;
  readonly verdict: Verdict;
}

const allowed = (address: string): Verdict => ({ kind: "allowed", address });
const denied = (reason: (Verdict & { kind: "denied" })["reason"]): Verdict => ({ kind: "denied", reason });

/** Who gets where, with {@link SEED}. */
export const CASES: readonly AccessCase[] = [
  row("a user who is listed", "acme", "alice", "direct", allowed("10.0.0.1:22")),
  row("a member of a listed team", "acme", "bob", "team", allowed("10.0.0.2")),
  row("a listed user of a host with teams", "acme", "alice", "both", allowed("[fd00::1]:22")),
  row("a member of the second team", "acme", "bob", "both", allowed("[fd00::1]:22")),
  row("an address that is empty, as it stands", "acme", "alice", "no-address", allowed("")),
  row("a user listed nowhere", "acme", "carol", "direct", denied("not_listed")),
  row("a user in no team of the host", "acme", "alice", "team", denied("not_listed")),
  row("a host with empty lists", "acme", "alice", "nobody", denied("not_listed")),
  row(
    "a team of another organization, with the user in it",
    "acme",
    "alice",
    "foreign-team",
    denied("not_listed"),
  ),
  row("a second team of another organization", "acme", "carol", "foreign-team", denied("not_listed")),
  row("a team that doesn't exist", "acme", "alice", "no-such-team", denied("not_listed")),
  row("lists that hold NULL", "acme", "alice", "nulls", denied("not_listed")),
  row("lists that hold NULL, and a user called so", "acme", "NULL", "nulls", denied("not_listed")),
  row("a host that doesn't exist", "acme", "alice", "nowhere", denied("unknown_host")),
  row("no host's name", "acme", "alice", "", denied("unknown_host")),
  row(
    "a host that doesn't exist, for a user who doesn't",
    "acme",
    "ghost",
    "nowhere",
    denied("unknown_host"),
  ),
  row("a listed user without a row", "acme", "ghost", "direct", denied("unknown_user")),
  row("a user in a listed team without a row", "acme", "ghost", "team", denied("unknown_user")),
  row("a user id in other letters", "acme", "Alice", "direct", denied("unknown_user")),
  row("another user, who differs in case", "acme", "ALICE", "direct", denied("not_listed")),
  row("a host id in other letters", "acme", "alice", "DIRECT", denied("unknown_host")),
  row("a host's name with a space behind", "acme", "alice", "direct ", denied("unknown_host")),
  row("a listed user of another organization", "evil", "mallory", "direct", denied("other_organization")),
  row("the same with a certificate of the host's", "acme", "mallory", "direct", denied("other_organization")),
  row("a user who moved, with the old certificate", "acme", "moved", "direct", denied("other_organization")),
  row("a user who moved, with the new certificate", "evil", "moved", "team", denied("other_organization")),
  row(
    "a host of another organization that lists the user",
    "acme",
    "alice",
    "evil-host",
    denied("other_organization"),
  ),
  row("the host's organization, claimed", "evil", "alice", "evil-host", denied("other_organization")),
  row(
    "a host of another organization that lists a team",
    "acme",
    "bob",
    "evil-host",
    denied("other_organization"),
  ),
  row("a user of the other organization at home", "evil", "eve", "evil-host", allowed("10.6.6.6")),
  row("an organization that doesn't exist", "nemo", "alice", "direct", denied("other_organization")),
  row("an organization in other letters", "ACME", "alice", "direct", denied("other_organization")),
  row("no organization", "", "alice", "direct", denied("other_organization")),
  row("a user with a quote", "acme", "o'brien", "everyone", allowed("10.0.0.8")),
  row("a team with a quote", "acme", "o'brien", "quoted-team", allowed("10.0.0.9")),
  row("a host with a quote", "acme", "alice", "ho'st", allowed("10.0.0.10")),
  row(
    "a user who is an injection, and listed",
    "acme",
    "'; DROP TABLE users; --",
    "everyone",
    allowed("10.0.0.8"),
  ),
  row("an injection as user", "acme", "' OR '1'='1", "direct", denied("unknown_user")),
  row("an injection as host", "acme", "alice", "' OR '1'='1", denied("unknown_host")),
  row("an injection as organization", "' OR '1'='1", "alice", "direct", denied("other_organization")),
  row("a wildcard as user", "acme", "%", "direct", denied("not_listed")),
  row("a wildcard as host", "acme", "alice", "%", denied("unknown_host")),
  row("a user with a comma", "acme", "a,b", "everyone", allowed("10.0.0.8")),
  row("a user with braces", "acme", "{a}", "everyone", allowed("10.0.0.8")),
  row("a user with double quotes", "acme", '"q"', "everyone", allowed("10.0.0.8")),
  row("a user with a backslash", "acme", "back\\slash", "everyone", allowed("10.0.0.8")),
  row("a user whose id is empty, and listed so", "acme", "", "everyone", allowed("10.0.0.8")),
  row("a user with an umlaut", "acme", "zoë", "everyone", allowed("10.0.0.8")),
  row("the same umlaut in two characters", "acme", "zoe\u0308", "everyone", denied("unknown_user")),
  row("a user in Japanese", "acme", "名前", "everyone", allowed("10.0.0.8")),
  row("a user beyond the basic plane", "acme", "😀", "everyone", allowed("10.0.0.8")),
  row("half of that character", "acme", "\ud83d", "everyone", denied("unknown_host")),
  row("a NUL behind a user who gets in", "acme", "alice\0", "direct", denied("unknown_host")),
  row("a NUL behind a host", "acme", "alice", "direct\0", denied("unknown_host")),
];

/** Somebody who gets in, with {@link SEED}. */
export const ALICE: AccessRequest = { org: "acme", user: "alice", connectId: "direct" };
export const ALICE_GETS: Verdict = allowed("10.0.0.1:22");

/** Counts what a database tells of itself. */
export class Events implements DatabaseEvents {
  changes = 0;
  readonly states: DatabaseState[] = [];

  changed(): void {
    this.changes++;
  }

  stateChanged(state: DatabaseState): void {
    this.states.push(state);
  }
}

function row(name: string, org: string, user: string, connectId: string, verdict: Verdict): AccessCase {
  return { name, request: { org, user, connectId }, verdict };
}
