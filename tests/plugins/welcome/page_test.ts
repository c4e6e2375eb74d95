import assert from "node:assert/strict";
import { CONTENT_SECURITY_POLICY, escapeHtml, htmlPage, textPage } from "../../../plugins/welcome/page.ts";

Deno.test("the page escapes the name, wherever it stands", () => {
  const hostile = `"><script>alert('&')</script>`;
  const page = htmlPage(hostile);
  assert.ok(!page.includes("<script"), page);
  assert.ok(!page.includes(hostile));
  assert.ok(page.includes(escapeHtml(hostile)));
});

Deno.test("escapeHtml() leaves nothing that ends a text or an attribute", () => {
  assert.equal(escapeHtml(`a<b>c&d"e'f`), "a&#60;b&#62;c&#38;d&#34;e&#39;f");
});

Deno.test("the policy allows the page's own style, and no script", async () => {
  const style = /<style>([^]*?)<\/style>/.exec(htmlPage("a"))?.[1] ?? assert.fail("no style");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(style)));
  assert.ok(CONTENT_SECURITY_POLICY.includes(`style-src 'sha256-${digest.toBase64()}'`));
  assert.ok(CONTENT_SECURITY_POLICY.startsWith("default-src 'none';"));
  assert.ok(!CONTENT_SECURITY_POLICY.includes("unsafe"));
});

Deno.test("the page has what assistive technology needs: language, title, one main part, one first heading", () => {
  const page = htmlPage("demo.localhost");
  for (const part of [/<html lang="en">/, /<title>[^<]+<\/title>/, /<main>/, /<h1>/, /name="viewport"/]) {
    assert.match(page, part);
  }
  assert.equal(page.split("<h1>").length, 2);
});

Deno.test("the text names the route to write", () => {
  assert.match(textPage("demo.localhost"), /--set .*sni: demo\.localhost/);
});
