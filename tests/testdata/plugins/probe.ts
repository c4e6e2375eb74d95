import { definePlugin, type PluginDefinition, z } from "../../../core/plugin/mod.ts";

/** Something to try, and with what: `["read", "/etc/passwd"]`. */
export type Try = readonly [action: string, what: string];

/** `ok`, or the error: `NotCapable: Requires read access to …`. In the order of the tries. */
export type Outcomes = readonly string[];

/** What the plugin's status has in `details`. */
export interface Probed {
  /** Tried within `start`, when the plugin's code may still be read. */
  readonly start: Outcomes;
  /** Tried within the last `route`. */
  readonly route: Outcomes;
}

type Config = {
  readonly start: readonly Try[];
  readonly route: readonly Try[];
  readonly [key: string]: unknown;
};

const tries = z.array(z.tuple([z.string(), z.string()])).default([]);

/** A computed specifier: one that stands in the code is looked at before the code runs. */
const load = (specifier: string, type?: string) =>
  type === undefined ? import(specifier) : import(specifier, { with: { type } });

const ACTIONS: Readonly<Record<string, (what: string) => unknown>> = {
  read: (path) => Deno.readTextFile(path),
  readDir: (path) => [...Deno.readDirSync(path)],
  stat: (path) => Deno.stat(path),
  fetch: async (url) => await (await fetch(url)).body?.cancel(),
  nodeRead: async (path) => (await load("node:fs")).readFileSync(path),
  require: async (path) => (await load("node:module")).createRequire(import.meta.url)(path),
  import: (specifier) => load(specifier),
  importText: (specifier) => load(specifier, "text"),
  importJson: (specifier) => load(specifier, "json"),
  write: (path) => Deno.writeTextFile(path, "written"),
  remove: (path) => Deno.remove(path),
  env: (name) => Deno.env.get(name),
  allEnv: () => Deno.env.toObject(),
  nodeEnv: async (name) => (await load("node:process")).env[name],
  setEnv: (name) => Deno.env.set(name, "set"),
  run: (path) => new Deno.Command(path).output(),
  nodeRun: async (path) => (await load("node:child_process")).execFileSync(path),
  sys: (name) => (Deno as unknown as Record<string, () => unknown>)[name]?.(),
  ffi: (path) => Deno.dlopen(path, {}).close(),
  connect: (address) => Deno.connect(hostPort(address)).then((connection) => connection.close()),
  listen: (address) => Deno.listen(hostPort(address)).close(),
  /** A worker with one permission of its own. */
  worker(kind) {
    const options = { type: "module" as const, deno: { permissions: { [kind]: true } } };
    new Worker("data:application/javascript,", options).terminate();
  },
};

function hostPort(address: string): { hostname: string; port: number } {
  const at = address.lastIndexOf(":");
  return { hostname: address.slice(0, at), port: Number(address.slice(at + 1)) };
}

async function tryAll(all: readonly Try[]): Promise<Outcomes> {
  const outcomes = [];
  for (const [action, what] of all) {
    try {
      const act = ACTIONS[action];
      if (act === undefined) throw new RangeError(`No action "${action}"`);
      await act(what);
      outcomes.push("ok");
    } catch (error) {
      outcomes.push(error instanceof Error ? `${error.name}: ${error.message}` : String(error));
    }
  }
  return outcomes;
}

/** Tries what its config says, and tells in its status how that went. Rejects every connection. */
const definition: PluginDefinition<Config> = definePlugin<Config>({
  config: z.looseObject({ start: tries, route: tries }),
  async start(config) {
    const start = await tryAll(config.start);
    let route: Outcomes = [];
    return {
      async route() {
        route = await tryAll(config.route);
        return { kind: "reject", reason: "forbidden" };
      },
      status: () => ({ ready: true, details: { start, route } }),
    };
  },
});

export default definition;
