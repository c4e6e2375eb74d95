import { type Command, InvalidArgumentError } from "commander";
import { messageOf } from "../core/errors.ts";
import { formatHostPort, type HostPort, isLoopback, parseHostPort } from "../core/net/address.ts";
import type { InspectAt } from "../plugins/ws-agent/agent/worker_methods.ts";

const USUAL_PORT = 4040;
/** As many commands as somebody runs at once, and some. */
const PORTS_TRIED = 20;

/** Where requests are shown when nothing else is said: on the first of some ports that is free. */
export const USUAL_PLACE: InspectAt = {
  hostname: "127.0.0.1",
  ports: Array.from({ length: PORTS_TRIED }, (_, i) => USUAL_PORT + i),
};

/** Adds `--inspect`. */
export function addInspectOption(command: Command): Command {
  return command.option(
    "--inspect [address]",
    `shows requests and responses on a page of this machine, and replays them: a port, or a loopback ADDRESS:PORT (default: 127.0.0.1:${USUAL_PORT}, or the next port that is free)`,
    parseInspect,
  );
}

/** What `--inspect` is given. What is asked for by number is that, or nothing. */
function parseInspect(text: string): InspectAt {
  const { host, port } = parsePlace(/^\d+$/.test(text) ? `127.0.0.1:${text}` : text);
  if (!isLoopback(host)) {
    throw new InvalidArgumentError(`Only this machine may see requests, and "${host}" is reached by others.`);
  }
  return { hostname: host === "localhost" ? "127.0.0.1" : host, ports: [port] };
}

function parsePlace(text: string): HostPort {
  try {
    return parseHostPort(text);
  } catch (error) {
    throw new InvalidArgumentError(`${messageOf(error)}.`);
  }
}

/** What is opened in a browser. */
export function inspectorUrl(address: HostPort): string {
  return `http://${formatHostPort(address)}`;
}
