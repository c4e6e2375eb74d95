import type { Child } from "hono/jsx";
import type { RecentEvent } from "../../data_plane/snapshot.ts";
import { maskField } from "../mask.ts";
import { type Frame, Page } from "./layout.tsx";
import { Table } from "./table.tsx";
import { numberText, shown, timeText } from "./text.ts";

export function EventsPage(
  { frame, events }: { readonly frame: Frame; readonly events: readonly RecentEvent[] },
): Child {
  return (
    <Page frame={frame}>
      <p>
        What the log has of tunnels, plugins, certificates, reloads and faults; what strangers repeat is
        counted.
      </p>
      <div id="rows" data-refresh="events">
        <EventTable events={events} />
      </div>
    </Page>
  );
}

/** @param events Oldest first; they are shown the other way round. */
export function EventTable({ events }: { readonly events: readonly RecentEvent[] }): Child {
  return (
    <Table
      caption="Recent events, the latest first"
      columns={[
        { title: "Time (UTC)", cell: ({ time }) => timeText(time) },
        {
          title: "Event",
          cell: ({ event, level, count }) => (
            <>
              <span class={level === "error" || level === "warn" ? "tag bad" : "tag"}>
                {shown(level, 10)}
              </span>{" "}
              <strong>{shown(event, 60)}</strong>{" "}
              {count > 1 && <span class="unit">{numberText(count)} times</span>}
            </>
          ),
        },
        { title: "From", cell: ({ from }) => shown(from, 60) },
        { title: "Details", cell: ({ fields }) => <Fields fields={fields} /> },
      ]}
      rows={events.toReversed()}
      empty="Nothing has happened yet that is worth a look."
    />
  );
}

function Fields({ fields }: Pick<RecentEvent, "fields">): Child {
  return (
    <ul class="fields">
      {Object.entries(fields).filter(([, value]) => value !== undefined).map(([key, value]) => (
        <li>
          <span class="unit">{shown(key, 40)}</span> {shown(maskField(key, value))}
        </li>
      ))}
    </ul>
  );
}
