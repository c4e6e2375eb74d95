import assert from "node:assert/strict";
import type { ConnectionInfo, Protocol } from "../../../core/plugin/contract.ts";
import { RouteTable } from "../../../plugins/static/route_table.ts";
import { clientHello, connection, tlsConnection } from "../connection.ts";

interface Named {
  readonly id: string;
  readonly sni?: readonly string[];
  readonly protocol?: Protocol;
}

const ROUTES: Named[] = [
  { id: "any wildcard", sni: ["*.example.com"] },
  { id: "exact", sni: ["db.example.com", "other.example.com"] },
  { id: "exact postgres", sni: ["db.example.com"], protocol: "postgres" },
  { id: "postgres only", sni: ["pg.example.net"], protocol: "postgres" },
  { id: "tls only", sni: ["web.example.net"], protocol: "tls" },
  { id: "tls wildcard", sni: ["*.example.net"], protocol: "tls" },
  { id: "ssh", protocol: "ssh" },
  { id: "all postgres", protocol: "postgres" },
];

const plain = (protocol: Protocol) => connection({ protocol });
const postgres = (name?: string) => connection({ protocol: "postgres", tls: clientHello(name) });
const directPostgres = (name?: string) => tlsConnection(name, { tls: clientHello(name, ["postgresql"]) });

const cases: { name: string; asked: ConnectionInfo; found: string | undefined }[] = [
  { name: "the exact name before the wildcard", asked: tlsConnection("other.example.com"), found: "exact" },
  { name: "the wildcard for any other label", asked: tlsConnection("x.example.com"), found: "any wildcard" },
  { name: "no wildcard for two labels", asked: tlsConnection("a.b.example.com"), found: undefined },
  { name: "no wildcard for its own parent", asked: tlsConnection("example.com"), found: undefined },
  { name: "no route for an unknown name", asked: tlsConnection("example.org"), found: undefined },
  { name: "no route for TLS without a name", asked: tlsConnection(), found: undefined },
  {
    name: "the route with the protocol before the one without",
    asked: postgres("db.example.com"),
    found: "exact postgres",
  },
  {
    name: "the route without a protocol for the others",
    asked: tlsConnection("db.example.com"),
    found: "exact",
  },
  {
    name: "a name without a protocol for PostgreSQL too",
    asked: postgres("other.example.com"),
    found: "exact",
  },
  {
    name: "not the PostgreSQL route for a web client",
    asked: tlsConnection("pg.example.net"),
    found: "tls wildcard",
  },
  { name: "not the TLS route for PostgreSQL", asked: postgres("web.example.net"), found: "all postgres" },
  { name: "PostgreSQL without TLS by its protocol", asked: plain("postgres"), found: "all postgres" },
  {
    name: "PostgreSQL with an unknown name by its protocol",
    asked: postgres("example.org"),
    found: "all postgres",
  },
  { name: "PostgreSQL without a name by its protocol", asked: postgres(), found: "all postgres" },
  {
    name: "direct PostgreSQL by its own route",
    asked: directPostgres("db.example.com"),
    found: "exact postgres",
  },
  {
    name: "direct PostgreSQL by a route for TLS",
    asked: directPostgres("web.example.net"),
    found: "tls only",
  },
  { name: "direct PostgreSQL by its protocol", asked: directPostgres("example.org"), found: "all postgres" },
  { name: "SSH by its protocol", asked: plain("ssh"), found: "ssh" },
  { name: "no route for HTTP", asked: plain("http"), found: undefined },
  { name: "no route for something else", asked: plain("other"), found: undefined },
];
const table = new RouteTable(ROUTES);
for (const { name, asked, found } of cases) {
  Deno.test(`finds ${name}`, () => assert.equal(table.find(asked)?.id, found));
}

Deno.test("a catch-all for TLS takes what no name did, and TLS without a name", () => {
  const table = new RouteTable<Named>([{ id: "named", sni: ["a.example"] }, { id: "rest", protocol: "tls" }]);
  assert.equal(table.find(tlsConnection("a.example"))?.id, "named");
  assert.equal(table.find(tlsConnection("b.example"))?.id, "rest");
  assert.equal(table.find(tlsConnection())?.id, "rest");
  assert.equal(table.find(postgres("b.example"))?.id, undefined);
});

Deno.test("the star takes every name, but none that is missing", () => {
  const table = new RouteTable<Named>([{ id: "star", sni: ["*"] }, { id: "wild", sni: ["*.example"] }]);
  assert.equal(table.find(tlsConnection("a.b.c"))?.id, "star");
  assert.equal(table.find(tlsConnection("a.example"))?.id, "wild");
  assert.equal(table.find(tlsConnection()), undefined);
});
