import definition from "../../../plugins/mtls-postgres/mod.ts";
import { createAuthority } from "../../support/certificates.ts";
import { conformance } from "../conformance.ts";
import { tlsConnection } from "../connection.ts";

const ca = await createAuthority();

conformance("mtls-postgres", {
  module: import.meta.resolve("../../../plugins/mtls-postgres/mod.ts"),
  definition,
  section: {
    domain: "connect.example.com",
    issuer: "example.com",
    caCertificates: ["ca.pem"],
    database: { host: "127.0.0.1", port: 1, user: "postern", name: "access" },
  },
  files: { "ca.pem": ca.certificate },
  matching: tlsConnection("host-1.connect.example.com"),
  other: tlsConnection("connect.example.com"),
});
