import { checkValue, type ConfigIssue } from "../../../core/config/issues.ts";
import type { ConfigPath } from "../../../core/config/path.ts";
import { type ConfigProblem, formatProblem, problemAt, sortProblems } from "../../../core/config/problem.ts";
import { type ConfigNode, locate, plainValue } from "../../../core/config/tree.ts";
import { readYaml } from "../../../core/config/yaml.ts";
import { GatewayError, z } from "../../../core/plugin/mod.ts";
import { type Allowance, ALLOWANCE_FIELDS } from "./allowance.ts";
import { isPartyName } from "./printable.ts";
import { hideTokens, isToken } from "./token.ts";
import { TOKEN_LIMITS, type TokenLimits } from "./token_limits.ts";
import { withoutEnvironment } from "./without_environment.ts";

/** An entry of a token file. Times are in milliseconds since 1970. */
export interface TokenEntry {
  /** Public: log lines and principals are made of it. */
  readonly id: string;
  readonly name?: string | undefined;
  /** Of the token, 64 hex digits in lower case. */
  readonly sha256: string;
  readonly created: number;
  readonly expires?: number | undefined;
  /** A time, or `true` where only that is known. */
  readonly revoked?: number | boolean | undefined;
  /** Absent: the default allowance. */
  readonly allow?: Allowance | undefined;
  readonly limits?: TokenLimits | undefined;
}

export type TokenFileResult =
  | { readonly ok: true; readonly entries: readonly TokenEntry[] }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** More problems than this in one message help nobody. */
const MAX_TOLD = 3;

// These messages do not show the value: it may be a secret of another kind, put there in place of its digest.
const sha256 = z.string('Expected the SHA-256 of a token, as "postern token create" writes it')
  .regex(
    /^[0-9a-fA-F]{64}$/,
    'Expected 64 hex digits, the SHA-256 of a token, as "postern token create" writes it',
  )
  .transform((digits) => digits.toLowerCase());

const id = z.string("Expected an id: letters, digits, - and _")
  .regex(/^[\w-]{1,64}$/, "Expected an id: letters, digits, - and _, at most 64")
  .refine(
    (text) => !isToken(text),
    "This is a token, which must stand nowhere: its id is what was told with it",
  );

const TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/;
const TIME_MESSAGE = 'Expected a time such as "2027-01-31" or "2027-01-31T12:00:00Z"';
const time = z.string(TIME_MESSAGE).transform((text, context) => {
  const ms = parseTime(text);
  if (ms !== undefined) return ms;
  context.addIssue({ code: "custom", message: TIME_MESSAGE });
  return z.NEVER;
});

/** What is not listed in an `allow` is not allowed; what may be had without one is another matter. */
const allow = z.strictObject({
  subdomains: ALLOWANCE_FIELDS.subdomains.default([]),
  hostnames: ALLOWANCE_FIELDS.hostnames.default([]),
  ports: ALLOWANCE_FIELDS.ports.default([]),
  protocols: ALLOWANCE_FIELDS.protocols.optional(),
  access: ALLOWANCE_FIELDS.access.optional(),
  share: ALLOWANCE_FIELDS.share.optional(),
}).transform(({ protocols, access, share, ...rest }): Allowance => ({
  ...rest,
  ...(share !== undefined && { share }),
  ...(protocols !== undefined && { protocols }),
  ...(access !== undefined && { access }),
}));

const entry = z.strictObject({
  id,
  name: z.string().refine(isPartyName, "Expected a name of at most 256 printable characters").optional(),
  sha256,
  created: time,
  expires: time.optional(),
  revoked: z.union([z.boolean(), time], { error: `${TIME_MESSAGE}, or true` }).optional(),
  allow: allow.optional(),
  limits: TOKEN_LIMITS.optional(),
}, {
  error: ({ code }) => code === "invalid_type" ? "Expected an entry with id, sha256 and created" : undefined,
});

const entries: z.ZodType<readonly TokenEntry[]> = z.array(entry).transform((all, context) => {
  for (const key of ["id", "sha256"] as const) {
    const seen = new Set<string>();
    for (const [i, { [key]: value }] of all.entries()) {
      const message = `Another entry has this ${key} already`;
      if (seen.has(value)) context.addIssue({ code: "custom", path: [i, key], message });
      seen.add(value);
    }
  }
  return all;
});

/**
 * Reads a time as a token file has it.
 *
 * @returns Milliseconds since 1970; `undefined` when it is none. A day without a time begins at midnight UTC.
 */
export function parseTime(text: string): number | undefined {
  const ms = TIME.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/** Why a token is not good any more at a time, or `undefined`. */
export function endOf(
  { revoked = false, expires = Infinity }: TokenEntry,
  now: number,
): "revoked" | "expired" | undefined {
  if (revoked !== false) return "revoked"; // also with a time to come: somebody wanted it gone
  return expires <= now ? "expired" : undefined;
}

/**
 * Reads a token file. Needs no permission, and never throws.
 *
 * @param file As the user named it, for the problems; no problem shows what may be a token.
 */
export function readTokenFile(text: string, file: string): TokenFileResult {
  const read = withoutEnvironment(() =>
    readYaml({
      text,
      env: () => undefined,
      locationOf(offset, lines) {
        const { line, col } = lines.linePos(offset);
        return { file, line: Math.max(1, line), column: Math.max(1, col) };
      },
    })
  );
  if (read.problems.length > 0) return refused(read.problems);
  const { root } = read;
  if (root === undefined || (root.kind === "scalar" && root.value === null)) return { ok: true, entries: [] };
  if (root.kind !== "list") {
    return {
      ok: false,
      problems: [problemAt(root.at, [], 'Expected a list of tokens, each with "- id: …"')],
    };
  }
  const checked = checkValue(entries, plainValue(root));
  if (checked.ok) return { ok: true, entries: checked.value };
  return refused(checked.issues.map((issue) => toProblem(root, issue)));
}

/** Whoever puts a token where something else belongs must not find it in the log. */
function refused(problems: readonly ConfigProblem[]): TokenFileResult {
  const told = problems.map((one) => ({
    ...one,
    path: hideTokens(one.path),
    message: hideTokens(one.message),
  }));
  return { ok: false, problems: sortProblems(told) };
}

/**
 * {@link readTokenFile}, for who can't go on without.
 *
 * @throws {GatewayError} `config-invalid`, naming the entry and what is wrong with it.
 */
export function parseTokenFile(text: string, file: string): readonly TokenEntry[] {
  const result = readTokenFile(text, file);
  if (result.ok) return result.entries;
  const told = result.problems.slice(0, MAX_TOLD).map(formatProblem);
  const rest = result.problems.length - told.length;
  throw new GatewayError("config-invalid", told.join("; ") + (rest > 0 ? `; and ${rest} more` : ""));
}

function toProblem(root: ConfigNode, { path, message, unknownKey }: ConfigIssue): ConfigProblem {
  const place = locate(root, path, unknownKey ? "key" : "value");
  return problemAt(place, named(root, path), message);
}

/** `["ci", "sha256"]` for `[2, "sha256"]`: people know entries by their id. */
function named(root: ConfigNode, [index, ...rest]: ConfigPath): ConfigPath {
  const node = root.kind === "list" && typeof index === "number" ? root.items[index] : undefined;
  const found = node?.kind === "map" ? node.entries.get("id")?.value : undefined;
  const text = found?.kind === "scalar" && typeof found.value === "string" ? found.value : undefined;
  return text !== undefined && id.safeParse(text).success ? [text, ...rest] : [index ?? 0, ...rest];
}
