import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import type { PluginDeclaration } from "../../core/config/config.ts";
import { GatewayError } from "../../core/errors.ts";
import { startEcho } from "../support/echo.ts";
import { prepareYaml, TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { temporaryFolder } from "../support/processes.ts";
import { ECHOED, sayHello } from "../support/ssh_like.ts";

const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");
const ISOLATIONS = ["inline", "worker"] as const;

function declare(file: string, isolation: PluginDeclaration["isolation"]): Record<string, PluginDeclaration> {
  const module = new URL(`../testdata/plugins/${file}`, import.meta.url).href;
  return { mine: { module, isolation, permissions: {} } };
}

/** One line that a user can act on, without the colours of a terminal. */
function oneLine(wanted: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Error);
    assert.match(error.message, wanted);
    // deno-lint-ignore no-control-regex -- control characters are exactly what is looked for
    assert.doesNotMatch(error.message, /[\x00-\x1f\x7f]/);
    return true;
  };
}

Deno.test({
  name:
    "a plugin that nobody declared is not loaded: the config error names it, its place and the nearest one",
  ignore,
  async fn() {
    const yaml = "plugins:\n  static: {}\n  forward-al: {}\n";
    const declarations = { "forward-all": declare("forward_all.ts", "inline")["mine"]! };
    await assert.rejects(
      prepareYaml({ yaml, declarations }),
      oneLine(
        /^postern\.yaml:5:3: plugins\.forward-al: Plugin "forward-al" is declared neither .*"forward-all"/,
      ),
    );
  },
});

const unloadable = {
  "does not exist": ["no_such_plugin.ts", /^Plugin "mine" cannot be loaded: .*no_such_plugin\.ts/],
  "has no plugin as its default export": [
    "no_plugin.ts",
    /^Plugin "mine" cannot be loaded: .*default export/,
  ],
  "throws when it is imported": [
    "throws_at_import.ts",
    /^Plugin "mine" cannot be loaded: .*this module cannot be loaded/,
  ],
} as const;

for (const [what, [file, wanted]] of Object.entries(unloadable)) {
  Deno.test({
    name: `a plugin's module that ${what} is an error of the config, before anything is started`,
    ignore,
    async fn() {
      for (const isolation of ISOLATIONS) {
        await assert.rejects(
          prepareYaml({ yaml: "plugins: { mine: {} }", declarations: declare(file, isolation) }),
          (error) =>
            error instanceof GatewayError && error.code === "plugin-failed" && oneLine(wanted)(error),
        );
      }
    },
  });
}

Deno.test({
  name: "a plugin's module that is no program is an error of the config",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await Deno.writeTextFile(`${folder.path}/mod.ts`, "this is { no program\n");
    const module = pathToFileURL(`${folder.path}/mod.ts`).href;
    const declarations = { mine: { module, isolation: "worker", permissions: {} } } as const;
    await assert.rejects(
      prepareYaml({ yaml: "plugins: { mine: {} }", declarations }),
      oneLine(/^Plugin "mine" cannot be loaded: .*mod\.ts/),
    );
  },
});

for (const isolation of ISOLATIONS) {
  Deno.test({
    name:
      `a plugin (${isolation}) that throws in start: the gateway does not start, and nothing is left of it`,
    ignore,
    async fn() {
      await using echo = startEcho();
      const yaml = `plugins: { mine: { to: "${echo.target}", start: throws } }`;
      await assert.rejects(
        TestGateway.start({ yaml, declarations: declare("troubled.ts", isolation), threads: 2 }),
        oneLine(/^Plugin "mine" did not start: no luck today$/),
      );
    },
  });

  for (const start of ["hangs", "exits"]) {
    Deno.test({
      name: `a plugin (${isolation}) that ${start} in start is given up after a while`,
      ignore,
      async fn() {
        await using echo = startEcho();
        const yaml = `plugins: { mine: { to: "${echo.target}", start: ${start} } }`;
        const worker = isolation === "inline" ? "data-plane-0" : "plugin:mine";
        await assert.rejects(
          TestGateway.start({
            yaml,
            declarations: declare("troubled.ts", isolation),
            times: { startMs: 1500 },
          }),
          oneLine(new RegExp(`^Worker "${worker}" did not start: not ready in 1500 ms$`)),
        );
      },
    });
  }
}

Deno.test({
  name: "a section that the plugin's own schema refuses is told with its place",
  ignore,
  async fn() {
    const yaml = "plugins:\n  mine:\n    to: 5\n    tow: x\n";
    await assert.rejects(
      prepareYaml({ yaml, declarations: declare("forward_all.ts", "worker") }),
      (error) => {
        assert.ok(error instanceof Error);
        assert.match(
          error.message,
          /^postern\.yaml:5:9: plugins\.mine\.to: .*\npostern\.yaml:6:5: plugins\.mine\.tow: /,
        );
        return true;
      },
    );
  },
});

Deno.test({
  name: "the other plugins do not suffer from one that is declared and not used",
  ignore,
  async fn() {
    await using echo = startEcho();
    await using gateway = await TestGateway.start({
      yaml: `plugins: { static: { routes: [{ protocol: ssh, to: "${echo.target}" }] } }`,
      declarations: declare("throws_at_import.ts", "worker"),
    });
    assert.equal(await sayHello(gateway.port()), ECHOED);
  },
});
