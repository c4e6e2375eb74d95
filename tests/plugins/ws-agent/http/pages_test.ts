import assert from "node:assert/strict";
import { acceptsHtml, errorPage, type ErrorStatus } from "../../../../plugins/ws-agent/http/pages.ts";

const BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
const STATUSES: readonly ErrorStatus[] = [400, 404, 408, 413, 414, 417, 421, 431, 501, 502, 503, 504, 505];

const cases: readonly (readonly [accept: string | undefined, html: boolean])[] = [
  [undefined, false],
  ["", false],
  ["*/*", false],
  ["text/*", false],
  ["application/json", false],
  ["text/plain, text/html;q=0", false],
  ["text/html;q=0.000", false],
  ["text/htmlx", false],
  [`text/html${",a/b".repeat(2000)}`, false],
  [BROWSER, true],
  ["TEXT/HTML", true],
  ["application/json, text/html ; q=0.1", true],
];

for (const [accept, html] of cases) {
  Deno.test(`acceptsHtml() says ${html} to ${accept?.slice(0, 60)}`, () => {
    assert.equal(acceptsHtml(accept), html);
  });
}

for (const status of STATUSES) {
  Deno.test(`errorPage() has a page for ${status}, plain and as HTML`, () => {
    for (const accept of [undefined, BROWSER]) {
      const { headers, body, reason } = errorPage(status, { accept });
      const fields = Object.fromEntries(headers);
      const text = new TextDecoder().decode(body);
      assert.equal(fields["content-length"], String(body.length));
      assert.equal(fields["cache-control"], "no-store");
      assert.equal(fields["x-content-type-options"], "nosniff");
      assert.match(
        fields["content-security-policy"] ?? "",
        /^default-src 'none'; style-src 'sha256-[\w+/=]+';/,
      );
      assert(text.includes(`${status} ${reason}`));
      assert.doesNotMatch(text, /(?:src|href)=|https?:|url\(/, "nothing is fetched from elsewhere");
      assert.equal(text.startsWith("<!doctype html>"), accept !== undefined);
      assert.equal(fields["content-type"], `text/${accept ? "html" : "plain"}; charset=utf-8`);
      assert(accept !== undefined || text.split("\n").length === 2, "one line");
    }
  });
}

Deno.test("errorPage() escapes what it shows", () => {
  const { body } = errorPage(404, { accept: BROWSER, hostname: `<script>alert("x")&'` });
  const text = new TextDecoder().decode(body);
  assert(!text.includes("<script>"));
  assert(text.includes("&#60;script&#62;alert(&#34;x&#34;)&#38;&#39;"));
});
