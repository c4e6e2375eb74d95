import assert from "node:assert/strict";
import { createLog, type LogEvent } from "../../../core/log.ts";
import { warnOfMissingCertificates } from "../../../core/supervisor/missing_certificates.ts";

const cases: readonly [what: string, terminates: string[] | undefined, names: string[], missing: string[]][] =
  [
    ["a plugin that terminates nothing", undefined, [], []],
    ["no certificate at all", ["tunnel.example.com", "*.example.com"], [], [
      "tunnel.example.com",
      "*.example.com",
    ]],
    ["one for the name itself", ["tunnel.example.com", "*.example.com"], ["tunnel.example.com"], [
      "*.example.com",
    ]],
    ["one for all names beside it", ["tunnel.example.com", "*.example.com"], ["*.example.com"], []],
    ["one for names one label deeper", ["*.example.com"], ["*.tunnel.example.com", "example.com"], [
      "*.example.com",
    ]],
  ];

for (const [what, terminates, names, missing] of cases) {
  Deno.test(`names without a certificate: ${what}`, () => {
    const events: LogEvent[] = [];
    const log = createLog("supervisor", "info", (event) => events.push(event));
    const plugin = { name: "ws-agent", traits: { routeTimeoutMs: 1, ...(terminates && { terminates }) } };
    warnOfMissingCertificates([plugin], [{ names: ["other.net"] }, { names }], log);
    assert.deepEqual(events.map(({ event }) => event), missing.map(() => "certificate_missing"));
    assert.deepEqual(events.map(({ fields }) => fields["name"]), missing);
  });
}
