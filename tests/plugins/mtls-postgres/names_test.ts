import assert from "node:assert/strict";
import { SELF_TEST_LISTENER as CORE_SELF_TEST_LISTENER } from "../../../core/data_plane/self_test.ts";
import { connectIdOf, SELF_TEST_LISTENER, selfTestName } from "../../../plugins/mtls-postgres/names.ts";
import { connection, tlsConnection } from "../connection.ts";

const DOMAIN = "connect.example.com";
const cases: readonly (readonly [name: string, connectId: string | undefined])[] = [
  ["host-1.connect.example.com", "host-1"],
  ["a.connect.example.com", "a"],
  ["host_1.connect.example.com", "host_1"],
  ["xn--bcher-kva.connect.example.com", "xn--bcher-kva"],
  ["connect.example.com", undefined],
  ["a.b.connect.example.com", undefined],
  ["hostconnect.example.com", undefined],
  [".connect.example.com", undefined],
  ["host-1.connect.example.org", undefined],
  ["host-1.connect.example.com.evil.com", undefined],
  ["example.com", undefined],
];

for (const [name, connectId] of cases) {
  Deno.test(`the connectID of ${name} is ${connectId ?? "none"}`, () => {
    assert.equal(connectIdOf(tlsConnection(name), DOMAIN), connectId);
  });
}

Deno.test("a client without TLS, or without a name, has no connectID", () => {
  assert.equal(connectIdOf(connection(), DOMAIN), undefined);
  assert.equal(connectIdOf(tlsConnection(), DOMAIN), undefined);
});

Deno.test("the self-test comes under a name that the plugin takes, by the listener that the plugin knows", () => {
  assert.equal(connectIdOf(tlsConnection(selfTestName(DOMAIN)), DOMAIN), "postern-self-test");
  assert.equal(SELF_TEST_LISTENER, CORE_SELF_TEST_LISTENER);
});
