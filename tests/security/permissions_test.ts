import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import denoJson from "../../deno.json" with { type: "json" };
import { writeAll } from "../../core/byte_stream.ts";
import type { DeclaredPermissions, PluginDeclaration } from "../../core/config/config.ts";
import { readDeclarations } from "../../core/config/declarations.ts";
import { readToEnd, startEcho, startSilent } from "../support/echo.ts";
import { TestGateway } from "../support/gateway.ts";
import { granted } from "../support/permissions.ts";
import { freePort, temporaryFolder } from "../support/processes.ts";
import type { Probed, Try } from "../testdata/plugins/probe.ts";

const module = new URL("../testdata/plugins/probe.ts", import.meta.url).href;
const DECLARED = readDeclarations(denoJson, new URL("../../deno.json", import.meta.url));
const ignore = !granted("read", "write", "env", "run", "sys", "ffi", "net");

/** What a refusal looks like: of the runtime, of its module loader, of a worker within a worker. */
const REFUSED = /^NotCapable: |^TypeError: Requires \w+ access to /;

/** Starts a gateway with one plugin that tries all this, sends it one connection, and asks how it went. */
async function probe(options: {
  readonly name?: string;
  readonly isolation: PluginDeclaration["isolation"];
  readonly permissions?: DeclaredPermissions;
  readonly start?: readonly Try[];
  readonly route?: readonly Try[];
  readonly config?: Record<string, unknown>;
}): Promise<Probed> {
  const { name = "probe", isolation, permissions = {}, start = [], route = [], config = {} } = options;
  await using gateway = await TestGateway.start({
    yaml: `plugins: { ${name}: ${JSON.stringify({ start, route, ...config })} }`,
    declarations: { [name]: { module, isolation, permissions } },
  });
  using client = await gateway.connect();
  await writeAll(client, new TextEncoder().encode("SSH-2.0-probe\r\n"));
  await readToEnd(client);
  const details = (await reportOf(gateway, name))?.status.details;
  assert.ok(details, "the plugin tells what it tried");
  return details as unknown as Probed;
}

async function reportOf({ supervisor }: TestGateway, name: string) {
  const unit = supervisor.pluginUnits.get(name);
  if (unit) return await unit.worker.rpc?.call("report");
  return (await supervisor.planes[0]?.rpc?.call("report"))?.plugins[name];
}

/** Asserts for each try whether it was let through. */
function check(tries: readonly (readonly [Try, "allowed" | "refused"])[], outcomes: readonly string[]): void {
  assert.equal(outcomes.length, tries.length);
  for (const [i, [attempt, wanted]] of tries.entries()) {
    const outcome = outcomes[i] ?? "";
    const got = REFUSED.test(outcome) || /Can't escalate parent thread permissions/.test(outcome)
      ? "refused"
      : "allowed";
    assert.equal(got, wanted, `${attempt.join(" ")} was ${got}: ${outcome}`);
  }
}

const root = fileURLToPath(new URL("../../", import.meta.url));

/** Nothing that runs code from strangers' bytes, or next to it, has any business with these. */
const FORBIDDEN: readonly Try[] = [
  ["read", "/etc/passwd"],
  ["read", `${root}deno.json`],
  ["read", `${root}postern.yaml`],
  ["read", `${root}.postern/dev-key.pem`],
  ["read", "/proc/self/environ"],
  ["readDir", "/"],
  ["stat", "/etc/passwd"],
  ["fetch", "file:///etc/passwd"],
  ["nodeRead", "/etc/passwd"],
  ["require", `${root}deno.json`],
  ["import", `file://${root}tests/support/until.ts`],
  ["importJson", `file://${root}deno.json`],
  ["importText", "file:///etc/passwd"],
  ["import", "http://127.0.0.1:1/code.ts"],
  ["write", "/tmp/postern-probe"],
  ["remove", "/tmp/postern-probe"],
  ["env", "HOME"],
  ["allEnv", ""],
  ["nodeEnv", "HOME"],
  ["setEnv", "HOME"],
  ["run", "/bin/true"],
  ["nodeRun", "/bin/true"],
  ["sys", "hostname"],
  ["sys", "osRelease"],
  ["sys", "networkInterfaces"],
  ["ffi", "/usr/lib/x86_64-linux-gnu/libc.so.6"],
  ["worker", "read"],
  ["worker", "run"],
];

/** The module's own folder and the core are read only until the plugin runs. */
const CODE: readonly Try[] = [
  ["read", fileURLToPath(module)],
  ["readDir", fileURLToPath(new URL("./", module))],
  ["importText", new URL("./forward_all.ts", module).href],
  ["import", new URL("./forward_all.ts", module).href],
  ["read", fileURLToPath(new URL("../../core/errors.ts", import.meta.url))],
];

