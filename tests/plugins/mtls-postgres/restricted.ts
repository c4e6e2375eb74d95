import type { DatabaseAddress } from "../../../plugins/mtls-postgres/postgres_database.ts";

/**
 * Asks a database, or the embedded one in a folder, from a worker that has nothing but these permissions.
 *
 * @returns The kind of the verdict, or the message of an error.
 */
export async function askFrom(
  permissions: Deno.PermissionOptionsObject,
  where: DatabaseAddress | string,
): Promise<string> {
  const worker = new Worker(import.meta.resolve("./restricted_worker.ts"), {
    type: "module",
    deno: { permissions },
  });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => data === "ready" ? worker.postMessage(where) : resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
    });
  } finally {
    worker.terminate();
  }
}
