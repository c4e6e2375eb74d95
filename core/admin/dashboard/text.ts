import { maskText } from "../mask.ts";

/** Longer texts are cut: a page has a bounded size, whatever strangers send. */
const MAX_SHOWN = 200;

/**
 * A text that a stranger may have had a hand in, as a page may show it: without secrets, cut, and without characters
 * that are not seen or that turn text around. It still has to be escaped; JSX does that.
 */
export function shown(value: unknown, max: number = MAX_SHOWN): string {
  const text = maskText(String(value ?? "").slice(0, 4 * max)).replaceAll(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    "\ufffd",
  );
  return text.length > max ? `${text.slice(0, max)}…` : text;
}

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** `1.5 MiB`. */
export function bytesText(bytes: number): string {
  let value = Number(bytes);
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) < 1024) return `${value} B`;
  let unit = -1;
  do {
    value /= 1024;
    unit++;
  } while (Math.abs(value) >= 1024 && unit < UNITS.length - 1);
  return `${value.toFixed(value < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

/** `12,345`. */
export function numberText(value: number): string {
  const number = Number(value);
  return Number.isFinite(number) ? number.toLocaleString("en-US", { maximumFractionDigits: 1 }) : "–";
}

/** `3 d 4 h`, `12 min`, `5 s`. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.floor(Number(ms) / 1000));
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `2026-01-31 12:00:00`, in UTC; what is no time is shown as it is. */
export function timeText(time: number | string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? shown(time) : date.toISOString().slice(0, 19).replace("T", " ");
}

/** The address of a link to a public service, when that is one a browser can follow. */
export function linkTo(url: string): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, href, username, password } = new URL(url);
  const plain = username === "" && password === "";
  return plain && (protocol === "https:" || protocol === "http:") ? href : undefined;
}
