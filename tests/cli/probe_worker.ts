/// <reference lib="deno.worker" />
import { lookup } from "node:dns/promises";

/** Tries what an agent has no business with, and tells what came of it. */
self.onmessage = async ({ data: { target, other, file } }: MessageEvent) => {
  const tries: Record<string, () => unknown> = {
    target: async () => (await Deno.connect(target)).close(),
    other: async () => (await Deno.connect(other)).close(),
    listen: () => Deno.listen({ hostname: "127.0.0.1", port: 0 }).close(),
    lookUp: () => lookup("localhost"),
    file: () => Deno.readFileSync(file),
    folder: () => [...Deno.readDirSync(".")],
    write: () => Deno.writeTextFileSync(`${file}.new`, ""),
    env: () => Deno.env.get("HOME"),
    run: () => new Deno.Command("/bin/true").outputSync(),
    sys: () => Deno.hostname(),
  };
  const found: Record<string, string> = {};
  for (const [name, attempt] of Object.entries(tries)) {
    try {
      await attempt();
      found[name] = "permitted";
    } catch (error) {
      const { name: kind, code } = error as Error & { code?: string };
      found[name] = kind === "Error" ? code ?? kind : kind;
    }
  }
  self.postMessage(found);
};
