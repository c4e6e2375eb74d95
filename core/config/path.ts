/** Where a value stands in the config: `["plugins", "static", "routes", 2, "to"]`. */
export type ConfigPath = readonly (string | number)[];

/** Longest key that a message shows in full. */
const MAX_SHOWN_KEY = 80;

/** Writes a path the way people do: `plugins.static.routes[2].to`. Odd keys are quoted: `limits["a b"]`. */
export function formatPath(path: ConfigPath): string {
  return path.map((segment, i) => {
    if (typeof segment === "number") return `[${segment}]`;
    if (!/^[\w-]+$/.test(segment) || segment.length > MAX_SHOWN_KEY) {
      return `[${JSON.stringify(segment.slice(0, MAX_SHOWN_KEY))}]`;
    }
    return i === 0 ? segment : `.${segment}`;
  }).join("");
}

/**
 * Reads a path as `--set` takes it: `plugins.static.routes[0].to` or `plugins.static.routes.0.to`.
 *
 * @returns Numbers for `[0]`; `.0.` stays text, since only what it is applied to tells whether it is an index.
 *          `undefined` when it is no path.
 */
export function parsePath(text: string): (string | number)[] | undefined {
  if (!/^[^.[\]]+(?:\.[^.[\]]+|\[\d{1,6}\])*$/.test(text)) return undefined;
  return Array.from(text.matchAll(/\[(\d+)\]|([^.[\]]+)/g), ([, index, key]) => key ?? Number(index));
}
