import type { Exchange } from "../exchange.ts";

/** `1 B`, `12.3 KiB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const kib = bytes / 1024;
  return kib < 1024 ? `${kib.toFixed(1)} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
}

/** `3.1 ms`, `120 ms`, `2.50 s`. */
export function formatMs(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** The time of day here. */
export function formatTime(time: number): string {
  const date = new Date(time);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0"))
    .join(":");
}

/** What came of an exchange, in a word or a number. */
export function outcomeOf({ state, response }: Exchange): string {
  if (response !== undefined) return String(response.status);
  return state === "broken" ? "none" : "…";
}

/** The kind of outcome, for its colour. */
export function toneOf({ state, response }: Exchange): "open" | "good" | "moved" | "bad" | "failed" {
  if (state === "broken") return "failed";
  if (response === undefined) return "open";
  if (response.status >= 500) return "failed";
  if (response.status >= 400) return "bad";
  return response.status >= 300 ? "moved" : "good";
}
