import type { Child } from "hono/jsx";

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => Child;
  /** Numbers stand at the right. */
  readonly kind?: "number" | "action";
}

/**
 * A table that becomes a list of cards where it is narrow. The style sheet takes its display types away for that, and
 * with them what a screen reader goes by, so the roles are written out.
 */
export function Table<Row>({ caption, columns, rows, empty }: {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  /** What is said instead of an empty table. */
  readonly empty: string;
}): Child {
  if (rows.length === 0) return <p class="empty">{empty}</p>;
  return (
    <table class="rows" role="table">
      <caption>{caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {columns.map(({ title, kind }) => (
            <th role="columnheader" scope="col" class={kind ?? "text"}>{title}</th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {rows.map((row) => (
          <tr role="row">
            {columns.map(({ title, cell, kind }) => (
              <td role="cell" class={kind ?? "text"} data-title={title}>
                <div>{cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What is asked for of a long table: the address of the page says it. */
export interface Asked {
  readonly filter: string;
  /** Counts from 1. */
  readonly page: number;
}

/** Rows of one page. Enough to look through; a page of them is made in a few milliseconds. */
export const PAGE_ROWS = 100;

/** The search field above a long table. */
export function Filter({ path, asked, hint }: { path: string; asked: Asked; hint: string }): Child {
  return (
    <form class="filter" method="get" action={path} role="search">
      <label for="filter">Filter</label>
      <input
        id="filter"
        type="search"
        name="filter"
        value={asked.filter}
        placeholder={hint}
        maxlength={200}
      />
      <button type="submit">Show</button>
      {asked.filter !== "" && <a href={path}>Show all</a>}
    </form>
  );
}

/** The way to the pages before and after. */
export function Pager({ path, asked, more }: { path: string; asked: Asked; more: boolean }): Child {
  if (asked.page === 1 && !more) return null;
  const to = (page: number) => addressOf(path, { ...asked, page });
  return (
    <nav class="pager" aria-label="Pages of this table">
      {asked.page > 1 && <a rel="prev" href={to(asked.page - 1)}>Previous</a>}
      <span>Page {asked.page}</span>
      {more && <a rel="next" href={to(asked.page + 1)}>Next</a>}
    </nav>
  );
}

/** Where a page of a table is. */
export function addressOf(path: string, { filter, page }: Asked, more: Record<string, string> = {}): string {
  const query = new URLSearchParams({
    ...(filter !== "" && { filter }),
    ...(page !== 1 && { page: `${page}` }),
    ...more,
  });
  return query.size === 0 ? path : `${path}?${query}`;
}

/** A button that ends one thing, and comes back to where it was. */
export function CloseButton(
  { path, id, what, label, formToken, asked }: {
    path: string;
    id: string;
    /** What a person is asked about before it is done. */
    what: string;
    label: string;
    formToken: string;
    asked: Asked;
  },
): Child {
  return (
    <form method="post" action={`${path}/close`} data-confirm={`${label} ${what}?`}>
      <input type="hidden" name="token" value={formToken} />
      <input type="hidden" name="id" value={id} />
      <input type="hidden" name="filter" value={asked.filter} />
      <input type="hidden" name="page" value={`${asked.page}`} />
      <button type="submit" class="danger" aria-label={`${label} ${what}`}>{label}</button>
    </form>
  );
}
