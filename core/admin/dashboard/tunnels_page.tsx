import type { Child } from "hono/jsx";
import type { GatewayTunnel } from "../../data_plane/snapshot.ts";
import { formatHostPort } from "../../net/address.ts";
import { type Frame, Page } from "./layout.tsx";
import { type Asked, CloseButton, Filter, Pager, Table } from "./table.tsx";
import { bytesText, durationText, linkTo, numberText, shown, timeText } from "./text.ts";

/** Of one tunnel; it may have many more. */
const SERVICES_SHOWN = 20;

export function TunnelsPage({ frame, asked, rows, more }: {
  readonly frame: Frame;
  readonly asked: Asked;
  readonly rows: readonly GatewayTunnel[];
  readonly more: boolean;
}): Child {
  const now = Date.now();
  const close = (tunnel: GatewayTunnel) => (
    <CloseButton
      path="/tunnels"
      id={tunnel.id}
      what={`${shown(tunnel.owner, 60)} (${shown(tunnel.id, 40)})`}
      label="Disconnect"
      formToken={frame.formToken}
      asked={asked}
    />
  );
  return (
    <Page frame={frame}>
      <Filter path="/tunnels" asked={asked} hint="owner, address, service, name" />
      <section id="rows" data-refresh="tunnels" aria-label="Tunnels">
        <Table
          caption="Agents that are connected, oldest first"
          columns={[
            { title: "Agent", cell: (tunnel) => <AgentCell tunnel={tunnel} /> },
            { title: "Services", cell: (tunnel) => <Services tunnel={tunnel} /> },
            { title: "Round trip", kind: "number", cell: ({ roundTripMs }) => roundTrip(roundTripMs) },
            { title: "Streams", kind: "number", cell: ({ streams }) => numberText(streams) },
            { title: "In", kind: "number", cell: ({ bytesIn }) => bytesText(bytesIn) },
            { title: "Out", kind: "number", cell: ({ bytesOut }) => bytesText(bytesOut) },
            {
              title: "Connected",
              kind: "number",
              cell: ({ since }) => <time title={`${timeText(since)} UTC`}>{durationText(now - since)}</time>,
            },
            { title: "Action", kind: "action", cell: close },
          ]}
          rows={rows}
          empty={asked.filter === "" ? "No agent is connected." : "No tunnel fits the filter."}
        />
        <Pager path="/tunnels" asked={asked} more={more} />
      </section>
    </Page>
  );
}

function AgentCell({ tunnel: { id, owner, agent, source, plugin } }: { tunnel: GatewayTunnel }): Child {
  return (
    <>
      <strong>{shown(owner)}</strong>
      <span class="detail">{shown(formatHostPort({ host: String(source.address), port: source.port }))}</span>
      <span class="detail">{shown(agent ?? "agent")} by {shown(plugin)}, {shown(id, 40)}</span>
    </>
  );
}

function Services({ tunnel: { services } }: { tunnel: GatewayTunnel }): Child {
  const rest = services.length - SERVICES_SHOWN;
  return (
    <ul class="services">
      {services.slice(0, SERVICES_SHOWN).map(({ name, protocol, url, target }) => (
        <li>
          <strong>{shown(name)}</strong> <span class="tag">{shown(protocol, 20)}</span>
          <span class="detail">
            <PublicAddress url={url} />
            {target !== undefined && ` → ${shown(target)}`}
          </span>
        </li>
      ))}
      {rest > 0 && <li>and {numberText(rest)} more</li>}
    </ul>
  );
}

/** A link only where following it does no more than going there. */
function PublicAddress({ url }: { url: string }): Child {
  const link = linkTo(url);
  if (link === undefined) return shown(url);
  return <a href={link} rel="noopener noreferrer nofollow" target="_blank">{shown(url)}</a>;
}

function roundTrip(ms: number | undefined): string {
  return ms === undefined ? "–" : `${numberText(ms)} ms`;
}
