import { dirname } from "node:path";

/** Long enough for certificate and key to be replaced one after the other, short enough for nobody to wait. */
const SETTLE_MS = 300;
/** File systems without events (NFS) are looked at this often. */
const POLL_MS = 60_000;
/** How far a file system's clock may be behind. */
const CLOCK_TICK_MS = 10;
/** After this many times {@link SETTLE_MS} of unrest the files are looked at all the same. */
const MAX_SETTLE_TIMES = 10;

export interface WatchOptions {
  readonly signal: AbortSignal;
  /** How long the files must have been left alone. @default 300 */
  readonly settleMs?: number;
  /** What has changed since this time counts, too, in milliseconds since 1970: when the files were read. @default now */
  readonly since?: number;
}

/**
 * Calls `onChange` when one of the files is another than before: rewritten, replaced by a rename, or behind a
 * symbolic link that was turned, as certbot and Kubernetes do. It is not called for anything else in the folders,
 * nor while a call is still running.
 *
 * @returns When the signal is aborted; by then everything is released.
 */
export async function watchFiles(
  paths: readonly string[],
  onChange: () => void | Promise<void>,
  { signal, settleMs = SETTLE_MS, since }: WatchOptions,
): Promise<void> {
  let known: string | undefined = await identify(paths);
  if (since !== undefined && await lastChange(paths) > since) known = undefined;
  while (!signal.aborted) {
    const folders = await foldersOf(paths); // each time anew: a link may have been turned to another one
    if (signal.aborted) return;
    const watch = watchFolders(folders, signal);
    try {
      // Only now that nothing can be missed any more, for the next change.
      const found = await identify(paths);
      if (found === known) await watch.changed(settleMs);
      else {
        known = found;
        await onChange();
      }
    } finally {
      await watch.close();
    }
  }
}

/** Changes whenever a file is another one, or has other content as far as its times tell. */
async function identify(paths: readonly string[]): Promise<string> {
  const identities = paths.map(async (path) => {
    const [real, info] = await Promise.all([realPathIfThere(path), Deno.stat(path).catch(() => undefined)]);
    return [real, info?.dev, info?.ino, info?.size, info?.mtime?.getTime()];
  });
  return JSON.stringify(await Promise.all(identities));
}

/**
 * When the last of the files was written or replaced, in milliseconds since 1970. A file system's clock stands still for
 * some milliseconds, and the runtime tells the time of a replacement in whole seconds: one right behind `since` is missed,
 * if the new file had been written before.
 */
async function lastChange(paths: readonly string[]): Promise<number> {
  const infos = await Promise.all(paths.map((path) => Deno.stat(path).catch(() => undefined)));
  const times = infos.flatMap((info) => [info?.mtime, info?.ctime]);
  return Math.max(0, ...times.map((time) => time?.getTime() ?? 0)) + CLOCK_TICK_MS;
}

/** The folders of the files, and the folders of what they are links to. */
async function foldersOf(paths: readonly string[]): Promise<string[]> {
  const folders = new Set<string>();
  for (const path of paths) {
    for (const one of [path, await realPathIfThere(path)]) {
      const folder = await realPathIfThere(dirname(one));
      const info = await Deno.stat(folder).catch(() => undefined);
      if (info?.isDirectory) folders.add(folder);
    }
  }
  return [...folders];
}

async function realPathIfThere(path: string): Promise<string> {
  return await Deno.realPath(path).catch(() => path);
}

interface FolderWatch {
  /** Resolves when something has moved and then rested, when the signal is aborted, or after {@link POLL_MS}. */
  changed(settleMs: number): Promise<void>;
  close(): Promise<void>;
}

function watchFolders(folders: string[], signal: AbortSignal): FolderWatch {
  const watcher = openWatcher(folders);
  const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
  const onAbort = () => abort();
  signal.addEventListener("abort", onAbort, { once: true });
  let wake = () => {};
  const follow = async () => {
    for await (const { kind } of watcher ?? []) {
      if (kind !== "access") wake();
    }
  };
  const following = follow().catch(() => {}); // a folder that is gone: the next look finds out
  const nextEvent = () => new Promise<void>((resolve) => wake = resolve);

  return {
    async changed(settleMs) {
      const event = nextEvent();
      await within(POLL_MS, event, aborted);
      const end = performance.now() + MAX_SETTLE_TIMES * settleMs; // in a busy folder there is never rest
      while (!signal.aborted && performance.now() < end) {
        if (await within(settleMs, nextEvent(), aborted)) return;
      }
    },
    async close() {
      signal.removeEventListener("abort", onAbort);
      abort();
      watcher?.close();
      await following;
    },
  };
}

/** None, when the system has no more watches to give (inotify's limits): then there is still {@link POLL_MS}. */
function openWatcher(folders: string[]): Deno.FsWatcher | undefined {
  if (folders.length === 0) return undefined;
  try {
    return Deno.watchFs(folders, { recursive: false });
  } catch {
    return undefined;
  }
}

/** Resolves with the first of these, or after `ms`; true when time was up. */
async function within(ms: number, ...events: Promise<void>[]): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeUp = new Promise<true>((resolve) => timer = setTimeout(() => resolve(true), ms));
  const late = await Promise.race([timeUp, ...events]);
  clearTimeout(timer);
  return late === true;
}
