import { Command, InvalidArgumentError } from "commander";
import { parseDuration } from "../../core/config/units.ts";
import { access, type AccessOptions } from "../access.ts";
import { accessFolder, listAccesses, stopAccess } from "../access_socket.ts";
import { CommandError } from "../command_error.ts";
import { EXIT } from "../exit_codes.ts";
import { addGatewayOptions, parseLocalPort } from "../expose_options.ts";
import { print } from "../print.ts";
import { renderAccesses } from "../render_access.ts";
import { safe } from "../render_tunnel.ts";

/** A gateway gives no more than `access.maxTtl`, which is at most as long. */
const MAX_TTL_MS = 7 * 86_400_000;

/** `postern access`: temporary local access to a private service. */
export function accessCommand(): Command {
  const command = new Command("access")
    .description("brings a private service to a local port for some time, until Ctrl-C")
    .argument("<service>", "its name, or OWNER/NAME when it is somebody else's")
    .option(
      "--local-port <port>",
      "where it listens, on 127.0.0.1 (default: any that is free)",
      parseLocalPort,
    )
    .option("--ttl <duration>", "for how long: 30s, 10m, 8h (default: 1h)", parseTtl);
  return addGatewayOptions(command)
    .addHelpText("after", "\nExample:\n  deno task postern access internal --local-port 5433 --ttl 8h")
    .addCommand(listCommand())
    .addCommand(stopCommand())
    .action((service: string, options: AccessOptions) => access(service, options));
}

function listCommand(): Command {
  return new Command("list")
    .description("the accesses of this user that run on this machine")
    .option("--json", "as a list for programs")
    .addHelpText("after", "\nExample:\n  deno task postern access list")
    .action(async ({ json }: { readonly json?: boolean }) => {
      const all = await listAccesses(folder());
      print(json ? `${JSON.stringify(all, null, 2)}\n` : renderAccesses(all));
    });
}

function stopCommand(): Command {
  return new Command("stop")
    .description("ends one of them, and cuts its connections")
    .argument("<id>", "as list shows it")
    .addHelpText("after", "\nExample:\n  deno task postern access stop 3f2a91c0")
    .action(async (id: string) => {
      const stopped = await stopAccess(folder(), id);
      if (stopped === undefined) {
        throw new CommandError(
          `No access "${safe(id)}" runs here; postern access list shows them`,
          EXIT.wrongUsage,
        );
      }
      print(`${stopped.id}: ${safe(stopped.service)} on ${safe(stopped.local)} is stopped\n`);
    });
}

function folder(): string {
  return accessFolder((name) => Deno.env.get(name));
}

function parseTtl(text: string): number {
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= 1000 && ms <= MAX_TTL_MS) return ms;
  throw new InvalidArgumentError("Expected a duration such as 30s, 10m or 8h, from 1s to 168h.");
}
