import assert from "node:assert/strict";
import { joinFirstLabels, parseHostNameTemplate } from "../../../plugins/cloudflared/host_name.ts";

const LONG_LABEL = "a".repeat(63);

const hostNames: readonly [template: string, serverName: string, hostname: string | undefined][] = [
  ["cft-{sni}", "service.customer1.example.com", "cft-service-customer1.example.com"],
  ["cft-{sni}", "db-123.ratio1.link", "cft-db-123.ratio1.link"],
  ["cft-{sni}", "a.b.c.d.example.com", "cft-a-b.c.d.example.com"],
  ["cft-{sni}", "example.com", "cft-example.com"],
  ["cft-{sni}", "localhost", "cft-localhost"],
  ["{sni:raw}", "service.customer1.example.com", "service.customer1.example.com"],
  ["cft-{sni:raw}", "service.customer1.example.com", "cft-service.customer1.example.com"],
  ["CFT-{sni}", "db.ratio1.link", "cft-db.ratio1.link"],
  ["{sni}.tunnels.example.com", "a.b.c.d", "a-b.c.d.tunnels.example.com"],
  ["https://cft-{sni}:8443", "a.b.c.d", "https://cft-a-b.c.d:8443"],
  ["tunnel.example.com", "a.b.c.d", "tunnel.example.com"],
  ["https://127.0.0.1:8443", "a.b.c.d", "https://127.0.0.1:8443"],
  ["http://[::1]:8080", "a.b.c.d", "http://[::1]:8080"],
  // RFC 1035: what no resolver would take is not asked for.
  ["cft-{sni}", `${LONG_LABEL}.ratio1.link`, undefined],
  ["cft-{sni}", `${"a".repeat(32)}.${"b".repeat(32)}.example.com`, undefined],
  ["{sni:raw}.example.com", `${LONG_LABEL}.`.repeat(3) + "a".repeat(60), undefined],
];

for (const [template, serverName, hostname] of hostNames) {
  const short = serverName.length > 40 ? `${serverName.slice(0, 40)}…` : serverName;
  Deno.test(`${template} makes ${hostname ?? "no host name"} of ${short}`, () => {
    assert.equal(parseHostNameTemplate(template).hostNameFor(serverName), hostname);
  });
}

const malformed = [
  "",
  "{name}",
  "cft-{sni",
  "cft-{sni:RAW}",
  "cft-{sni}/path",
  "ftp://{sni}",
  "-{sni}",
  "--url{sni}",
  "cft {sni}",
  "cft-{sni}:99999",
  "{sni}..example.com",
  "user@{sni}",
  "cft-{sni}:port",
  "*.example.com",
];

for (const template of malformed) {
  Deno.test(`${JSON.stringify(template)} is refused as a template`, () => {
    assert.throws(() => parseHostNameTemplate(template), {
      code: "config-invalid",
      message: /makes no host name/,
    });
  });
}

Deno.test("a first dot becomes a dash only while three labels remain", () => {
  const names = ["a", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e"];
  assert.deepEqual(names.map(joinFirstLabels), ["a", "a.b", "a.b.c", "a-b.c.d", "a-b.c.d.e"]);
});
