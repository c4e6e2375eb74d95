/** @jsxRuntime automatic */
/** @jsxImportSource hono/jsx */
import type { Child } from "hono/jsx";
import { formatHostPort } from "../../../../core/plugin/mod.ts";
import { formatTarget } from "../../agent/target.ts";
import type { BodyView } from "../body_view.ts";
import { type Exchange, type HeaderList, headersOf } from "../exchange.ts";
import { replayProblem } from "../replay.ts";
import { isSecretHeader, maskHeaders } from "../secret_headers.ts";
import { formatBytes, formatMs, formatTime, toneOf } from "./format.ts";
import type { Html } from "./html.ts";

interface ArticleProps {
  readonly exchange: Exchange;
  readonly bodies: { readonly request: BodyView; readonly response: BodyView | undefined };
  readonly showSecrets: boolean;
  readonly formToken: string;
}

/** One exchange with all that is kept of it. */
export function ExchangeArticle({ exchange, bodies, showSecrets, formToken }: ArticleProps): Html {
  const { request, response } = exchange;
  const shown = (message: { readonly fields: string }) => {
    const headers = headersOf(message);
    return showSecrets ? headers : maskHeaders(headers);
  };
  return (
    <article>
      <p class="back">
        <a href="/">All requests</a>
      </p>
      <h2>
        <span class="method">{request.method}</span> <span class="target">{request.target}</span>
      </h2>
      <Facts exchange={exchange} />
      <div class="actions">
        <Replay exchange={exchange} formToken={formToken} />
        {hasSecrets(exchange) ? <SecretsLink exchange={exchange} showSecrets={showSecrets} /> : ""}
      </div>
      <section aria-label="Request">
        <h3>{`Request, HTTP/${request.version}`}</h3>
        <Headers headers={shown(request)} />
        <Body view={bodies.request} />
      </section>
      <section aria-label="Response">
        <h3 class={`outcome ${toneOf(exchange)}`}>{responseTitle(exchange)}</h3>
        {exchange.problem === undefined ? "" : <p class="problem">{exchange.problem}</p>}
        {response === undefined ? "" : <Headers headers={shown(response)} />}
        {response === undefined || exchange.state === "upgraded" || bodies.response === undefined
          ? ""
          : <Body view={bodies.response} />}
      </section>
    </article>
  );
}

function responseTitle({ state, response }: Exchange): string {
  if (response !== undefined) return `Response, ${response.status} ${response.reason}`;
  return state === "broken" ? "No response" : "Waiting for the response";
}

function Facts({ exchange }: { readonly exchange: Exchange }): Html {
  const { time, origin, replayOf, headMs, totalMs, request, response } = exchange;
  const { address, port } = origin.header.source;
  return (
    <dl>
      <Fact name="Time">{formatTime(time)}</Fact>
      {replayOf === undefined
        ? <Fact name="Client">{formatHostPort({ host: address, port })}</Fact>
        : (
          <Fact name="Replay of">
            <a href={`/exchanges/${replayOf}`}>{`request ${replayOf}`}</a>
          </Fact>
        )}
      <Fact name="Service">{`${origin.service.name} at ${formatTarget(origin.service.target)}`}</Fact>
      {headMs === undefined ? "" : <Fact name="To response">{formatMs(headMs)}</Fact>}
      {totalMs === undefined ? "" : <Fact name="In all">{formatMs(totalMs)}</Fact>}
      <Fact name="Sent">{formatBytes(request.body.total)}</Fact>
      {response === undefined ? "" : <Fact name="Received">{formatBytes(response.body.total)}</Fact>}
      {exchange.state === "upgraded"
        ? (
          <Fact name="Protocol">
            {`changed to ${request.upgrade ?? "another"}; only its bytes are counted`}
          </Fact>
        )
        : ""}
    </dl>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children?: Child }): Html {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Replay({ exchange, formToken }: Pick<ArticleProps, "exchange" | "formToken">): Html {
  const problem = replayProblem(exchange);
  if (problem !== undefined) return <p class="hint">{`No replay: ${problem}`}</p>;
  return (
    <form method="post" action={`/exchanges/${exchange.id}/replay`}>
      <input type="hidden" name="token" value={formToken} />
      <button type="submit" id="replay">Replay</button>
    </form>
  );
}

function hasSecrets({ request, response }: Exchange): boolean {
  const headers = [request, ...response ? [response] : []].flatMap(headersOf);
  return headers.some(([name]) => isSecretHeader(name));
}

function SecretsLink(
  { exchange: { id }, showSecrets }: Pick<ArticleProps, "exchange" | "showSecrets">,
): Html {
  return showSecrets
    ? <a href={`/exchanges/${id}`}>Hide secrets</a>
    : <a href={`/exchanges/${id}?show=secrets`}>Show secrets</a>;
}

function Headers({ headers }: { readonly headers: HeaderList }): Html {
  return (
    <table>
      <tbody>
        {headers.map(([name, value], i) => (
          <tr key={i}>
            <th scope="row">{name}</th>
            <td>{value}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Body({ view }: { readonly view: BodyView }): Html {
  if (view.kind === "empty") return <p class="hint">No body</p>;
  return (
    <>
      <p class="hint">{`Body: ${view.note}`}</p>
      {/* HTML drops a line feed that comes first: it is this one then, and never one of the body's own. */}
      <pre tabindex={0}>{`\n${view.kind === "text" ? view.text : view.hex}`}</pre>
    </>
  );
}
