import { createHash } from "node:crypto";
import UPLOT_SCRIPT from "uplot/dist/uPlot.iife.min.js" with { type: "text" };
import UPLOT_STYLE from "uplot/dist/uPlot.min.css" with { type: "text" };
import STYLE from "./dashboard.css" with { type: "text" };
import SCRIPT from "./dashboard_client.js" with { type: "text" };
import ICON from "./icon.svg" with { type: "text" };

/** A file that pages load. The admin worker reads none: they are part of its code. */
export interface Asset {
  readonly contentType: string;
  readonly text: string;
  /** Changes with the text, and stands in its address, so that a browser may keep it. */
  readonly version: string;
}

const ASSETS: ReadonlyMap<string, Asset> = new Map([
  ["dashboard.css", asset("text/css", STYLE)],
  ["dashboard.js", asset("text/javascript", SCRIPT)],
  ["icon.svg", asset("image/svg+xml", ICON)],
  ["uplot.css", asset("text/css", UPLOT_STYLE)],
  ["uplot.js", asset("text/javascript", UPLOT_SCRIPT)],
]);

export type AssetName = "dashboard.css" | "dashboard.js" | "icon.svg" | "uplot.css" | "uplot.js";

export function findAsset(name: string): Asset | undefined {
  return ASSETS.get(name);
}

/** Where a page loads it from. */
export function assetPath(name: AssetName): string {
  return `/assets/${name}?v=${ASSETS.get(name)?.version ?? ""}`;
}

function asset(contentType: string, text: string): Asset {
  const version = createHash("sha256").update(text).digest("hex").slice(0, 16);
  return { contentType: `${contentType}; charset=utf-8`, text, version };
}
