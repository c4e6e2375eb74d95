import { runOrThrow } from "./processes.ts";
import type { SeenRequest } from "./smuggling.ts";

/** What the HTTP parser of Node sees in some bytes. */
export interface NodeReading {
  readonly requests: SeenRequest[];
  /** Its name for why it stopped; absent when it did not. */
  readonly error?: string;
}

/**
 * llhttp itself, without `node:http` around it: that would answer, where this only tells. Bytes come and go as latin-1.
 */
const SCRIPT = `
  process.removeAllListeners("warning");
  process.on("warning", () => {});
  const { HTTPParser, allMethods, methods } = process.binding("http_parser");
  const names = allMethods ?? methods;
  const input = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  console.log(JSON.stringify(input.map((text) => {
    const requests = [];
    let seen;
    const parser = new HTTPParser();
    parser.initialize(HTTPParser.REQUEST, {}, 1 << 20, 0);
    let start = ""; // of the path: with many fields it comes with the first of them
    parser[HTTPParser.kOnHeaders] = (_fields, path) => { start += path; };
    parser[HTTPParser.kOnHeadersComplete] = (_major, _minor, _fields, method, path) => {
      seen = { method: names[method], path: start + (path ?? ""), body: "" };
      start = "";
      return 0;
    };
    parser[HTTPParser.kOnBody] = (bytes) => { seen.body += bytes.toString("latin1"); };
    parser[HTTPParser.kOnMessageComplete] = () => {
      requests.push(seen);
      start = ""; // trailers bring the path once more
    };
    const result = parser.execute(Buffer.from(text, "latin1"));
    return result instanceof Error ? { requests, error: result.code } : { requests };
  })));
`;

/** Has Node parse each of `inputs` as what a client sends on one connection. Needs the program `node`. */
export async function parseWithNode(inputs: readonly string[]): Promise<NodeReading[]> {
  const { stdout } = await runOrThrow("node", {
    args: ["-e", SCRIPT],
    input: JSON.stringify(inputs),
    deadlineMs: 60_000,
  });
  return JSON.parse(stdout) as NodeReading[];
}
