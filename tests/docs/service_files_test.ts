import assert from "node:assert/strict";
import { parse } from "yaml";
import { createProgram } from "../../cli/cli.ts";
import { EXIT } from "../../cli/exit_codes.ts";
import { commandShapes, keyOf } from "../../cli/completions/shape.ts";
import { parseDuration } from "../../core/config/units.ts";
import { configKeys } from "../../core/config/schema.ts";
import { granted, hasProgram, requireProgram } from "../support/permissions.ts";
import { run, runOrThrow, temporaryFolder } from "../support/processes.ts";

const DOCS = new URL("../../docs/", import.meta.url);
const UNITS = ["postern.service", "postern-agent@.service"] as const;
/** Of 100: what `systemd-analyze security` says of each. A line that is taken out of a unit adds to it. */
const EXPOSURE = { "postern.service": 22, "postern-agent@.service": 15 } as const;

const ignore = !granted("read");
const noSystemd = !granted("read", "write", "run", "env") || !hasProgram("systemd-analyze");

async function readUnit(name: string): Promise<string> {
  return await Deno.readTextFile(new URL(`systemd/${name}`, DOCS));
}

/** Every value of a key, in order. */
function valuesOf(unit: string, key: string): string[] {
  return Array.from(unit.matchAll(new RegExp(`^${key}=(.*)$`, "gm")), ([, value = ""]) => value);
}

/** Asserts that these words are a command with options that it has. */
function assertCommand(words: readonly string[]): void {
  const [name = "", ...rest] = words;
  const shape = commandShapes(createProgram()).find((one) => keyOf(one) === name) ?? assert.fail(name);
  const known = shape.options.flatMap(({ names }) => names);
  for (const option of rest.filter((word) => word.startsWith("-"))) assert.ok(known.includes(option), option);
}

for (const name of UNITS) {
  Deno.test({
    name: `docs/systemd/${name} starts a command that there is, and knows its exit codes`,
    ignore,
    async fn() {
      const unit = await readUnit(name);
      const [start = ""] = valuesOf(unit, "ExecStart");
      const [program, ...words] = start.split(" ");
      assert.equal(program, "/usr/local/bin/postern");
      assertCommand(words);
      assert.deepEqual(valuesOf(unit, "Type"), ["notify"]);
      assert.deepEqual(valuesOf(unit, "SuccessExitStatus"), [String(EXIT.interrupted)]);
      assert.deepEqual(valuesOf(unit, "RestartPreventExitStatus"), [
        `${EXIT.wrongUsage} ${EXIT.lostForGood}`,
      ]);
      assert.deepEqual(valuesOf(unit, "ExecReload"), ["/bin/kill -HUP $MAINPID"]);
      assert.deepEqual(valuesOf(unit, "MemoryDenyWriteExecute"), [], "V8 aborts with it");
    },
  });

  Deno.test({
    name: `systemd takes docs/systemd/${name}, and finds it confined`,
    ignore: noSystemd,
    async fn() {
      await using folder = await temporaryFolder();
      // What is not installed here is no fault of the unit.
      const unit = (await readUnit(name)).replaceAll("/usr/local/bin/postern", "/bin/true");
      const file = `${folder.path}/${name}`;
      await Deno.writeTextFile(file, unit);
      const analyze = requireProgram("systemd-analyze");
      const { stdout, stderr } = await runOrThrow(analyze, { args: ["verify", "--man=no", file] });
      assert.equal(stdout + stderr, "");
      const security = ["security", "--offline=yes", "--no-pager", `--threshold=${EXPOSURE[name]}`, file];
      const { code, stdout: table } = await run(analyze, { args: security });
      assert.equal(code, 0, table);
    },
  });
}

Deno.test({
  name: "docs/systemd/postern.service lets connections finish, and has files for those that are allowed",
  ignore,
  async fn() {
    const unit = await readUnit("postern.service");
    const byDefault = (key: string) => configKeys().find(({ path }) => path === key)?.default;
    const drainMs = parseDuration(String(byDefault("limits.drainTimeout"))) ?? assert.fail();
    assert.ok(Number(valuesOf(unit, "TimeoutStopSec")[0]) * 1000 >= drainMs + 10_000);
    assert.ok(Number(valuesOf(unit, "LimitNOFILE")[0]) >= 2 * Number(byDefault("limits.maxConnections")));
    assert.deepEqual(valuesOf(unit, "KillMode"), ["mixed"]);
  },
});

interface ComposeService {
  readonly command: readonly string[];
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly stop_grace_period: string;
  readonly volumes: readonly string[];
}

Deno.test({
  name: "docs/compose.yaml starts commands that there are, as confined as the image allows",
  ignore,
  async fn() {
    const { services } = parse(await Deno.readTextFile(new URL("compose.yaml", DOCS)));
    assert.deepEqual(Object.keys(services), ["gateway", "agent"]);
    for (const service of Object.values<ComposeService>(services)) {
      assertCommand(service.command);
      assert.equal(service.read_only, true);
      assert.deepEqual(service.cap_drop, ["ALL"]);
      assert.ok((parseDuration(service.stop_grace_period) ?? 0) >= 20_000);
      const [config] = service.volumes;
      assert.equal(
        config,
        `.${config?.split(":")[1]?.replace("/etc/postern", "")}:${service.command.at(-1)}:ro`,
      );
    }
  },
});

Deno.test({
  name:
    "docs/systemd/postern runs the gateway as the tasks do, from what docs/install.md and the image cache",
  ignore,
  async fn() {
    const script = (await readUnit("postern")).replaceAll(/\\\n\s*/g, "");
    const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", DOCS)));
    const asTask = script.match(/^exec .*$/m)?.[0].replace("exec /usr/local/bin/", "").replace(
      " --cached-only",
      "",
    )
      .replace("/opt/postern/", "").replace(' "$@"', "");
    assert.equal(asTask, tasks.postern);

    const entries = (text: string) =>
      text.match(/cli\/main\.ts[^]*? plugins\//)?.[0].match(/[\w/]+(?:\.ts|\/)/g);
    const dockerfile = await Deno.readTextFile(new URL("../Dockerfile", DOCS));
    const run = dockerfile.split("\n").find((line) => line.startsWith("RUN")) ?? assert.fail();
    assert.deepEqual(
      entries(await Deno.readTextFile(new URL("install.md", DOCS))),
      entries(run.replaceAll(/[",]+/g, "")),
    );
  },
});
