import assert from "node:assert/strict";
import type { PluginDeclaration } from "../../../core/config/config.ts";
import { developmentConfig } from "../../../core/config/development.ts";
import { formatProblem } from "../../../core/config/problem.ts";
import { granted } from "../../support/permissions.ts";

const inline: PluginDeclaration = { module: "file:///p.ts", isolation: "inline", permissions: {} };
const OPTIONS = { env: () => undefined, declarations: { static: inline, "ws-agent": inline } };
const ignore = !granted("env");

Deno.test("The development gateway listens on loopback only", { ignore }, () => {
  const result = developmentConfig(OPTIONS);
  assert.ok(result.ok);
  const { config } = result;
  assert.deepEqual(config.listeners.map(({ address, kind }) => [address, kind]), [
    ["127.0.0.1:8443", "stream"],
    ["127.0.0.1:8080", "http"],
  ]);
  assert.equal(config.admin.address, "127.0.0.1:9090");
  assert.deepEqual(config.tls.certificates, [{ cert: ".postern/cert.pem", key: ".postern/key.pem" }]);
  assert.deepEqual(config.plugins.map(({ name, section }) => [name, section]), [
    ["static", {}],
    ["ws-agent", {
      domain: "localhost",
      endpoint: "tunnel.localhost",
      tokens: ".postern/tokens.yaml",
      portsAddress: "127.0.0.1",
    }],
  ]);
});

Deno.test("--set and --plugins work on the development gateway", { ignore }, () => {
  const set = ["listeners[0].address=127.0.0.1:0", "plugins.static.routes[0].to=127.0.0.1:22"];
  const result = developmentConfig({ ...OPTIONS, set, plugins: ["static"] });
  assert.ok(result.ok);
  assert.equal(result.config.listeners[0]?.port, 0);
  assert.deepEqual(result.config.plugins.map(({ section }) => section), [{
    routes: [{ to: "127.0.0.1:22" }],
  }]);
});

Deno.test("A mistake on top of the development config is named by its option", { ignore }, () => {
  const result = developmentConfig({ ...OPTIONS, set: ["log.format=xml"] });
  assert.deepEqual(result.ok ? [] : result.problems.map(formatProblem), [
    '--set log.format: Expected "pretty" or "json", got "xml"',
  ]);
});
