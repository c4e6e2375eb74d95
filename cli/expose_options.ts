import { type Command, InvalidArgumentError } from "commander";
import { canonicalName } from "../core/names.ts";
import { MAX_CONNECTIONS } from "../plugins/ws-agent/agent/settings.ts";

/** Adds the options that every quick command has. */
export function addExposeOptions(command: Command): Command {
  return addGatewayOptions(command)
    .option("--connections <n>", "parallel connections to the gateway", parseConnections, 2);
}

/** Adds the options that say which gateway, and what it is shown. */
export function addGatewayOptions(command: Command): Command {
  return command
    .option(
      "--gateway <url>",
      "where the gateway takes agents: wss://HOST[:PORT][/PATH] (default: POSTERN_GATEWAY, else the development gateway of this folder)",
    )
    .option("--token <token>", "what is shown to it; better in POSTERN_TOKEN, where no other user sees it")
    .option("--ca <file>", "a CA to trust beside the usual ones, PEM")
    .option("--insecure", "takes any certificate: whoever is on the way can read everything");
}

/** For `--hostname`. */
export function parseHostname(text: string): string {
  const name = canonicalName(text);
  if (name !== undefined && name.includes(".")) return name;
  throw new InvalidArgumentError("Expected a full host name, as app.example.com is.");
}

/** For `--local-port`. */
export function parseLocalPort(text: string): number {
  return whole(text, 0, 65_535, "Expected a port from 1 to 65535, or 0 for any.");
}

/** For `--remote-port`. */
export function parseRemotePort(text: string): number {
  return whole(text, 0, 65_535, "Expected a port from 1 to 65535, or 0 for any.");
}

function parseConnections(text: string): number {
  return whole(text, 1, MAX_CONNECTIONS, `Expected a whole number from 1 to ${MAX_CONNECTIONS}.`);
}

function whole(text: string, min: number, max: number, message: string): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  throw new InvalidArgumentError(message);
}
