import { join } from "node:path";
import { createToken, createTokenId, digestOf } from "../plugins/ws-agent/auth/token.ts";
import { endOf, type TokenEntry } from "../plugins/ws-agent/auth/token_file.ts";
import { readIfThere, writePrivateFile } from "./private_file.ts";
import { withRevoked, withToken, writtenTime } from "./token_document.ts";
import { lockTokens, readTokens, writeTokens } from "./token_store.ts";

/** Where the development gateway keeps what it made. */
export const DEVELOPMENT_FOLDER = ".postern";
/** The token itself, for commands on the same machine. */
const TOKEN_FILE = "agent-token";
const NAME = "development";

/** What agents on the same machine show to the development gateway. */
export interface DevelopmentToken {
  readonly token: string;
  /** For `plugins.ws-agent.tokens`. */
  readonly tokenFile: string;
}

/**
 * Makes a token for agents on this machine, or takes the one that is there while it is good. It may register any name of
 * the domain and any port. One that was lost is revoked when another is made.
 *
 * @param folder Made if it is not there. In it come `agent-token` and `tokens.yaml`, for their user alone to read.
 * @throws {CommandError} Something in `tokens.yaml` is wrong, or the folder can't be written.
 */
export async function ensureDevelopmentToken(folder: string): Promise<DevelopmentToken> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const tokenFile = join(folder, "tokens.yaml");
  const plainFile = join(folder, TOKEN_FILE);
  using _lock = await lockTokens(tokenFile); // two gateways that start at once make one token
  const known = (await readIfThere(plainFile))?.trim();
  const { text, entries } = await readTokens(tokenFile);
  if (known !== undefined && isGood(known, entries)) return { token: known, tokenFile };
  const token = createToken();
  const created = writtenTime(Date.now());
  const lost = new Set(entries.filter(isLost).map(({ id }) => id));
  const entry = { id: createTokenId(), name: NAME, sha256: digestOf(token).toHex(), created };
  await writeTokens(tokenFile, withToken(text && withRevoked(text, lost, created), entry));
  await writePrivateFile(plainFile, token); // last: what stands here is good
  return { token, tokenFile };
}

/** Whoever has it now, it is not this machine. */
function isLost(entry: TokenEntry): boolean {
  return entry.name === NAME && endOf(entry, Date.now()) === undefined;
}

function isGood(token: string, entries: readonly TokenEntry[]): boolean {
  const sha256 = digestOf(token).toHex();
  const entry = entries.find((one) => one.sha256 === sha256);
  return entry !== undefined && endOf(entry, Date.now()) === undefined;
}
