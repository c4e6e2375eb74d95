import { Command } from "commander";
import { stringify } from "yaml";
import { adminPermissions } from "../../core/admin/permissions.ts";
import type { WorkerPermissions } from "../../core/config/permissions.ts";
import { redact } from "../../core/config/redact.ts";
import { warnOfMissingCertificates } from "../../core/supervisor/missing_certificates.ts";
import { PLANE_PERMISSIONS, type Prepared } from "../../core/supervisor/supervisor.ts";
import { loadCertificates } from "../../core/tls/certificates.ts";
import { createLog } from "../../core/log.ts";
import {
  addConfigOptions,
  configFile,
  configName,
  type ConfigOptions,
  prepareOptions,
} from "../config_options.ts";
import { describePermissions } from "../describe_gateway.ts";
import { print } from "../print.ts";

/** `postern check`: reads everything that the gateway would read, starts nothing. */
export function checkCommand(): Command {
  return addConfigOptions(new Command("check"))
    .description("reads the config, fills in the permissions, prints both")
    .addHelpText("after", "\nExample:\n  deno task postern check --config postern.yaml")
    .action(async (options: ConfigOptions) => {
      const file = await configFile(options);
      const prepared = await prepareOptions(options, file);
      const warn = createLog(
        "check",
        "warn",
        ({ event, fields }) => print(`# ${event} ${JSON.stringify(fields)}\n`),
      );
      if (file !== undefined) {
        const certificates = await loadCertificates(prepared.config.tls.certificates, warn);
        warnOfMissingCertificates(prepared.plugins, certificates, warn);
      }
      print(describe(prepared, configName(file)));
    });
}

function describe({ config, plugins }: Prepared, name: string): string {
  const shown = redact({
    ...config,
    plugins: Object.fromEntries(plugins.map((plugin) => [plugin.name, plugin.config])),
  });
  const workers: [string, WorkerPermissions][] = [
    ["data plane, with its inline plugins", PLANE_PERMISSIONS],
    ["admin", adminPermissions(config.admin) as WorkerPermissions],
    ...plugins.filter(({ isolation }) => isolation === "worker")
      .map((plugin): [string, WorkerPermissions] => [`plugin ${plugin.name}`, plugin.permissions]),
  ];
  const permissions = workers.map(([worker, granted]) => `  ${worker}: ${describePermissions(granted)}`);
  return `${name} is fine.\n\nPermissions:\n${
    permissions.join("\n")
  }\n\nConfig, with defaults (times in ms, sizes in bytes):\n` +
    stringify(shown).replaceAll(/^/gm, "  ").trimEnd() + "\n";
}
