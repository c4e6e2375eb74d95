import { type ConfigPath, formatPath } from "./path.ts";

/** Where something was written. */
export interface ConfigLocation {
  /** A file as the user named it, or the option it came from: `--set limits.idleTimeout`. */
  readonly file: string;
  /** From 1; absent when it is about the whole file or an option. */
  readonly line?: number;
  /** From 1, in UTF-16 units. */
  readonly column?: number;
}

/** One thing that is wrong with a config. */
export interface ConfigProblem extends ConfigLocation {
  /** `plugins.static.routes[2].to`; empty when it is about the whole file. */
  readonly path: string;
  /** What is, and what was wanted. Never contains a secret. One line. */
  readonly message: string;
}

/** Puts a problem at a place. */
export function problemAt(location: ConfigLocation, path: ConfigPath, message: string): ConfigProblem {
  return { ...location, path: formatPath(path), message: message.replaceAll(/\s*[\r\n]+\s*/g, " ") };
}

/** One line: `postern.yaml:12:5: limits.idleTimout: Unknown key; did you mean "idleTimeout"?`. */
export function formatProblem({ file, line, column, path, message }: ConfigProblem): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  const said = path === "" || file === `--set ${path}`; // then the place names the path already
  return said ? `${place}: ${message}` : `${place}: ${path}: ${message}`;
}

/** In the order of the file, what came from options last; the same thing said twice is said once. */
export function sortProblems(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const seen = new Set<string>();
  return problems
    .toSorted((a, b) => (a.line ?? Infinity) - (b.line ?? Infinity) || (a.column ?? 0) - (b.column ?? 0) || 0)
    .filter((problem) => {
      const line = formatProblem(problem);
      return !seen.has(line) && seen.add(line);
    });
}
