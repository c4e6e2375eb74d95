import type { Child } from "hono/jsx";
import { assetPath } from "./assets.ts";

/** What a page says about what was just done; the address of the page names one of these, and no text of its own. */
export const NOTICES = {
  "tunnel-closed": "The tunnel is disconnected. Its agent may come back: revoke its token to keep it out.",
  "tunnel-gone": "There is no such tunnel any more.",
  "connection-closed": "The connection is closed.",
  "connection-gone": "There is no such connection any more.",
} as const;
export type Notice = keyof typeof NOTICES;

export const PAGES = [
  { path: "/", title: "Overview" },
  { path: "/tunnels", title: "Tunnels" },
  { path: "/connections", title: "Connections" },
  { path: "/plugins", title: "Plugins" },
  { path: "/certificates", title: "Certificates" },
  { path: "/events", title: "Events" },
] as const;
export type PagePath = (typeof PAGES)[number]["path"];

/** What every page of somebody who is let in has. */
export interface Frame {
  readonly path: PagePath;
  /** For forms; see `Access.formToken`. */
  readonly formToken: string;
  /** Whether there is a session to end. */
  readonly session: boolean;
  readonly notice?: Notice | undefined;
}

/** A whole page for somebody who is let in. */
export function Page({ frame, children }: { readonly frame: Frame; readonly children?: Child }): Child {
  const title = PAGES.find(({ path }) => path === frame.path)?.title ?? "";
  return (
    <Document title={title} live>
      <a class="skip" href="#main">Skip to the content</a>
      <header class="bar">
        <a class="brand" href="/">Postern</a>
        <nav aria-label="Pages">
          <ul>
            {PAGES.map((page) => (
              <li>
                <a href={page.path} {...(page.path === frame.path && { "aria-current": "page" })}>
                  {page.title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <p id="live" class="live" role="status"></p>
        {frame.session && (
          <form method="post" action="/logout">
            <input type="hidden" name="token" value={frame.formToken} />
            <button type="submit">Log out</button>
          </form>
        )}
      </header>
      <main id="main" tabindex={-1}>
        <h1>{title}</h1>
        {frame.notice && <p class="notice" role="status">{NOTICES[frame.notice]}</p>}
        {children}
      </main>
    </Document>
  );
}

/** What every page has, whoever sees it. */
export function Document({ title, live = false, children }: {
  readonly title: string;
  readonly live?: boolean;
  readonly children?: Child;
}): Child {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{`${title} – Postern`}</title>
        <link rel="icon" href={assetPath("icon.svg")} type="image/svg+xml" />
        {live && <link rel="stylesheet" href={assetPath("uplot.css")} />}
        <link rel="stylesheet" href={assetPath("dashboard.css")} />
        {live && <script defer src={assetPath("uplot.js")}></script>}
        {live && <script type="module" src={assetPath("dashboard.js")}></script>}
      </head>
      <body>{children}</body>
    </html>
  );
}
