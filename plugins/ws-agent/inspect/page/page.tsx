/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import { raw } from "hono/html";
import type { Child } from "hono/jsx";
import type { Exchange } from "../exchange.ts";
import type { ExchangeLog } from "../exchange_log.ts";
import { formatMs, formatTime, outcomeOf, toneOf } from "./format.ts";
import type { Html } from "./html.ts";

interface PageProps {
  readonly log: ExchangeLog;
  readonly formToken: string;
  /** The one that is shown beside the list. */
  readonly current?: Exchange;
  readonly children?: Child;
}

/** The whole page: the list, and what is shown beside it. What changes is in elements with ids that the script knows. */
export function Page({ log, formToken, current, children }: PageProps): Html {
  const title = current ? `${current.request.method} ${current.request.target}` : "Requests";
  return (
    <>
      {raw("<!doctype html>")}
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          <title>{`${title} – Postern inspector`}</title>
          <link rel="stylesheet" href="/style.css" />
          <script src="/script.js" defer></script>
        </head>
        <body class={current ? "has-current" : ""}>
          <header>
            <h1>
              <a href="/">Postern inspector</a>
            </h1>
            <p id="summary" role="status">{summaryOf(log)}</p>
            <form method="post" action="/clear">
              <input type="hidden" name="token" value={formToken} />
              <button type="submit">Clear</button>
            </form>
          </header>
          <main>
            <nav aria-label="Requests">
              <ol id="list" reversed>
                {log.list().map((exchange) => (
                  <Row key={exchange.id} exchange={exchange} isCurrent={exchange === current} />
                ))}
              </ol>
            </nav>
            <div id="exchange">
              {children ?? <p class="hint">{hintOf(log)}</p>}
            </div>
          </main>
        </body>
      </html>
    </>
  );
}

function Row(
  { exchange, isCurrent }: { readonly exchange: Exchange; readonly isCurrent: boolean },
): Html {
  const { id, time, request, totalMs, replayOf } = exchange;
  return (
    <li>
      <a id={`row-${id}`} href={`/exchanges/${id}`} aria-current={isCurrent ? "page" : undefined}>
        <span class="method">{request.method}</span>
        <span class="target">{request.target}</span>
        <span class={`outcome ${toneOf(exchange)}`}>{outcomeOf(exchange)}</span>
        <span class="aside">
          <time datetime={new Date(time).toISOString()}>{formatTime(time)}</time>
          {totalMs === undefined ? "" : ` · ${formatMs(totalMs)}`}
          {replayOf === undefined ? "" : ` · replay of ${replayOf}`}
        </span>
      </a>
    </li>
  );
}

function summaryOf(log: ExchangeLog): string {
  const shown = log.list().length;
  if (log.total === 0) return "No requests yet";
  const all = `${log.total} ${log.total === 1 ? "request" : "requests"}`;
  return shown === log.total ? all : `${all}, the last ${shown} shown`;
}

function hintOf(log: ExchangeLog): string {
  return log.list().length === 0
    ? "Requests appear here as they come by the public address."
    : "Choose a request to see its headers and bodies. The keys j and k go down and up.";
}
