import { Command, InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../../core/config/units.ts";
import { nearest } from "../../core/config/nearest.ts";
import { ALLOWANCE_FIELDS, formatPorts } from "../../plugins/ws-agent/auth/allowance.ts";
import { isPartyName } from "../../plugins/ws-agent/auth/printable.ts";
import { createToken, createTokenId, digestOf } from "../../plugins/ws-agent/auth/token.ts";
import { parseTime } from "../../plugins/ws-agent/auth/token_file.ts";
import { TOKEN_LIMITS } from "../../plugins/ws-agent/auth/token_limits.ts";
import { CommandError } from "../command_error.ts";
import { EXIT } from "../exit_codes.ts";
import { print, printHint } from "../print.ts";
import { renderTokens, tokensAsJson } from "../render_tokens.ts";
import {
  withRevoked,
  withToken,
  type WrittenAllowance,
  type WrittenLimits,
  writtenTime,
} from "../token_document.ts";
import { findTokenFile, type TokenLocation } from "../token_location.ts";
import { changeTokens, readTokens } from "../token_store.ts";

const DAY_MS = 86_400_000;

interface FileOptions {
  readonly file?: string;
  readonly config?: string;
}

interface CreateOptions extends FileOptions {
  readonly name?: string;
  readonly expires?: number;
  readonly subdomain?: readonly string[];
  readonly hostname?: readonly string[];
  readonly port?: readonly string[];
  readonly protocol?: readonly string[];
  readonly share?: boolean;
  readonly bandwidth?: string;
  readonly maxStreams?: number;
  readonly maxTunnels?: number;
  readonly maxServices?: number;
  readonly access?: readonly string[];
}

/** `postern token`: the tokens that agents show to a gateway. */
export function tokenCommand(): Command {
  return new Command("token")
    .description("makes, lists and revokes the tokens of agents")
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand())
    .addHelpText(
      "after",
      "\nExample:\n  deno task postern token create --name ci --expires 30d --subdomain 'ci-*'",
    );
}

function createCommand(): Command {
  const command = new Command("create")
    .description("makes a token and prints it, this once; the file keeps its SHA-256")
    .option("--name <name>", "whose it is, for log and status", parseName)
    .option("--expires <time>", "when it ends: 30d, 12h or 2027-01-31 (default: never)", parseExpiry)
    .addOption(repeatable("--subdomain <pattern>", "a name below the domain: ci or 'ci-*'", parseSubdomain))
    .addOption(repeatable("--hostname <name>", "a full host name, also '*.example.com'", parseHostname))
    .addOption(repeatable("--port <ports>", "a port or a range: 30000-30100", parsePort))
    .addOption(repeatable("--protocol <protocol>", "http, tcp, tls or udp (default: all)", parseProtocol))
    .addOption(
      repeatable("--access <service>", "a private service of somebody else: OWNER/NAME", parseAccess),
    )
    .option("--share", "several agents with it may serve one name or port together")
    .option(
      "--bandwidth <size>",
      "what it may use in a second, each way: 10MiB (default: no limit)",
      parseBandwidth,
    )
    .option("--max-streams <n>", "connections to its services at once (default: no limit)", parseCount)
    .option("--max-tunnels <n>", "connections of its agents at once (default: no limit)", parseCount)
    .option("--max-services <n>", "names and ports at once (default: no limit)", parseCount);
  return addFileOptions(command)
    .addHelpText(
      "after",
      "\nWithout --subdomain, --hostname, --port and --access it may register any name right below the domain, and any port;" +
        "\nwith one of them, what they say and nothing else.\n\nExample:" +
        "\n  deno task postern token create --name ci --expires 30d --subdomain 'ci-*' --port 30000-30100",
    )
    .action(create);
}

function listCommand(): Command {
  const command = new Command("list")
    .description("shows the tokens of the file, but not what agents show")
    .option("--json", "as JSON");
  return addFileOptions(command)
    .addHelpText("after", "\nExample:\n  deno task postern token list --json")
    .action(list);
}

function revokeCommand(): Command {
  const command = new Command("revoke")
    .description("ends a token; a gateway that runs ends its tunnels")
    .argument("<id>", "as token list shows it");
  return addFileOptions(command)
    .addHelpText("after", "\nExample:\n  deno task postern token revoke t3fa94c1d")
    .action(revoke);
}

async function create(options: CreateOptions): Promise<void> {
  const location = await findTokenFile(options);
  const { name, expires } = options;
  const token = createToken();
  const id = createTokenId();
  await changeTokens(location.file, ({ text }) =>
    withToken(text, {
      id,
      name,
      sha256: digestOf(token).toHex(),
      created: writtenTime(Date.now()),
      expires: expires === undefined ? undefined : writtenTime(expires),
      allow: allowanceOf(options),
      limits: limitsOf(options),
    }));
  printHint(`Token ${id} is in ${location.file}. This is the only time that it is shown:\n`);
  print(`${token}\n`);
  printHint(
    `Give it to an agent as POSTERN_TOKEN, or as "token" in its agent.yaml.\n${unnamedHint(location)}`,
  );
}

