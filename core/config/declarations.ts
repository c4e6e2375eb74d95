import { z } from "zod";
import { GatewayError } from "../errors.ts";
import type { PluginDeclaration } from "./config.ts";
import { describeValue } from "./describe.ts";
import { checkValue } from "./issues.ts";
import { formatPath } from "./path.ts";
import { PERMISSION_KINDS, type PermissionKind, templateFault } from "./permissions.ts";

/** What a plugin may be called: its folder, its word in the config, a label in metrics. */
const PLUGIN_NAME = /^[a-z][a-z0-9-]{0,62}$/;

/** Checks declared plugins by name, and makes each module an absolute `file:` URL, seen from `base`. */
export function declarationsSchema(base: URL): z.ZodType<Record<string, PluginDeclaration>> {
  const error = "A plugin's name has lower-case letters, digits and dashes, and begins with a letter";
  return z.record(z.string().regex(PLUGIN_NAME, { error }), declarationSchema(base));
}

function declarationSchema(base: URL) {
  return z.strictObject({
    module: moduleUrl(base),
    isolation: z.enum(["inline", "worker"]).default("worker"),
    permissions: permissionsSchema().prefault({}),
  }).superRefine(({ isolation, permissions }, context) => {
    const some = Object.values(permissions).some((entries) =>
      entries === true || (entries && entries.length > 0)
    );
    if (isolation === "inline" && some) {
      const message =
        'An inline plugin has the permissions of the data plane and no others; use "isolation: worker"';
      context.addIssue({ code: "custom", path: ["permissions"], message });
    }
  });
}

function permissionsSchema() {
  const entry = z.string().superRefine((text, context) => {
    const message = templateFault(text);
    if (message !== undefined) context.addIssue({ code: "custom", message });
  });
  const entries = z.union([z.boolean(), z.array(entry)]).exactOptional();
  const shape = Object.fromEntries(PERMISSION_KINDS.map((kind) => [kind, entries]));
  return z.strictObject(shape as Record<PermissionKind, typeof entries>);
}

function moduleUrl(base: URL): z.ZodType<string, unknown> {
  return z.string().transform((text, context) => {
    const url = URL.parse(text, base);
    if (text !== "" && url?.protocol === "file:" && url.host === "") return url.href;
    const message = `Expected a local file such as "./plugins/mine/mod.ts", got ${describeValue(text)}`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });
}

/**
 * The plugins that a `deno.json` declares, under its key `plugins`; none when it has no such key.
 *
 * @param denoJson The parsed file.
 * @param baseUrl The file's own URL: modules are relative to it.
 * @throws {GatewayError} `config-invalid`, naming everything that is wrong, in one line.
 */
export function readDeclarations(denoJson: unknown, baseUrl: URL): Record<string, PluginDeclaration> {
  const schema = z.object({ plugins: declarationsSchema(baseUrl).prefault({}) });
  const checked = checkValue(schema, denoJson);
  if (checked.ok) return checked.value.plugins;
  const issues = checked.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${formatPath(path)}: ${message}`
  );
  throw new GatewayError("config-invalid", `deno.json: ${issues.join("; ")}`);
}
