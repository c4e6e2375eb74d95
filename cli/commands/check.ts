import { Command } from "commander";
import { stringify } from "yaml";
import { adminPermissions } from "../../core/admin/permissions.ts";
import type { WorkerPermissions } from "../../core/config/permissions.ts";
import { formatProblem } from "../../core/config/problem.ts";
import { redact } from "../../core/config/redact.ts";
import { PLANE_PERMISSIONS, type Prepared } from "../../core/supervisor/supervisor.ts";
import { CommandError } from "../command_error.ts";
import { addConfigOptions, configFile, configName, type ConfigOptions } from "../config_options.ts";
import { describePermissions } from "../describe_gateway.ts";
import { EXIT } from "../exit_codes.ts";
import { type ConfigWarning, inspectConfig } from "../inspect_config.ts";
import { print } from "../print.ts";

interface CheckOptions extends ConfigOptions {
  readonly json?: boolean;
}

/** `postern check`: reads everything that the gateway would read, starts nothing. */
export function checkCommand(): Command {
  return addConfigOptions(new Command("check"))
    .description("reads the config, fills in the permissions, prints both")
    .option("--json", "as JSON, what is wrong too")
    .addHelpText("after", "\nExample:\n  deno task postern check --config postern.yaml")
    .action(async (options: CheckOptions) => {
      const file = await configFile(options);
      const { problems, warnings, prepared } = await inspectConfig(options, file);
      if (options.json) {
        print(toJson({ ok: prepared !== undefined, file: configName(file), problems, warnings, prepared }));
      } else for (const warning of warnings) print(describeWarning(warning));
      if (prepared === undefined) {
        const said = options.json ? "" : problems.map(formatProblem).join("\n"); // it stands in what was printed
        throw new CommandError(said, EXIT.wrongUsage);
      }
      if (!options.json) print(describe(prepared, configName(file)));
    });
}

interface Checked {
  readonly ok: boolean;
  readonly file: string;
  readonly problems: readonly unknown[];
  readonly warnings: readonly ConfigWarning[];
  readonly prepared: Prepared | undefined;
}

function toJson({ prepared, warnings, ...rest }: Checked): string {
  const value = {
    ...rest,
    warnings: warnings.map(({ event, fields }) => ({ event, ...fields })),
    ...(prepared && { permissions: Object.fromEntries(grantsOf(prepared)), config: shownConfig(prepared) }),
  };
  return JSON.stringify(value, null, 2) + "\n";
}

function describeWarning({ event, fields }: ConfigWarning): string {
  return `# ${event} ${JSON.stringify(fields)}\n`;
}

function describe(prepared: Prepared, name: string): string {
  const permissions = grantsOf(prepared).map(([worker, granted]) =>
    `  ${worker}: ${describePermissions(granted)}`
  );
  return `${name} is fine.\n\nPermissions:\n${
    permissions.join("\n")
  }\n\nConfig, with defaults (times in ms, sizes in bytes):\n` +
    stringify(shownConfig(prepared)).replaceAll(/^/gm, "  ").trimEnd() + "\n";
}

/** Without its secrets. */
function shownConfig({ config, plugins }: Prepared): unknown {
  return redact({
    ...config,
    plugins: Object.fromEntries(plugins.map((plugin) => [plugin.name, plugin.config])),
  });
}

/** What each worker may do. */
function grantsOf({ config, plugins, acme }: Prepared): [worker: string, granted: WorkerPermissions][] {
  return [
    ["data plane, with its inline plugins", PLANE_PERMISSIONS],
    ["admin", adminPermissions(config.admin) as WorkerPermissions],
    ...(acme ? [["acme", acme.permissions] as [string, WorkerPermissions]] : []),
    ...plugins.filter(({ isolation }) => isolation === "worker")
      .map((plugin): [string, WorkerPermissions] => [`plugin ${plugin.name}`, plugin.permissions]),
  ];
}
