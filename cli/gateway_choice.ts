import { resolve } from "node:path";
import { messageOf } from "../core/errors.ts";
import { type GatewayAddress, parseGateway } from "../plugins/ws-agent/agent/gateway_address.ts";
import { chooseProxy } from "../plugins/ws-agent/agent/proxy/choose_proxy.ts";
import type { ProxyAddress } from "../plugins/ws-agent/agent/proxy/proxy_address.ts";
import type { Credentials, GatewayTls } from "../plugins/ws-agent/agent/settings.ts";
import { CommandError } from "./command_error.ts";
import { DEVELOPMENT_FOLDER } from "./development_token.ts";
import { EXIT } from "./exit_codes.ts";
import { readIfThere } from "./private_file.ts";

/** Where the development gateway takes agents. */
export const DEVELOPMENT_GATEWAY = "wss://tunnel.localhost:8443/tunnel/v1";

/** The options that say which gateway, as commander gives them. */
export interface GatewayOptions {
  readonly gateway?: string;
  readonly token?: string;
  readonly ca?: string;
  readonly insecure?: boolean;
}

export interface GatewayChoice {
  readonly gateway: GatewayAddress;
  readonly credentials: Credentials;
  readonly tls: GatewayTls;
  /** Which the environment says is on the way. */
  readonly proxy?: ProxyAddress;
}

/**
 * Finds the gateway and what it is shown: as the options say, else as the environment does, else the development gateway of this
 * folder.
 *
 * @param env Looks up a variable.
 * @param folder Where the development gateway keeps its files.
 * @throws {CommandError} There is none, or no token for it.
 */
export async function chooseGateway(
  options: GatewayOptions,
  env: (name: string) => string | undefined,
  folder = DEVELOPMENT_FOLDER,
): Promise<GatewayChoice> {
  const given = options.gateway ?? (env("POSTERN_GATEWAY") || undefined);
  const developmentToken = (await readIfThere(`${folder}/agent-token`))?.trim() || undefined;
  if (given === undefined && developmentToken === undefined) {
    throw wrong("No gateway: give --gateway, or start one with deno task gateway");
  }
  const gateway = parse(given ?? DEVELOPMENT_GATEWAY);
  const isHere = isThisMachine(gateway);
  const token = options.token ?? (env("POSTERN_TOKEN") || undefined) ??
    (isHere ? developmentToken : undefined);
  if (token === undefined) throw wrong("No token: give it in POSTERN_TOKEN, or with --token");
  if (!/^[\x21-\x7e]+$/.test(token)) throw wrong("The token has characters that no token has");
  const extraCa = options.ca !== undefined
    ? await readCa(options.ca)
    : isHere && gateway.secure
    ? await readIfThere(`${folder}/ca.pem`)
    : undefined;
  const proxy = proxyFor(gateway, undefined, env);
  return {
    gateway,
    ...(proxy !== undefined && { proxy }),
    credentials: { token },
    tls: { insecure: options.insecure ?? false, ...(extraCa !== undefined && { extraCa }) },
  };
}

/**
 * The proxy on the way to a gateway.
 *
 * @throws {CommandError} The environment names one that is none.
 */
export function proxyFor(...choice: Parameters<typeof chooseProxy>): ProxyAddress | undefined {
  try {
    return chooseProxy(...choice);
  } catch (cause) {
    throw new CommandError(`HTTPS_PROXY: ${messageOf(cause)}`, EXIT.wrongUsage, { cause });
  }
}

/** @throws {CommandError} It can't be read, or there is no certificate in it. */
export async function readCa(file: string): Promise<string> {
  const text = await Deno.readTextFile(file).catch((cause) => {
    throw new CommandError(`Cannot read the CA "${file}": ${messageOf(cause)}`, EXIT.wrongUsage, { cause });
  });
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw wrong(`There is no certificate in "${resolve(file)}"`);
}

/** What the development gateway keeps is for nobody elsewhere. */
function isThisMachine({ host }: GatewayAddress): boolean {
  return host === "localhost" || host.endsWith(".localhost") || host === "127.0.0.1" || host === "::1";
}

function parse(text: string): GatewayAddress {
  try {
    return parseGateway(text);
  } catch (cause) {
    throw new CommandError(messageOf(cause), EXIT.wrongUsage, { cause });
  }
}

function wrong(message: string): CommandError {
  return new CommandError(message, EXIT.wrongUsage);
}
