-- The tables that the plugin mtls-postgres decides by, for PostgreSQL 14 or newer. They are those of ssh-router:
-- beside its data this file adds the triggers and nothing else. Running it again changes nothing.
--
-- The plugin only reads. A role of its own needs no more than this (LISTEN needs no grant):
--
--   CREATE ROLE postern LOGIN PASSWORD '…';
--   GRANT SELECT (connect_id, internal_ip_addr, org_id, user_ids, team_ids) ON backend_hosts TO postern;
--   GRANT SELECT (team_id, org_id, user_ids) ON teams TO postern;
--   GRANT SELECT (user_id, org_id) ON users TO postern;
--
-- No index is missing: every decision reads one host, one user and the host's teams, each by its primary key. What
-- is in the arrays is compared in those few rows, so an index over the arrays would only make writing slower.

BEGIN;

CREATE TABLE IF NOT EXISTS backend_hosts (
    connect_id       TEXT PRIMARY KEY,
    internal_ip_addr TEXT NOT NULL,
    org_id           TEXT NOT NULL,
    user_ids         TEXT[] NOT NULL DEFAULT '{}',
    team_ids         TEXT[] NOT NULL DEFAULT '{}',
    host_user        TEXT
);

CREATE TABLE IF NOT EXISTS teams (
    team_id  TEXT PRIMARY KEY,
    org_id   TEXT NOT NULL,
    user_ids TEXT[] NOT NULL DEFAULT '{}'
);

CREATE TABLE IF NOT EXISTS users (
    user_id     TEXT PRIMARY KEY,
    org_id      TEXT NOT NULL,
    public_keys BYTEA[] NOT NULL DEFAULT '{}'
);

-- Tells every gateway, at commit, that what it remembers may be wrong. Without these triggers a gateway remembers a
-- decision for its cacheTtl. The payload is empty, so that however many statements a transaction has, one notice is sent.
CREATE OR REPLACE FUNCTION postern_access_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM pg_notify('postern_access', '');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER postern_access_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON backend_hosts
FOR EACH STATEMENT EXECUTE FUNCTION postern_access_changed();

CREATE OR REPLACE TRIGGER postern_access_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON teams
FOR EACH STATEMENT EXECUTE FUNCTION postern_access_changed();

CREATE OR REPLACE TRIGGER postern_access_changed
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON users
FOR EACH STATEMENT EXECUTE FUNCTION postern_access_changed();

COMMIT;
