import type { z } from "zod";
import { describeKind, describeValue, joinOr } from "./describe.ts";
import { nearest } from "./nearest.ts";
import { type ConfigPath, formatPath } from "./path.ts";
import { isSecretPath } from "./redact.ts";
import { child, knownKeys } from "./schema_walk.ts";

/** One thing that a schema does not accept. Plain data: plugins check their sections in workers. */
export interface ConfigIssue {
  /** From what was checked: `["routes", 2, "to"]`. For an unknown key, it ends with that key. */
  readonly path: ConfigPath;
  /** What is, and what was wanted; one line. Values under keys named like a secret are not shown. */
  readonly message: string;
  /** True when the key itself is at fault, not its value. */
  readonly unknownKey?: true;
}

export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly issues: readonly ConfigIssue[] };

/** Checks `value`, with the same words for the core's config and for the section of any plugin. */
export function checkValue<T>(schema: z.ZodType<T>, value: unknown): Checked<T> {
  const result = schema.safeParse(value);
  if (result.success) return { ok: true, value: result.data };
  return { ok: false, issues: issuesOf(result.error, { schema, value }) };
}

/** What an error was about: with it, messages can show the value and name the nearest known key. */
export interface CheckedAgainst {
  readonly schema?: z.core.$ZodType;
  readonly value?: unknown;
}

/** The issues of a zod error as plain data, in words for people. A message that the schema's author gave is kept. */
export function issuesOf(error: z.core.$ZodError, about: CheckedAgainst = {}): ConfigIssue[] {
  return relevant(error.issues as Issue[]).flatMap((issue) => toIssues(issue, [], about));
}

type Issue = z.core.$ZodIssue;

/** How zod's own messages begin: the ones that are put into other words here. */
function isZodMessage({ message }: Issue): boolean {
  return /^(?:Invalid|Too (?:big|small)|Unrecognized)\b/.test(message);
}

function toIssues(issue: Issue, prefix: ConfigPath, about: CheckedAgainst): ConfigIssue[] {
  const path = [...prefix, ...pathOf(issue)];
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(path, key, about));
  if (issue.code === "invalid_key") return [{ path, message: keyMessage(issue), unknownKey: true }];
  if (!isZodMessage(issue)) return [{ path, message: issue.message }];
  if (issue.code === "invalid_union") return unionIssues(issue, path, about);
  return [{ path, message: phrase(wanted(issue), path, about) }];
}

function pathOf(issue: Issue): ConfigPath {
  return issue.path.map((segment) => typeof segment === "number" ? segment : String(segment));
}

/** What the schema of a record's keys says. */
function keyMessage({ issues: [fault] }: Extract<Issue, { code: "invalid_key" }>): string {
  return fault === undefined || isZodMessage(fault) ? "This key is not allowed" : fault.message;
}

function unknownKey(parent: ConfigPath, key: string, { schema, value }: CheckedAgainst): ConfigIssue {
  const known = schema === undefined ? [] : knownKeys(schema, parent, value);
  return { path: [...parent, key], message: `Unknown key${hint(key, known)}`, unknownKey: true };
}

/** `; did you mean "idleTimeout"?`, or what there is when nothing is near. */
export function hint(word: string, known: readonly string[]): string {
  const near = nearest(word, known);
  if (near !== undefined) return `; did you mean "${near}"?`;
  return known.length === 0 ? "" : `; known here: ${known.join(", ")}`;
}

/**
 * The alternative that was probably meant speaks for all: the one whose fault lies deepest. When none accepts the
 * kind of value at all, every alternative is named.
 */
function unionIssues(
  issue: Extract<Issue, { code: "invalid_union" }>,
  path: ConfigPath,
  about: CheckedAgainst,
): ConfigIssue[] {
  const input = valueAt(about.value, path);
  if (issue.errors.length === 0) return [{ path, message: phrase(discriminators(issue), path, about) }];
  const close = issue.errors.filter((errors) => !errors.some((one) => isWrongKind(one, input)));
  const [meant] = close.toSorted((a, b) => depth(b) - depth(a));
  if (meant !== undefined && (depth(meant) > 0 || speaksForAll(meant, close.length))) {
    return relevant(meant).flatMap((one) => toIssues(one, path, about));
  }
  const firsts = issue.errors.flatMap((errors) => errors.slice(0, 1));
  const wants = new Set(firsts.map((one) => ownWant(one) ?? wanted(one)));
  return [{ path, message: phrase(joinOr([...wants]), path, about) }];
}

