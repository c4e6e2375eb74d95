import assert from "node:assert/strict";
import { createMasker } from "../../../plugins/cloudflared/mask.ts";

const ID = "1234.access";
const SECRET = "s3cr3t/with+signs=";
const JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
const masker = createMasker([ID, SECRET]);

const cases: readonly [text: string, masked: string][] = [
  [`got ${SECRET} and ${ID}`, "got *** and ***"],
  [`?q=${encodeURIComponent(SECRET)}!`, "?q=***!"],
  [`${SECRET}${SECRET}`, "******"],
  ["Cf-Access-Client-Secret: other", "Cf-Access-Client-Secret: ***"],
  ['{"CF-Access-Client-Id":"other"}', '{"CF-Access-Client-Id":"***"}'],
  [
    "GET / HTTP/1.1\\r\\nCf-Access-Token: other\\r\\nHost: x",
    "GET / HTTP/1.1\\r\\nCf-Access-Token: ***\\r\\nHost: x",
  ],
  ["Set-Cookie: CF_Authorization=other; Path=/", "Set-Cookie: CF_Authorization=***; Path=/"],
  ["cookie CF_AppSession=other", "cookie CF_AppSession=***"],
  ["Authorization: Bearer other", "Authorization: Bearer ***"],
  [`token is ${JWT} indeed`, "token is *** indeed"],
  [
    "open https://x/cdn-cgi/access/cli?aud=1&token=other&send=true",
    "open https://x/cdn-cgi/access/cli?aud=1&token=***&send=true",
  ],
  ["the line was cut within s3cr3t/with+…", "the line was cut within ***…"],
  [`${SECRET.repeat(3)}s3…`, "************…"],
  ["the line was cut…", "the line was cut…"],
  ["nothing to hide: token file path, keyJar", "nothing to hide: token file path, keyJar"],
];

for (const [text, masked] of cases) {
  Deno.test(`masked: ${masked}`, () => assert.equal(masker.mask(text), masked));
}

Deno.test("of two secrets of which one begins with the other, nothing is left", () => {
  assert.equal(createMasker(["abc", "abcdef"]).mask("abcdef abc"), "*** ***");
});

Deno.test("without secrets only shapes are masked", () => {
  assert.equal(createMasker([]).mask(`plain ${JWT}`), "plain ***");
});
