/**
 * What can be tried of the image without a container engine: exactly the files that `.dockerignore` lets in, the
 * `RUN` line with an empty cache, then `ENTRYPOINT` and `HEALTHCHECK`, as the image's user, on a folder that nobody may
 * write to. Ends with code 1 and a reason when that does not work.
 */
import {
  freeAddress,
  hostPort,
  isRoot,
  type RunOptions,
  runOrThrow,
  startProgram,
  temporaryFolder,
} from "../tests/support/processes.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const USER = "65532";

const dockerfile = (await Deno.readTextFile(`${ROOT}Dockerfile`)).replaceAll(/\s*\\\n\s*/g, " ");
const ignored = await Deno.readTextFile(`${ROOT}.dockerignore`);

await using temporary = await temporaryFolder();
const app = `${temporary.path}/app`;
const env = { DENO_DIR: `${app}/.deno`, NO_COLOR: "1" };

await copyContext();
const [, ...cacheArgs] = instruction("RUN");
// Registries are reached as this machine reaches them: by its proxy, with its certificates.
const ownEnv = Deno.env.toObject();
await runOrThrow(Deno.execPath(), {
  args: cacheArgs,
  cwd: app,
  env: { ...ownEnv, ...env },
  deadlineMs: 120_000,
});
await runOrThrow("chmod", { args: ["-R", "a+rX,a-w", temporary.path] });
try {
  await startAndAsk();
} finally {
  await runOrThrow("chmod", { args: ["-R", "u+w", temporary.path] });
}

async function copyContext(): Promise<void> {
  await Deno.mkdir(app);
  const names = [...ignored.matchAll(/^!(.+)$/gm)].map(([, name]) => `${ROOT}${name}`);
  await runOrThrow("cp", { args: ["-r", ...names, app] });
}

async function startAndAsk(): Promise<void> {
  const admin = freeAddress();
  await using config = await temporaryFolder();
  await Deno.chmod(config.path, 0o755);
  await using cache = await temporaryFolder(); // the volume that the image needs for certificates
  await Deno.chmod(cache.path, 0o777);
  await Deno.writeTextFile(
    `${config.path}/postern.yaml`,
    [
      `listeners: [{ address: "127.0.0.1:0" }]`,
      `tls: { acme: { cache: "${cache.path}/certs", challenges: [dns-01], dns01: { webhook: "http://127.0.0.1:1" } } }`,
      `admin: { address: "${hostPort(admin)}", token: "0123456789abcdef" }`,
      "plugins: { static: {} }",
    ].join("\n"),
  );
  const [, ...entry] = instruction("ENTRYPOINT");
  const [, ...health] = instruction("HEALTHCHECK");
  await using gateway = await asUser(startProgram, [...entry, ...instruction("CMD")], {
    env,
    cwd: config.path,
  });
  await gateway.waitForPort(admin, { deadlineMs: 20_000 });
  await asUser(runOrThrow, health, {
    env: { ...env, POSTERN_HEALTH_URL: `http://${hostPort(admin)}/healthz` },
    cwd: config.path,
  });
}

/** Starts Deno as the image does: as a user without rights, when this runs as root. */
function asUser<T>(
  start: (program: string, options: RunOptions) => Promise<T>,
  args: readonly string[],
  options: RunOptions,
): Promise<T> {
  if (!isRoot()) return start(Deno.execPath(), { ...options, args });
  const shed = [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", "--"];
  return start("setpriv", { ...options, args: [...shed, Deno.execPath(), ...args] });
}

/** The words of an instruction in its JSON form, with the image's folder replaced by ours. */
function instruction(name: string): string[] {
  const json = dockerfile.match(new RegExp(`^${name} .*?(\\[.*\\])$`, "m"))?.[1];
  if (json === undefined) throw new Error(`The Dockerfile has no ${name} in JSON form`);
  return JSON.parse(json).map((word: string) => word.replace(/^\/app(?=\/)/, app));
}
