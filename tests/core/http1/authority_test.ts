import assert from "node:assert/strict";
import { parseAuthority } from "../../../core/http1/mod.ts";

const NAMES: readonly [raw: string, host: string, port?: number][] = [
  ["demo.localhost", "demo.localhost"],
  ["DEMO.localhost.:443", "demo.localhost", 443],
  ["a_b.example:1", "a_b.example", 1],
  ["localhost:65535", "localhost", 65535],
];
const ADDRESSES: readonly [raw: string, host: string, port?: number][] = [
  ["127.0.0.1", "127.0.0.1"],
  ["127.0.0.1:80", "127.0.0.1", 80],
  ["[::1]", "::1"],
  ["[0:0::1]:8443", "::1", 8443],
];
const REFUSED = [
  ..."|:|:80|.|a..b|-a|a-|a b|a,b|a/b|a@b|a:b@c|a:b|a:|a:0|a:080|a:65536|a:123456|a:+1|a:1 | a|a\t|a%2eb"
    .split("|"),
  ..."[|]|[]|[::1|::1]|::1|[::1]x|[::1]:|[a]|[127.0.0.1]|[::1%25eth0]|[[::1]]|1.2.3|1.2.3.4.5|256.1.1.1|0x7f.1|1.2.3.08|7"
    .split("|"),
  "d\xe9mo",
  "a\x00",
  "a".repeat(64),
];

for (const [raw, host, port] of NAMES) {
  Deno.test(`parseAuthority() takes ${raw} for a name`, () => {
    assert.deepEqual(parseAuthority(raw), { host, name: host, port });
  });
}
for (const [raw, host, port] of ADDRESSES) {
  Deno.test(`parseAuthority() takes ${raw} for an address`, () => {
    assert.deepEqual(parseAuthority(raw), { host, name: undefined, port });
  });
}
for (const raw of REFUSED) {
  Deno.test(`parseAuthority() refuses ${JSON.stringify(raw.slice(0, 20))}`, () => {
    assert.equal(parseAuthority(raw), undefined);
  });
}
