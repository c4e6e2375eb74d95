import definition from "../../../plugins/static/mod.ts";
import { conformance } from "../conformance.ts";
import { tlsConnection } from "../connection.ts";

conformance("static", {
  module: import.meta.resolve("../../../plugins/static/mod.ts"),
  definition,
  section: {
    routes: [
      { sni: "db.example.com", to: ["127.0.0.1:1", "127.0.0.1:2"], healthCheck: {} },
      { sni: "*.example.com", terminate: true, alpn: ["http/1.1"], to: "127.0.0.1:3" },
    ],
  },
  matching: tlsConnection("db.example.com"),
  other: tlsConnection("example.org"),
});
