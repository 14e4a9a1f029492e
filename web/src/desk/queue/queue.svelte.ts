import { ApiError, asApiError, request } from "../../shared/api/client";
import { setBehind } from "../../shared/api/line.svelte";
import { pause } from "../../shared/api/pause";
import { stay, type Following } from "../../shared/api/stay";
import { join } from "../../shared/join";
import { latest } from "../../shared/latest";
import { CATEGORIES, CHANGES, COUNTS, CURSOR, ROWS, type Category, type Change, type Counts, type Page, type Row } from "./documents";
import { compare, matches, needsServer, OPEN, type View } from "./views";

/** How often the counts are read at most, and a view that the server must decide, in milliseconds. */
const COUNT_MS = 2_000;

const idOf = ({ id }: Row): string => id;

/** The queue: the tickets of a view in their order, as far as they are loaded, and the counts of all views. */
class Queue {
  view = $state.raw<View | null>(null);
  rows = $state.raw<Row[]>([]);
  /** The ids of the rows. */
  readonly ids = $derived(new Set(this.rows.map(({ id }) => id)));
  isLoaded = $state(false);
  hasMore = $state(false);
  categories = $state.raw<Category[]>([]);
  counts = $state.raw<Counts | null>(null);
  failure = $state.raw<ApiError | null>(null);
  /** The ticket that somebody has opened last, whether or not it is in the view. */
  opened = $state.raw<Row | null>(null);
  /** The ticket that the keyboard is at. */
  selected = $state<string | null>(null);
  /** The tickets that the next change is for. */
  checked = $state.raw<ReadonlySet<string>>(new Set());
  /** How far the list was scrolled when it was left, in pixels. */
  place = 0;

  #me = "";
  #after: string | null = null;
  /** The last ticket that was read, as it was then: the next page begins after it. */
  #end: Row | null = null;
  /** Counts the requests for rows: only the answer to the last one is shown. */
  #turn = 0;
  /** Its reader has chosen the view, and its rows are not shown yet. */
  #isAwaited = false;
  #isLoadingMore = false;
  /** For each reading of rows, the tickets of events that arrived meanwhile. They may be newer. */
  readonly #missed = new Set<Row[]>();
  #countedAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #following: Following | undefined;
  readonly #readCounts = latest(
    (me: string) => request(COUNTS, { me, open: OPEN }),
    (counts, me) => {
      if (me === this.#me) this.counts = counts;
    },
  );

