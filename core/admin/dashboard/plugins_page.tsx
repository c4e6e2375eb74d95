import type { Child } from "hono/jsx";
import type { PluginRow } from "../../data_plane/snapshot.ts";
import { maskField } from "../mask.ts";
import { type Frame, Page } from "./layout.tsx";
import { Table } from "./table.tsx";
import { numberText, shown } from "./text.ts";

/** A plugin tells of itself what it likes; this much of it is shown. */
const MAX_DETAILS = 40;
const MAX_DETAIL_ROWS = 100;
const MAX_DETAIL_COLUMNS = 10;

export function PluginsPage({ frame, plugins }: {
  readonly frame: Frame;
  readonly plugins: readonly PluginRow[];
}): Child {
  return (
    <Page frame={frame}>
      <div id="rows" data-refresh="plugins">
        {plugins.length === 0 && <p class="empty">No plugin runs.</p>}
        {plugins.map((plugin) => <Plugin plugin={plugin} />)}
      </div>
    </Page>
  );
}

function Plugin({ plugin }: { plugin: PluginRow }): Child {
  const { name, isolation, module, state, restarts, status, permissions } = plugin;
  const good = state === "up" && status.ready;
  return (
    <section class="card">
      <h2>
        {shown(name)}{" "}
        <span class={good ? "tag good" : "tag bad"}>
          {good ? "ready" : shown(state === "up" ? "not ready" : state)}
        </span>
      </h2>
      {status.reason !== undefined && <p class="reason">{shown(status.reason, 500)}</p>}
      <dl class="facts">
        <dt>Runs</dt>
        <dd>{isolation === "inline" ? "in each data plane" : "in a worker of its own"}</dd>
        <dt>Restarts</dt>
        <dd>{numberText(restarts)}</dd>
        <dt>Module</dt>
        <dd>{shown(module)}</dd>
        <dt>May</dt>
        <dd>
          <Permissions permissions={permissions} />
        </dd>
        {Object.entries(status.details ?? {}).slice(0, MAX_DETAILS).filter(([, value]) => !isTable(value))
          .map((
            [key, value],
          ) => (
            <>
              <dt>{shown(key)}</dt>
              <dd>{valueText(key, value)}</dd>
            </>
          ))}
      </dl>
      {Object.entries(status.details ?? {}).slice(0, MAX_DETAILS).map(([key, value]) =>
        isTable(value) && <Details title={key} rows={value} />
      )}
    </section>
  );
}

function Permissions({ permissions }: Pick<PluginRow, "permissions">): Child {
  const granted = Object.entries(permissions).filter(([, grant]) => grant !== false);
  if (granted.length === 0) return "nothing";
  return (
    <ul>
      {granted.map(([kind, grant]) => (
        <li>
          <span class="tag">{shown(kind)}</span> {grant === true
            ? "everything"
            : Array.isArray(grant)
            ? grant.map((one) => shown(one)).join(", ")
            : shown(grant)}
        </li>
      ))}
    </ul>
  );
}

type Flat = Readonly<Record<string, unknown>>;

/** The processes of cloudflared, tunnels to other gateways: a list of things that have the same fields. */
function isTable(value: unknown): value is readonly Flat[] {
  return Array.isArray(value) && value.length > 0 &&
    value.every((one) => typeof one === "object" && one !== null && !Array.isArray(one));
}

function Details({ title, rows }: { title: string; rows: readonly Flat[] }): Child {
  const keys = [...new Set(rows.slice(0, MAX_DETAIL_ROWS).flatMap((row) => Object.keys(row)))];
  return (
    <>
      <h3>{shown(title)}</h3>
      <Table
        caption={shown(title)}
        columns={keys.slice(0, MAX_DETAIL_COLUMNS).map((key) => ({
          title: shown(key, 40),
          cell: (row: Flat) => valueText(key, row[key]),
        }))}
        rows={rows.slice(0, MAX_DETAIL_ROWS)}
        empty=""
      />
    </>
  );
}

/** Secrets are left out by their names, too. */
function valueText(key: string, value: unknown): string {
  if (value === undefined) return "–";
  const safe = JSON.parse(JSON.stringify({ [key]: value }, maskField))[key];
  if (Array.isArray(safe) && safe.length === 0) return "none";
  return shown(typeof safe === "object" ? plainText(safe) : safe, 500);
}

/** `up: true, kind: postgres`. */
function plainText(value: object | null): string {
  if (value === null) return "–";
  if (Array.isArray(value)) {
    return value.map((one) => typeof one === "object" ? plainText(one) : String(one)).join(", ");
  }
  return Object.entries(value).map(([key, one]) =>
    `${key}: ${typeof one === "object" ? plainText(one) : one}`
  )
    .join(", ");
}