/** The kind of permission that an action of the probe asks for. */
function kindOf(action: string): keyof DeclaredPermissions {
  if (/env$/i.test(action)) return "env";
  if (/^(write|remove)$/.test(action)) return "write";
  if (/run$/i.test(action)) return "run";
  if (/^(connect|listen)$/.test(action)) return "net";
  return action === "sys" || action === "ffi" || action === "import" ? action : "read";
}

const all = (tries: readonly Try[], wanted: "allowed" | "refused") =>
  tries.map((one) => [one, wanted] as const);

Deno.test({
  name: "the data plane cannot read, write, run, load, see the environment or the system, at start or later",
  ignore,
  async fn() {
    const { start, route } = await probe({
      isolation: "inline",
      start: [...FORBIDDEN, ...CODE],
      route: [...FORBIDDEN, ...CODE],
    });
    check(all([...FORBIDDEN, ...CODE], "refused"), start);
    check(all([...FORBIDDEN, ...CODE], "refused"), route);
  },
});

Deno.test({
  name: "the data plane can dial: that is its work",
  ignore,
  async fn() {
    await using echo = startEcho();
    const { route } = await probe({ isolation: "inline", route: [["connect", echo.target]] });
    check([[["connect", echo.target], "allowed"]], route);
  },
});

Deno.test({
  name: "an isolated plugin that declares nothing can do nothing, not even dial",
  ignore,
  async fn() {
    await using echo = startEcho();
    const tries: Try[] = [...FORBIDDEN, ["connect", echo.target], ["listen", "127.0.0.1:0"], [
      "worker",
      "net",
    ]];
    const everything = [...tries, ...CODE];
    const { start, route } = await probe({ isolation: "worker", start: everything, route: everything });
    check(all(everything, "refused"), start);
    check(all([...tries, ...CODE], "refused"), route);
  },
});

/** One kind of permission: what is granted, and what is next to it. */
interface Grant {
  readonly permissions: DeclaredPermissions;
  readonly config?: Record<string, unknown>;
  readonly allowed: readonly Try[];
  readonly refused: readonly Try[];
}

const kinds: Record<string, (stack: AsyncDisposableStack) => Grant | Promise<Grant>> = {
  net(stack) {
    const [one, other] = [stack.use(startSilent()), stack.use(startSilent())];
    return {
      permissions: { net: [one.target] },
      allowed: [["connect", one.target]],
      refused: [
        ["connect", other.target],
        ["connect", one.target.replace("127.0.0.1", "127.0.0.2")],
        ["connect", one.target.replace("127.0.0.1", "localhost")],
        ["listen", "127.0.0.1:0"],
        ["fetch", `http://${other.target}/`],
      ],
    };
  },
  "net, from the config"(stack) {
    const [one, other] = [stack.use(startSilent()), stack.use(startSilent())];
    return {
      permissions: { net: ["{target.host}:{target.port}"] },
      config: { target: { host: one.address.hostname, port: one.address.port }, other: other.target },
      allowed: [["connect", one.target]],
      refused: [["connect", other.target]],
    };
  },
  async read(stack) {
    const folder = stack.use(await temporaryFolder()).path;
    await Deno.writeTextFile(`${folder}/one`, "1");
    await Deno.writeTextFile(`${folder}/other`, "2");
    await Deno.symlink(`${folder}/other`, `${folder}/link`);
    return {
      permissions: { read: ["{file}"] },
      config: { file: `${folder}/one` },
      allowed: [["read", `${folder}/one`], ["importText", `file://${folder}/one`]],
      refused: [
        ["read", `${folder}/other`],
        ["read", `${folder}/one/../other`],
        ["read", `${folder}/link`],
        ["readDir", folder],
        ["write", `${folder}/one`],
        ["importText", `file://${folder}/other`],
        ...CODE,
      ],
    };
  },
  async "read, of a folder"(stack) {
    const folder = stack.use(await temporaryFolder()).path;
    await Deno.mkdir(`${folder}/in`);
    await Deno.writeTextFile(`${folder}/in/one`, "1");
    await Deno.writeTextFile(`${folder}/out`, "2");
    await Deno.symlink(`${folder}/out`, `${folder}/in/link`);
    return {
      permissions: { read: [`${folder}/in`] },
      // A link that lies within is followed, as Deno documents: only who may write there can put one.
      allowed: [["read", `${folder}/in/one`], ["readDir", `${folder}/in`], ["read", `${folder}/in/link`]],
      refused: [["read", `${folder}/out`], ["read", `${folder}/in/../out`], ["write", `${folder}/in/one`]],
    };
  },
  "read, of the plugin's own folder": () => {
    const folder = fileURLToPath(new URL("./", module));
    return {
      permissions: { read: [folder] },
      allowed: [["read", fileURLToPath(module)], ["readDir", folder]],
      refused: [["read", fileURLToPath(new URL("../../core/errors.ts", import.meta.url))]],
    };
  },
  async write(stack) {
    const folder = stack.use(await temporaryFolder()).path;
    return {
      permissions: { write: [`${folder}/one`] },
      allowed: [["write", `${folder}/one`]],
      refused: [["write", `${folder}/other`], ["read", `${folder}/one`], ["remove", folder]],
    };
  },
  env: () => ({
    permissions: { env: ["HOME"] },
    allowed: [["env", "HOME"], ["nodeEnv", "HOME"]],
    refused: [["env", "PATH"], ["allEnv", ""], ["nodeEnv", "PATH"], ["setEnv", "PATH"]],
  }),
  run: () => ({
    permissions: { run: ["{command}"] },
    config: { command: "/bin/true" },
    allowed: [["run", "/bin/true"]], // node:child_process hands on the whole environment, and so asks for it
    refused: [["run", "/bin/false"], ["run", "/bin/sh"], ["nodeRun", "/bin/false"], ["worker", "env"]],
  }),
  sys: () => ({
    permissions: { sys: ["hostname"] },
    allowed: [["sys", "hostname"]],
    refused: [["sys", "osRelease"], ["sys", "networkInterfaces"], ["sys", "loadavg"]],
  }),
  async ffi(stack) {
    const folder = stack.use(await temporaryFolder()).path;
    const [one, other] = [`${folder}/one.so`, `${folder}/other.so`];
    for (const path of [one, other]) {
      await Deno.writeTextFile(path, "not a library, and that is what it says");
    }
    return { permissions: { ffi: [one] }, allowed: [["ffi", one]], refused: [["ffi", other]] };
  },
  import() {
    const [one, other] = [freePort(), freePort()]; // nothing listens: no code is ever fetched, and nothing is cached
    return {
      permissions: { import: [`127.0.0.1:${one}`] },
      allowed: [["import", `http://127.0.0.1:${one}/code.ts`]],
      refused: [["import", `http://127.0.0.1:${other}/code.ts`]],
    };
  },
};

