import assert from "node:assert/strict";
import { isDecision } from "../../core/data_plane/decision.ts";
import { checkValue } from "../../core/config/issues.ts";
import type {
  ConnectionInfo,
  Plugin,
  PluginContext,
  PluginDefinition,
  PluginFiles,
} from "../../core/plugin/contract.ts";
import { granted } from "../support/permissions.ts";
import { pluginContext } from "../support/plugin_context.ts";

/** What the suite needs to know of a plugin. */
export interface Conformance<Config> {
  /** Its module, as `import.meta.resolve("…/mod.ts")` gives it. */
  readonly module: string;
  /** The default export of that module. */
  readonly definition: PluginDefinition<Config>;
  /** A section of the config that it accepts; no target in it needs to be there. */
  readonly section: unknown;
  /** What stands in the files that the section names. */
  readonly files?: PluginFiles;
  /** What else it is lent when it is started; called each time. */
  readonly context?: () => Partial<PluginContext>;
  /** A connection that it takes, and one that it leaves to others, with that section. */
  readonly matching: ConnectionInfo;
  readonly other: ConnectionInfo;
}

const NO_ANSWER_NEEDED = { signal: new AbortController().signal };

/** Registers the tests that every plugin must pass: what the gateway relies on, whatever a plugin routes. */
export function conformance<Config>(name: string, plugin: Conformance<Config>): void {
  const { definition, matching, other } = plugin;

  Deno.test({
    name: `${name}: loads and checks its config without any permission`,
    ignore: !granted("read"), // to start a worker from a file at all
    async fn() {
      assert.deepEqual(await parseInSandbox(plugin), configOf(plugin));
    },
  });

  Deno.test(`${name}: the checked config is plain data`, () => {
    assertPlain(configOf(plugin));
  });

  Deno.test(`${name}: refuses a section with an unknown key`, () => {
    const section = { ...(plugin.section as object), "no-such-key": 1 };
    assert.equal(checkValue(definition.config, section).ok, false);
  });

  Deno.test(`${name}: takes what it should, with a decision that is plain data`, async () => {
    await withPlugin(plugin, async (running) => {
      const decision = await running.route(matching, NO_ANSWER_NEEDED);
      assert.ok(isDecision(decision), "not a decision");
      assertPlain(decision);
      assert.ok(decision.kind !== "handle" || running.handle, "it answers handle and has no handle()");
      end(running, matching);
    });
  });

  Deno.test(`${name}: leaves to others what is not its own`, async () => {
    await withPlugin(plugin, async (running) => {
      assert.equal(await running.route(other, NO_ANSWER_NEEDED), undefined);
    });
  });

  Deno.test(`${name}: goes on after targets that are dead, and after events of strangers`, async () => {
    await withPlugin(plugin, async (running) => {
      for (let i = 0; i < 20; i++) {
        const connection = { ...matching, id: `dead-${i}` };
        await running.route(connection, NO_ANSWER_NEEDED);
        running.dialed?.({ connection: connection.id, target: "127.0.0.1:1", ms: 1, failure: "refused" });
        end(running, connection);
      }
      running.dialed?.({ connection: "stranger", target: "127.0.0.1:1", ms: 1 });
      end(running, { ...matching, id: "stranger" });
      assert.ok(await running.route(matching, NO_ANSWER_NEEDED));
      end(running, matching);
    });
  });

  Deno.test(`${name}: goes on after a reload`, async () => {
    await withPlugin(plugin, async (running) => {
      await running.reload?.(structuredClone(configOf(plugin)), plugin.files ?? {});
      assert.ok(await running.route(matching, NO_ANSWER_NEEDED));
      assert.equal(await running.route(other, NO_ANSWER_NEEDED), undefined);
      end(running, matching);
    });
  });

  Deno.test(`${name}: what it tells of itself is plain data`, async () => {
    await withPlugin(plugin, async (running) => {
      const status = await running.status?.();
      const metrics = await running.metrics?.() ?? [];
      for (const told of [status, metrics, await running.routes?.()]) assertPlain(told);
      for (const { name } of metrics) assert.match(name, /^(?!postern_)[a-z][a-z0-9_]*$/);
    });
  });

  Deno.test(`${name}: explain comes to what route does`, { ignore: !definition.explain }, async () => {
    await withPlugin(plugin, async (running) => {
      const explained = definition.explain?.(configOf(plugin), matching);
      assertPlain(explained);
      assert.ok(explained && explained.steps.length > 0, "no steps");
      assert.equal(explained.decision?.kind, (await running.route(matching, NO_ANSWER_NEEDED))?.kind);
      assert.equal(definition.explain?.(configOf(plugin), other).decision, undefined);
      end(running, matching);
    });
  });

  Deno.test(`${name}: ending it twice is harmless`, async () => {
    await withPlugin(plugin, async (running) => {
      await running[Symbol.asyncDispose]?.();
    });
  });
}

/** Starts the plugin, and disposes of it: what it leaves behind, the sanitizers report. */
async function withPlugin<Config>(
  plugin: Conformance<Config>,
  use: (running: Plugin) => Promise<void>,
): Promise<void> {
  const running = await plugin.definition.start(
    configOf(plugin),
    pluginContext({ files: plugin.files ?? {}, ...plugin.context?.() }),
  );
  try {
    await use(running);
  } finally {
    await running[Symbol.asyncDispose]?.();
  }
}

function configOf<Config>({ definition, section }: Conformance<Config>): Config {
  const checked = checkValue(definition.config, section);
  if (!checked.ok) {
    assert.fail(checked.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "));
  }
  return checked.value;
}

function end(running: Plugin, { id }: ConnectionInfo): void {
  running.closed?.({ connection: id, bytesIn: 0, bytesOut: 0, ms: 1, result: "ok" });
}

/** Plain data comes out of a structured clone as it went in. */
function assertPlain(value: unknown): void {
  assert.deepEqual(structuredClone(value), value);
}

/** Imports the module and checks the section in a worker that may do nothing at all. */
async function parseInSandbox<Config>({ module, section }: Conformance<Config>): Promise<unknown> {
  const source = `import definition from ${JSON.stringify(module)};
    postMessage(definition.config.parse(${JSON.stringify(section)}));`;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(source)}`, {
    type: "module",
    deno: { permissions: "none" },
  });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
    });
  } finally {
    worker.terminate();
  }
}