  /** Follows the events of all tickets for a member of staff. Returns a function that stops. */
  start(me: string): () => void {
    this.#me = me;
    const following = stay(CHANGES, {
      load: () => this.#load(),
      next: (change: Change) => this.#process(change),
      fail: (error) => {
        setBehind(this, false);
        this.failure = error;
      },
      wait: (error) => {
        if (!this.isLoaded || this.#isAwaited) this.failure = error;
      },
    });
    this.#following = following;
    return () => {
      following.stop();
      clearTimeout(this.#timer);
      this.#timer = undefined;
      setBehind(this, false);
      // Answers that are still to come are this person's.
      this.#me = "";
      this.#turn += 1;
      Object.assign(this, { view: null, rows: [], isLoaded: false, counts: null, failure: null, opened: null, selected: null, checked: new Set(), place: 0 });
    };
  }

  /** Shows another view. */
  async show(view: View): Promise<void> {
    if (this.view?.id !== view.id) {
      Object.assign(this, { rows: [], isLoaded: false, hasMore: false, selected: null, checked: new Set(), place: 0 });
      this.#after = null;
    }
    this.view = view;
    this.#isAwaited = true;
    // It is of the view before.
    const hasFailed = this.failure !== null;
    this.failure = null;
    if (hasFailed) this.#following?.retry();
    else await this.reload();
  }

  /** Reads the rows of the view again. After a failure it follows the events again too: they may have ended. */
  async reload(): Promise<void> {
    if (this.failure) return this.#following?.retry();
    const turn = ++this.#turn;
    try {
      await this.#readRows(turn);
    } catch (error) {
      if (turn !== this.#turn) return;
      if (this.#isAwaited) this.failure = asApiError(error);
      this.#following?.recover(asApiError(error));
    }
  }

  /** Reads the next page of the view. */
  async more(): Promise<void> {
    if (!this.hasMore || this.#isLoadingMore || !this.view) return;
    this.#isLoadingMore = true;
    const { view } = this;
    const after = this.#after;
    const missed = this.#collect();
    const isOutdated = (): boolean => after !== this.#after;
    try {
      const { tickets } = await request(ROWS, { filter: view.filter, order: view.order, after });
      // Meanwhile the list may have been read again.
      if (isOutdated()) return;
      this.rows = join(this.rows, tickets.nodes, idOf);
      this.#turnPage(tickets);
      for (const row of missed) this.apply(row);
    } catch (error) {
      if (!isOutdated()) this.failure = asApiError(error);
    } finally {
      this.#missed.delete(missed);
      this.#isLoadingMore = false;
    }
    // The list was read again, and its reader may be at its end.
    if (view === this.view && isOutdated()) await this.more();
  }

  /**
   * Returns the ticket before another in the list, or after it, or null. If the other has left the list,
   * its place is the one that it had in `before`, an earlier state of the list.
   */
  neighbour(number: string, step: 1 | -1, before: Row[] = []): Row | null {
    const index = this.rows.findIndex((row) => row.number === number);
    if (index >= 0) return this.rows[index + step] ?? null;
    const present = new Map(this.rows.map((row) => [row.id, row]));
    const place = before.findIndex((row) => row.number === number);
    const others = place < 0 ? [] : step > 0 ? before.slice(place + 1) : before.slice(0, place).reverse();
    return others.map(({ id }) => present.get(id)).find((row) => row !== undefined) ?? null;
  }

  /** Reads the categories and the counts of the views again. */
  async refresh(): Promise<void> {
    if (!this.#me) return;
    try {
      const [{ categories }] = await Promise.all([request(CATEGORIES, {}), this.#count()]);
      this.categories = categories;
    } catch {
      // The categories are read again when the stream begins again.
      this.#refreshSoon();
    }
  }

  /** Checks or unchecks tickets of the list. */
  check(ids: string[], isChecked: boolean): void {
    const checked = new Set(this.checked);
    for (const id of ids) if (isChecked && this.ids.has(id)) checked.add(id);
    else checked.delete(id);
    this.checked = checked;
  }

  /** Takes over the state of a ticket, unless a newer one is shown. */
  apply(row: Row): void {
    const old = this.rows.find(({ id }) => id === row.id);
    if (!this.view || (old && old.version > row.version)) return;
    const rest = old ? this.rows.filter((other) => other !== old) : this.rows;
    const before = rest.findIndex((other) => compare(this.view!, row, other) < 0);
    const index = before < 0 ? rest.length : before;
    // What comes after all that was read may come after more that was not: it is read with its page.
    const isBeyond = this.hasMore && this.#end !== null && compare(this.view, row, this.#end) > 0;
    const isIn = matches(this.view, row, this.#me) && !isBeyond && (old !== undefined || !needsServer(this.view));
    if (isIn) this.rows = [...rest.slice(0, index), row, ...rest.slice(index)];
    else if (old) {
      this.rows = rest;
      this.#uncheckGone();
    }
  }

  /** Unchecks the tickets that have left the list: when one comes back, nobody thinks of it any more. */
  #uncheckGone(): void {
    this.check([...this.checked].filter((id) => !this.ids.has(id)), false);
  }

  async #load(): Promise<{ after: string }> {
    setBehind(this, this.isLoaded);
    const [{ categories }, rows] = await Promise.all([request(CATEGORIES, {}), this.#readRows(), this.#count()]);
    this.categories = categories;
    this.failure = null;
    return { after: rows };
  }

  async #readRows(turn = ++this.#turn): Promise<string> {
    if (!this.view) return (await request(CURSOR, {})).eventCursor;
    const missed = this.#collect();
    try {
      const { filter, order } = this.view;
      const loaded = this.rows.length;
      const { eventCursor, tickets } = await request(ROWS, { filter, order });
      let page = tickets;
      let rows = page.nodes;
      // As far as the list was read before: its reader may be there.
      while (turn === this.#turn && page.pageInfo.hasNextPage && rows.length < loaded) {
        page = (await request(ROWS, { filter, order, after: page.pageInfo.endCursor })).tickets;
        rows = join(rows, page.nodes, idOf);
      }
      if (turn !== this.#turn) return eventCursor;
      this.rows = rows;
      this.#turnPage(page);
      for (const row of missed) this.apply(row);
      this.#uncheckGone();
      this.isLoaded = true;
      this.#isAwaited = false;
      return eventCursor;
    } finally {
      this.#missed.delete(missed);
    }
  }

  /** Returns a list of the tickets of events that arrive until it is deleted. */
  #collect(): Row[] {
    const missed: Row[] = [];
    this.#missed.add(missed);
    return missed;
  }

  #turnPage({ nodes, pageInfo }: Page): void {
    this.#after = pageInfo.endCursor;
    this.#end = nodes.at(-1) ?? null;
    this.hasMore = pageInfo.hasNextPage;
  }

  #process(change: Change): void {
    setBehind(this, false);
    if (!("ticket" in change)) return;
    if (change.__typename === "TicketCreated") this.opened = change.ticket;
    for (const missed of this.#missed) missed.push(change.ticket);
    this.apply(change.ticket);
    this.#refreshSoon();
  }

  /** Counts again, as soon as that is due. `failures` is how often it has failed in succession. */
  #refreshSoon(failures = 0): void {
    if (!this.#me) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#count().catch((error) => this.#recount(asApiError(error), failures));
      if (this.view && needsServer(this.view)) void this.reload();
    }, Math.max(0, this.#countedAt + COUNT_MS - Date.now()));
  }

  /** Counts again after a failure: the next event may come much later. */
  async #recount({ isTransient, retryAfterSeconds }: ApiError, failures: number): Promise<void> {
    const me = this.#me;
    await pause(failures, retryAfterSeconds);
    if (isTransient && me === this.#me) this.#refreshSoon(failures + 1);
  }

  #count(): Promise<void> {
    this.#countedAt = Date.now();
    return this.#readCounts(this.#me);
  }
}

/** The queue of the person who is signed in. */
export const queue = new Queue();
