import assert from "node:assert/strict";
import {
  hostOfKey,
  isServiceName,
  isUnder,
  nameKey,
  portKey,
  portOfKey,
  publicNameOf,
} from "../../../plugins/ws-agent/names.ts";

const PLACES = { domain: "example.com", endpoint: "tunnel.example.com" };

const names: { asked: { name: string; hostname?: string }; is: string; isSubdomain?: boolean }[] = [
  { asked: { name: "demo" }, is: "demo.example.com", isSubdomain: true },
  { asked: { name: "Demo_1" }, is: "demo_1.example.com", isSubdomain: true },
  { asked: { name: "x", hostname: "api.customer.com" }, is: "api.customer.com", isSubdomain: false },
  { asked: { name: "x", hostname: "API.example.com." }, is: "api.example.com", isSubdomain: true },
  { asked: { name: "x", hostname: "a.b.example.com" }, is: "a.b.example.com", isSubdomain: false },
  { asked: { name: "x", hostname: "badexample.com" }, is: "badexample.com", isSubdomain: false },
  { asked: { name: "x", hostname: "a.tunnel.example.com" }, is: "a.tunnel.example.com", isSubdomain: false },
  { asked: { name: "a.b" }, is: "bad_name" },
  { asked: { name: "-a" }, is: "bad_name" },
  { asked: { name: "x", hostname: "com" }, is: "bad_name" },
  { asked: { name: "x", hostname: "1.2.3.4" }, is: "bad_name" },
  { asked: { name: "x", hostname: "a..example.com" }, is: "bad_name" },
  { asked: { name: "x", hostname: "b\u00fccher.example.com" }, is: "bad_name" },
  { asked: { name: "tunnel" }, is: "reserved_name" },
  { asked: { name: "x", hostname: "EXAMPLE.com" }, is: "reserved_name" },
];
for (const { asked, is, isSubdomain } of names) {
  Deno.test(`the public name of ${JSON.stringify(asked)} is ${is}`, () => {
    const name = publicNameOf(asked, PLACES);
    if (isSubdomain === undefined) assert.equal("refused" in name && name.refused, is);
    else assert.deepEqual(name, { hostname: is, isSubdomain });
  });
}

Deno.test("names of services: what can stand in a log line and in a table", () => {
  for (const name of ["a", "demo", "my-app", "my_app.v2", "x".repeat(63)]) {
    assert.ok(isServiceName(name), name);
  }
  for (const name of ["", "-a", "a-", ".a", "a b", "a/b", "ä", "a\n", "x".repeat(64)]) {
    assert.ok(!isServiceName(name), name);
  }
});

Deno.test("a name is under a domain by whole labels", () => {
  assert.ok(isUnder("a.example.com", "example.com"));
  assert.ok(isUnder("a.b.example.com", "example.com"));
  assert.ok(!isUnder("example.com", "example.com"));
  assert.ok(!isUnder("aexample.com", "example.com"));
  assert.ok(!isUnder("example.com.evil.org", "example.com"));
});

Deno.test("keys tell what they are of", () => {
  assert.equal(hostOfKey(nameKey("a.example.com")), "a.example.com");
  assert.equal(hostOfKey(portKey(1)), undefined);
  assert.equal(portOfKey(portKey(30_000)), 30_000);
  assert.equal(portOfKey(nameKey("a.example.com")), undefined);
});
