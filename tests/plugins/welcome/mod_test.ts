import definition from "../../../plugins/welcome/mod.ts";
import { conformance } from "../conformance.ts";
import { tlsConnection } from "../connection.ts";

conformance("welcome", {
  module: import.meta.resolve("../../../plugins/welcome/mod.ts"),
  definition,
  section: {},
  matching: tlsConnection("demo.localhost"),
  other: tlsConnection("example.org"),
});
