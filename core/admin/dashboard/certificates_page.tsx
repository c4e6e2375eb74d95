import type { Child } from "hono/jsx";
import type { CertificateRow } from "../../data_plane/snapshot.ts";
import { type Frame, Page } from "./layout.tsx";
import { Table } from "./table.tsx";
import { durationText, numberText, shown, timeText } from "./text.ts";

const MAX_ROWS = 1000;
/** Of one certificate. */
const MAX_NAMES = 20;
/** Somebody should see to it. A certificate of three months is renewed when a third of that is left. */
const SOON_MS = 14 * 24 * 60 * 60_000;

export function CertificatesPage({ frame, certificates }: {
  readonly frame: Frame;
  /** Absent: the gateway does not tell. */
  readonly certificates: readonly CertificateRow[] | undefined;
}): Child {
  const now = Date.now();
  return (
    <Page frame={frame}>
      <div id="rows" data-refresh="certificates">
        <Table
          caption="Certificates that clients are shown, and those that are asked for"
          columns={[
            { title: "Names", cell: ({ names }) => namesText(names) },
            { title: "From", cell: ({ source }) => shown(source) },
            { title: "State", cell: (row) => <State row={row} now={now} /> },
            {
              title: "Expires",
              cell: ({ state, notAfter }) =>
                state === "pending" || notAfter === "" ? "–" : <Expiry time={notAfter} now={now} />,
            },
            {
              title: "Next attempt",
              cell: ({ nextAttempt }) => nextAttempt === undefined ? "–" : `${timeText(nextAttempt)} UTC`,
            },
          ]}
          rows={certificates?.slice(0, MAX_ROWS) ?? []}
          empty={certificates === undefined
            ? "The gateway does not tell of its certificates."
            : "There is no certificate: the gateway cannot end TLS itself."}
        />
      </div>
    </Page>
  );
}

function State({ row: { state, notAfter, error }, now }: { row: CertificateRow; now: number }): Child {
  const left = Date.parse(notAfter) - now;
  const soon = state === "valid" && left < SOON_MS;
  const word = soon ? (left < 0 ? "expired" : "expires soon") : state;
  return (
    <>
      <span class={state === "valid" && !soon ? "tag good" : "tag bad"}>{shown(word)}</span>
      {error !== undefined && <span class="detail">{shown(error, 500)}</span>}
    </>
  );
}

function Expiry({ time, now }: { time: string; now: number }): Child {
  const left = Date.parse(time) - now;
  return (
    <>
      {timeText(time)} UTC
      {Number.isFinite(left) && (
        <span class="detail">{left < 0 ? `${durationText(-left)} ago` : `in ${durationText(left)}`}</span>
      )}
    </>
  );
}

function namesText(names: readonly string[]): string {
  const rest = names.length - MAX_NAMES;
  return names.slice(0, MAX_NAMES).map((name) => shown(name)).join(", ") +
    (rest > 0 ? ` and ${numberText(rest)} more` : "");
}
