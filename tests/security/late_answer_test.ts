import assert from "node:assert/strict";
import { startEcho } from "../support/echo.ts";
import { until } from "../support/until.ts";
import { dialTls, MtlsPlane } from "./mtls_plane.ts";

Deno.test("who was refused because the database took too long is not audited as let in", async () => {
  await using host = startEcho();
  await using gateway = await MtlsPlane.start({ to: host.target, traits: { routeTimeoutMs: 200 } });
  const { promise, resolve } = Promise.withResolvers<void>();
  gateway.database.gate = promise;
  const socket = dialTls({
    ca: gateway.serverCa,
    port: gateway.port,
    certificate: await gateway.issue("alice"),
  });
  socket.on("error", () => {});
  socket.on("secureConnect", () => socket.write("x"));
  const told = new Promise<string>((said) => socket.once("data", (data) => said(String(data))));
  assert.match(await told, /did not answer|not available|time/i);
  resolve(); // the database's answer, after the gateway has said no
  await until(() => gateway.lines().length === 1, { what: "the audit line" });
  assert.equal(gateway.lines()[0]?.["allowed"], false);
  socket.destroy();
});