/** Whether what one alternative says of the value itself is better than a list of them all. */
function speaksForAll([first]: readonly Issue[], howMany: number): boolean {
  if (first === undefined) return false;
  return isZodMessage(first) ? howMany === 1 : ownWant(first) === undefined;
}

/** Once the kind of a value is wrong, what else is said of the same value is an echo. */
function relevant(issues: readonly Issue[]): Issue[] {
  const wrong = new Set(
    issues.filter((one) => one.code === "invalid_type").map((one) => formatPath(pathOf(one))),
  );
  return issues.filter((one) => one.code === "invalid_type" || !wrong.has(formatPath(pathOf(one))));
}

function depth(errors: readonly Issue[]): number {
  return Math.max(0, ...errors.map((one) => one.path.length + (one.code === "unrecognized_keys" ? 1 : 0)));
}

/** Whether an alternative is out of the question for this kind of value. */
function isWrongKind(issue: Issue, input: unknown): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === "invalid_type") return true;
  return issue.code === "invalid_value" && !issue.values.some((value) => typeof value === typeof input);
}

/** From the message of a field of ours, what it wanted; see `fields.ts`. */
function ownWant(issue: Issue): string | undefined {
  return /^(?:Expected (.+), got |Required: (.+))/.exec(issue.message)?.slice(1).find(Boolean);
}

function discriminators(issue: Extract<Issue, { code: "invalid_union" }>): string {
  const options = "options" in issue && Array.isArray(issue.options) ? issue.options : [];
  return options.length === 0 ? "another value" : oneOf(options);
}

/** Puts it together: what was wanted, and what is there. */
function phrase(want: string, path: ConfigPath, { value: root }: CheckedAgainst): string {
  if (root === undefined && path.length > 0) return `Expected ${want}`;
  const value = valueAt(root, path);
  if (value === undefined) return `Required: ${want}`;
  return `Expected ${want}, got ${isSecretPath(path) ? describeKind(value) : describeValue(value)}`;
}

function valueAt(root: unknown, path: ConfigPath): unknown {
  return path.reduce<unknown>((value, segment) => child(value, segment), root);
}

const NOUNS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "a mapping",
  record: "a mapping",
};

const FORMATS: Readonly<Record<string, string>> = {
  url: "a URL",
  email: "an e-mail address",
  uuid: "a UUID",
  ipv4: "an IPv4 address",
  ipv6: "an IPv6 address",
};

/** What a schema asks for at the place of an issue. */
function wanted(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return NOUNS[issue.expected] ?? issue.expected;
    case "invalid_value":
      return oneOf(issue.values);
    case "too_small":
      return lowerBound(issue.origin, Number(issue.minimum), issue.inclusive ?? true);
    case "too_big":
      return upperBound(issue.origin, Number(issue.maximum), issue.inclusive ?? true);
    case "invalid_format":
      return FORMATS[issue.format] ?? (issue.pattern ? `text that matches ${issue.pattern}` : issue.format);
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    default:
      return "another value";
  }
}

function oneOf(values: readonly unknown[]): string {
  return joinOr(values.map(describeValue));
}

function lowerBound(origin: string, minimum: number, inclusive: boolean): string {
  if (origin === "string") return minimum === 1 ? "text that is not empty" : `at least ${minimum} characters`;
  if (origin === "array" || origin === "set") {
    return `at least ${minimum} ${minimum === 1 ? "entry" : "entries"}`;
  }
  return inclusive ? `at least ${minimum}` : `more than ${minimum}`;
}

function upperBound(origin: string, maximum: number, inclusive: boolean): string {
  if (origin === "string") return `at most ${maximum} characters`;
  if (origin === "array" || origin === "set") {
    return `at most ${maximum} ${maximum === 1 ? "entry" : "entries"}`;
  }
  return inclusive ? `at most ${maximum}` : `less than ${maximum}`;
}
