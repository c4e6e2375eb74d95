import { conformance } from "../conformance.ts";
import { tlsConnection } from "../connection.ts";
import definition from "../../../plugins/cloudflared/mod.ts";
import { freeRange, hasStandIn, installStandIn, type StandIn } from "../../support/cloudflared.ts";

// Every test of the suite but the first few starts the program.
const standIn: StandIn | undefined = hasStandIn() ? await installStandIn() : undefined;
Deno.test.afterAll(async () => await standIn?.[Symbol.asyncDispose]());

if (standIn) {
  conformance("cloudflared", {
    module: import.meta.resolve("../../../plugins/cloudflared/mod.ts"),
    definition,
    section: {
      command: standIn.path,
      names: ["*.example.com"],
      ports: freeRange(),
      serviceToken: { id: "1.access", secret: "abc" },
    },
    matching: tlsConnection("db.example.com"),
    other: tlsConnection("example.org"),
  });
} else {
  Deno.test({ name: "cloudflared: conformance, with a program to start", ignore: !standIn, fn() {} });
}
