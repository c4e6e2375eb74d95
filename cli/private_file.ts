import { basename, dirname, join } from "node:path";

/** What others must not read, nor see half written. */
const PRIVATE_MODE = 0o600;
/** Of the mode that a file has already, what stays: its group may read it, if somebody has seen to that. */
const KEPT_MODE = 0o640;

/** The text of a file; `undefined` when there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Writes a file whole or not at all. A new one is for its user alone; one that is there stays its owner's, and
 * where it was if the path is a link.
 */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  const real = await realPath(path);
  const known = await Deno.stat(real).catch(() => undefined);
  const temporary = await Deno.makeTempFile({ dir: dirname(real), prefix: ".new-" }); // made with mode 0600
  try {
    await Deno.writeTextFile(temporary, text);
    await takeOver(temporary, known);
    await Deno.rename(temporary, real);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

/** Keeps out everybody else who does this, until the end of the scope. The folder must be there. */
export async function lockFolderOf(path: string): Promise<Disposable> {
  const folder = dirname(await realPath(path));
  // The folder, not the file: that is replaced by another one while it is locked.
  const handle = await Deno.open(folder);
  try {
    await handle.lock(true);
    return handle;
  } catch (error) {
    handle.close();
    throw error;
  }
}

/** Where a path leads, also when what it leads to is not there yet. */
async function realPath(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return join(await Deno.realPath(dirname(path)), basename(path));
  }
}

/** A gateway that runs as another user must be able to read what root has changed. */
async function takeOver(temporary: string, known: Deno.FileInfo | undefined): Promise<void> {
  if (known === undefined) return await Deno.chmod(temporary, PRIVATE_MODE);
  const own = await Deno.stat(temporary);
  if (known.uid !== null && (known.uid !== own.uid || known.gid !== own.gid)) {
    await Deno.chown(temporary, known.uid, known.gid);
  }
  await Deno.chmod(temporary, PRIVATE_MODE | (known.mode ?? 0) & KEPT_MODE);
}