async function list({ json, ...options }: FileOptions & { readonly json?: boolean }): Promise<void> {
  const { file } = await findTokenFile(options);
  const { text, entries } = await readTokens(file);
  if (text === undefined) {
    throw new CommandError(`There is no file "${file}"; "postern token create" makes it`, EXIT.wrongUsage);
  }
  print(json ? tokensAsJson(entries, Date.now()) : renderTokens(entries, Date.now()));
}

async function revoke(id: string, options: FileOptions): Promise<void> {
  const { file } = await findTokenFile(options);
  let wasGood = false;
  await changeTokens(file, ({ text, entries }) => {
    const entry = entries.find((one) => one.id === id);
    if (entry === undefined || text === undefined) throw noSuchToken(id, file, entries.map((one) => one.id));
    wasGood = entry.revoked === undefined || entry.revoked === false;
    return wasGood ? withRevoked(text, new Set([id]), writtenTime(Date.now())) : undefined;
  });
  printHint(wasGood ? `Token ${id} is revoked in ${file}\n` : `Token ${id} was revoked already\n`);
}

function noSuchToken(id: string, file: string, known: readonly string[]): CommandError {
  const near = nearest(id, known);
  const hint = near === undefined ? '"postern token list" shows them' : `did you mean ${near}?`;
  // What was given may be a token: it is not repeated.
  return new CommandError(`There is no token with this id in "${file}"; ${hint}`, EXIT.wrongUsage);
}

function unnamedHint({ file, unnamedIn }: TokenLocation): string {
  if (unnamedIn === undefined) return "";
  return `${unnamedIn} does not name ${file} yet: it belongs to the plugin ws-agent, as "tokens"\n`;
}

/** What is not limited in any way stands in no `allow`; within one, what is not listed is not allowed. */
function allowanceOf(
  { subdomain, hostname, port, protocol, access, share }: CreateOptions,
): WrittenAllowance | undefined {
  const names = { subdomains: subdomain, hostnames: hostname };
  const isLimited = [subdomain, hostname, port, access].some((limit) => limit !== undefined);
  if (isLimited) return { ...names, ports: port, protocols: protocol, access, share };
  if (protocol === undefined && !share) return undefined;
  const has = (...some: readonly string[]) => protocol?.some((one) => some.includes(one)) ?? true;
  return {
    subdomains: has("http", "tls") ? ["*"] : undefined,
    ports: has("tcp", "udp") ? ["1-65535"] : undefined,
    protocols: protocol,
    share,
  };
}

function limitsOf(
  { bandwidth, maxStreams, maxTunnels, maxServices }: CreateOptions,
): WrittenLimits | undefined {
  const limits = { bandwidth, streams: maxStreams, tunnels: maxTunnels, services: maxServices };
  return Object.values(limits).some((limit) => limit !== undefined) ? limits : undefined;
}

function addFileOptions(command: Command): Command {
  return command
    .option(
      "-c, --config <file>",
      "the config that names the token file (default: postern.yaml if it is there)",
    )
    .option("--file <file>", "the token file (default: what the config names, else tokens.yaml)");
}

/** An option that may be given several times; each value is checked, and written as it is compared later. */
function repeatable(flags: string, description: string, parse: (text: string) => string): Option {
  return new Option(flags, `${description}; repeatable`)
    .argParser((text: string, before: readonly string[] = []) => [...before, parse(text)]);
}

function parseName(text: string): string {
  if (isPartyName(text)) return text;
  throw new InvalidArgumentError("Expected at most 256 printable characters.");
}

function parseExpiry(text: string): number {
  const [, days] = /^(\d{1,5})d$/.exec(text) ?? [];
  const ms = days === undefined ? parseDuration(text) : Number(days) * DAY_MS;
  const expires = ms === undefined ? parseTime(text) : Date.now() + ms;
  if (expires === undefined) {
    throw new InvalidArgumentError("Expected a time such as 30d, 12h or 2027-01-31.");
  }
  if (expires <= Date.now()) throw new InvalidArgumentError("Expected a time to come.");
  return expires;
}

function parseSubdomain(text: string): string {
  return checked(ALLOWANCE_FIELDS.subdomains.element.safeParse(text));
}

function parseHostname(text: string): string {
  return checked(ALLOWANCE_FIELDS.hostnames.element.safeParse(text)).text;
}

function parsePort(text: string): string {
  return formatPorts(checked(ALLOWANCE_FIELDS.portRange.safeParse(text)));
}

function parseAccess(text: string): string {
  return checked(ALLOWANCE_FIELDS.access.element.safeParse(text));
}

/** Written as it was given: `10MiB` says more than a number of bytes. */
function parseBandwidth(text: string): string {
  checked(TOKEN_LIMITS.shape.bandwidth.safeParse(text));
  return text;
}

function parseCount(text: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (TOKEN_LIMITS.shape.streams.safeParse(count).success) return count;
  throw new InvalidArgumentError("Expected a whole number, 1 or more.");
}

function parseProtocol(text: string): string {
  const { data } = ALLOWANCE_FIELDS.protocols.element.safeParse(text);
  if (data !== undefined) return data;
  throw new InvalidArgumentError("Allowed choices are http, tcp, tls, udp.");
}

function checked<T>(
  result: { readonly success: true; readonly data: T } | {
    readonly success: false;
    readonly error: { readonly issues: readonly { readonly message: string }[] };
  },
): T {
  if (result.success) return result.data;
  throw new InvalidArgumentError(`${result.error.issues[0]?.message}.`);
}