for (const [kind, open] of Object.entries(kinds)) {
  Deno.test({
    name: `an isolated plugin has exactly what it was granted: ${kind}`,
    ignore,
    async fn() {
      await using stack = new AsyncDisposableStack();
      const { permissions, config = {}, allowed, refused } = await open(stack);
      const route = [...allowed, ...refused];
      const probed = await probe({ isolation: "worker", permissions, config, route });
      check([...all(allowed, "allowed"), ...all(refused, "refused")], probed.route);
    },
  });
}

/** What a shipped plugin's permissions are filled in from, and how far they then reach. */
const shipped: Readonly<
  Record<string, (stack: AsyncDisposableStack) => Promise<Omit<Grant, "permissions">>>
> = {
  cloudflared(stack) {
    const local = stack.use(startEcho());
    return Promise.resolve({
      config: { command: "/bin/true" },
      allowed: [["run", "/bin/true"], ["connect", local.target], ["listen", "127.0.0.1:0"]],
      refused: [
        ["run", "/bin/false"],
        ["run", "/bin/sh"],
        ["run", "/usr/bin/setpriv"],
        ["connect", "127.0.0.2:9"],
        ["listen", "0.0.0.0:0"],
        ["env", "HOME"],
      ],
    });
  },
  async "mtls-postgres"(stack) {
    const database = stack.use(startEcho());
    const folder = stack.use(await temporaryFolder()).path;
    return {
      config: { database: { addresses: [database.target] }, folders: [folder] },
      allowed: [["connect", database.target], ["env", "PGPASSWORD"], ["write", `${folder}/file`]],
      refused: [
        ["connect", `127.0.0.1:${freePort()}`],
        ["env", "PGUSER"],
        ["allEnv", ""],
        ["write", `${folder}-beside`],
        ["run", "/bin/true"],
      ],
    };
  },
};

for (const [name, { isolation, permissions }] of Object.entries(DECLARED)) {
  Deno.test({
    name: `the plugin "${name}" has what deno.json grants it, and nothing else`,
    ignore,
    async fn() {
      await using stack = new AsyncDisposableStack();
      const { config = {}, allowed, refused } = await shipped[name]?.(stack) ?? { allowed: [], refused: [] };
      const never = FORBIDDEN.filter(([action]) => !permissions[kindOf(action)]);
      const route = [...allowed, ...refused, ...never];
      const probed = await probe({ name, isolation, permissions, config, route });
      check([...all(allowed, "allowed"), ...all([...refused, ...never], "refused")], probed.route);
    },
  });
}

Deno.test("what is shipped is granted no more than is listed here", () => {
  const permissions = Object.entries(DECLARED).map(([name, { permissions }]) => [name, permissions]);
  assert.deepEqual(Object.fromEntries(permissions), {
    static: {},
    cloudflared: { run: ["{command}"], net: ["127.0.0.1"] },
    "mtls-postgres": {
      net: ["{database.addresses}"],
      env: ["PGPASSWORD"],
      read: ["{folders}"],
      write: ["{folders}"],
    },
    "ws-agent": {},
  });
});
