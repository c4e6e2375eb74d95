/// <reference lib="deno.worker" />
// The admin worker itself, and on top of it somebody who tries what its code must not be able to do.
import "../../core/admin/worker.ts";

export interface Probe {
  /** A port on loopback that something else listens on. */
  readonly elsewhere: number;
  readonly file: string;
}

self.addEventListener("message", async ({ data }: MessageEvent<{ probe?: Probe }>) => {
  if (data.probe === undefined) return;
  if (data.probe.file === "") Promise.reject(new Error("Nobody waits for this"));
  else self.postMessage({ tried: await tryAll(data.probe) });
});

/** What each attempt ended with: the name of the error, or `allowed`. */
async function tryAll({ elsewhere, file }: Probe): Promise<Record<string, string>> {
  const attempts: Record<string, () => unknown> = {
    "read a file": () => Deno.readTextFile(file),
    "read its own code": () => Deno.readTextFile(new URL(import.meta.url)),
    "write a file": () => Deno.writeTextFile(`${file}.made`, ""),
    "run a program": () => new Deno.Command("true").output(),
    "read the environment": () => Deno.env.get("HOME"),
    "ask for the system": () => Deno.hostname(),
    "dial a neighbour": async () => (await Deno.connect({ hostname: "127.0.0.1", port: elsewhere })).close(),
    "fetch from a neighbour": () => fetch(`http://127.0.0.1:${elsewhere}/`),
    "resolve a name": () => Deno.resolveDns("localhost", "A"),
    "listen elsewhere": () => Deno.listen({ hostname: "0.0.0.0", port: 0 }).close(),
    "load native code": () => Deno.dlopen(file, {}),
    "get more by a worker": () => {
      const deno = { permissions: { read: true } };
      new Worker(import.meta.url, { type: "module", deno }).terminate();
    },
  };
  const tried: Record<string, string> = {};
  for (const [name, attempt] of Object.entries(attempts)) {
    try {
      await attempt();
      tried[name] = "allowed";
    } catch (error) {
      tried[name] = error instanceof Error ? error.name : String(error);
    }
  }
  return tried;
}
