import type { Child } from "hono/jsx";
import type { GatewayStatus, LiveReport } from "../../data_plane/snapshot.ts";
import { EventTable } from "./events_page.tsx";
import { type Frame, Page } from "./layout.tsx";
import { Table } from "./table.tsx";
import { bytesText, durationText, numberText, shown, timeText } from "./text.ts";

const CHARTS = [
  { name: "connections", title: "Connections", unit: "open" },
  { name: "throughput", title: "Throughput", unit: "bytes a second" },
  { name: "requests", title: "Requests", unit: "a second, through http tunnels" },
  { name: "refusals", title: "Refusals", unit: "a second, by reason" },
] as const;

const LATEST_EVENTS = 10;

export function OverviewPage({ frame, status, live }: {
  readonly frame: Frame;
  readonly status: GatewayStatus;
  readonly live: LiveReport;
}): Child {
  const { sample } = live;
  return (
    <Page frame={frame}>
      {status.draining && (
        <p class="alert" role="alert">The gateway is stopping: it takes no more connections.</p>
      )}
      {status.reloadError !== undefined && (
        <p class="alert" role="alert">The last reload was refused: {shown(status.reloadError, 500)}</p>
      )}
      <dl class="tiles">
        <Tile name="connections.active" title="Connections" value={numberText(sample.connections.active)} />
        <Tile
          name="connections.total"
          title="Connections in all"
          value={numberText(sample.connections.total)}
        />
        <Tile name="tunnels" title="Tunnels" value={numberText(sample.tunnels)} />
        <Tile name="requests" title="Requests" value={numberText(sample.requests)} />
        <Tile name="bytes.in" title="Received from clients" value={bytesText(sample.bytes.in)} />
        <Tile name="bytes.out" title="Sent to clients" value={bytesText(sample.bytes.out)} />
        <Tile name="refused" title="Refused" value={numberText(sumOf(sample.rejected))} />
        <Tile name="memory" title="Memory" value={bytesText(sample.memory)} />
      </dl>
      <section aria-labelledby="charts-title">
        <h2 id="charts-title">Now</h2>
        <noscript>
          <p class="empty">The charts need JavaScript. Reload the page for new numbers.</p>
        </noscript>
        <div class="charts">
          {CHARTS.map(({ name, title, unit }) => (
            <figure>
              <figcaption>
                {title} <span class="unit">{unit}</span>
              </figcaption>
              <div
                class="chart"
                data-chart={name}
                role="img"
                aria-label={`${title}, ${unit}, over the last minutes`}
              >
              </div>
            </figure>
          ))}
        </div>
      </section>
      <div class="columns">
        <section aria-labelledby="refusals-title" data-refresh="refusals" id="refusals">
          <h2 id="refusals-title">Refusals by reason</h2>
          <Table
            caption="Refused connections since the start, by reason"
            columns={[
              { title: "Reason", cell: ([reason]) => shown(reason) },
              { title: "Connections", kind: "number", cell: ([, count]) => numberText(count) },
            ]}
            rows={Object.entries(sample.rejected).sort(([, a], [, b]) => b - a).slice(0, 20)}
            empty="Nothing was refused."
          />
        </section>
        <section aria-labelledby="gateway-title">
          <h2 id="gateway-title">Gateway</h2>
          <dl class="facts">
            <dt>Version</dt>
            <dd>{shown(status.version)}</dd>
            <dt>Runs for</dt>
            <dd>{durationText(Date.now() - status.startedAt)}, since {timeText(status.startedAt)} UTC</dd>
            <dt>Threads</dt>
            <dd>{numberText(status.threads)}</dd>
            <dt>Listens on</dt>
            <dd>
              <ul>
                {status.listeners.map(({ address, kind }) => (
                  <li>{shown(address)} {kind === "http" && <span class="unit">plain HTTP</span>}</li>
                ))}
              </ul>
            </dd>
          </dl>
        </section>
      </div>
      <section aria-labelledby="latest-title" data-refresh="events" id="latest">
        <h2 id="latest-title">Latest events</h2>
        <EventTable events={live.events.slice(-LATEST_EVENTS)} />
      </section>
    </Page>
  );
}

function Tile({ name, title, value }: { name: string; title: string; value: string }): Child {
  return (
    <div>
      <dt>{title}</dt>
      <dd data-live={name}>{value}</dd>
    </div>
  );
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
