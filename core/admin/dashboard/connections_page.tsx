import type { Child } from "hono/jsx";
import type { ConnectionRow } from "../../data_plane/snapshot.ts";
import { type Frame, Page } from "./layout.tsx";
import { type Asked, CloseButton, Filter, Pager, Table } from "./table.tsx";
import { bytesText, durationText, shown, timeText } from "./text.ts";

export function ConnectionsPage({ frame, asked, rows, more }: {
  readonly frame: Frame;
  readonly asked: Asked;
  readonly rows: readonly ConnectionRow[];
  readonly more: boolean;
}): Child {
  const now = Date.now();
  const close = ({ id, source }: ConnectionRow) => (
    <CloseButton
      path="/connections"
      id={id}
      what={`${shown(source, 60)} (${shown(id, 40)})`}
      label="Close"
      formToken={frame.formToken}
      asked={asked}
    />
  );
  return (
    <Page frame={frame}>
      <Filter path="/connections" asked={asked} hint="source, name, plugin, target, state" />
      <section id="rows" data-refresh="connections" aria-label="Connections">
        <Table
          caption="Open connections, oldest first"
          columns={[
            {
              title: "Source",
              cell: ({ source, listener }) => (
                <>
                  {shown(source)}
                  <span class="detail">at {shown(listener)}</span>
                </>
              ),
            },
            {
              title: "Name",
              cell: ({ sni, protocol }) => (
                <>
                  {shown(sni ?? "–")}
                  <span class="detail">{shown(protocol)}</span>
                </>
              ),
            },
            {
              title: "Goes to",
              cell: ({ plugin, target }) => (
                <>
                  {shown(target ?? "–")}
                  <span class="detail">{plugin !== undefined && `by ${shown(plugin)}`}</span>
                </>
              ),
            },
            { title: "State", cell: ({ state }) => <span class="tag">{shown(state, 40)}</span> },
            { title: "In", kind: "number", cell: ({ bytesIn }) => bytesText(bytesIn) },
            { title: "Out", kind: "number", cell: ({ bytesOut }) => bytesText(bytesOut) },
            {
              title: "Open",
              kind: "number",
              cell: ({ since }) => <time title={`${timeText(since)} UTC`}>{durationText(now - since)}</time>,
            },
            { title: "Action", kind: "action", cell: close },
          ]}
          rows={rows}
          empty={asked.filter === "" ? "No connection is open." : "No connection fits the filter."}
        />
        <Pager path="/connections" asked={asked} more={more} />
      </section>
    </Page>
  );
}
