import { type Document, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from "yaml";

/** An entry as it is written. Times are as {@link writtenTime} writes them. */
export interface WrittenToken {
  readonly id: string;
  readonly name?: string | undefined;
  readonly sha256: string;
  readonly created: string;
  readonly expires?: string | undefined;
  readonly allow?: WrittenAllowance | undefined;
  readonly limits?: WrittenLimits | undefined;
}

export interface WrittenAllowance {
  readonly subdomains?: readonly string[] | undefined;
  readonly hostnames?: readonly string[] | undefined;
  readonly ports?: readonly string[] | undefined;
  readonly protocols?: readonly string[] | undefined;
  readonly access?: readonly string[] | undefined;
  readonly share?: boolean | undefined;
}

export interface WrittenLimits {
  /** A size, for each second. */
  readonly bandwidth?: string | undefined;
  readonly streams?: number | undefined;
  readonly tunnels?: number | undefined;
  readonly services?: number | undefined;
}

/** A time as it stands in a token file: to the second. @param ms Since 1970. */
export function writtenTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+/, "");
}

const HEAD =
  " Tokens of agents: of each only its SHA-256 stands here. A gateway that runs takes changes at once.";

/**
 * Adds an entry at the end, and leaves the rest of the text with its comments as it is.
 *
 * @param text That of a good token file; `undefined`: there is none yet.
 */
export function withToken(text: string | undefined, token: WrittenToken): string {
  const document = parse(text ?? "");
  const list = listOf(document);
  const entry = document.createNode(
    withoutAbsent({
      ...token,
      allow: token.allow && withoutAbsent(token.allow),
      limits: token.limits && withoutAbsent(token.limits),
    }),
  );
  const allow = (entry as YAMLMap).get("allow");
  for (const { value } of (allow as YAMLMap | undefined)?.items ?? []) {
    if (isSeq(value)) value.flow = true; // one line a kind
  }
  list.add(entry);
  if (text === undefined) document.commentBefore = HEAD;
  return write(document);
}

/**
 * Marks entries as revoked, and leaves the rest of the text with its comments as it is.
 *
 * @param text That of a good token file.
 */
export function withRevoked(text: string, ids: ReadonlySet<string>, time: string): string {
  const document = parse(text);
  for (const entry of listOf(document).items as YAMLMap[]) {
    if (ids.has(String(entry.get("id")))) entry.set("revoked", time);
  }
  return write(document);
}

function parse(text: string): Document {
  return parseDocument(text, { version: "1.2", schema: "core", logLevel: "error" });
}

function write(document: Document): string {
  return document.toString({ lineWidth: 0 });
}

function listOf(document: Document): YAMLSeq {
  if (!isSeq(document.contents)) document.contents = document.createNode([]);
  const list = document.contents as YAMLSeq;
  list.flow = false; // `[]` is what an empty list looks like
  return list;
}

function withoutAbsent(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined));
}
