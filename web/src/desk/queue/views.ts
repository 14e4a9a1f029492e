import type { VariablesOf } from "gql.tada";
import type { Scalar } from "../../shared/api/document";
import { t } from "../i18n";
import type { Category, Counts, ROWS, Row, SavedView } from "./documents";

type Filter = NonNullable<VariablesOf<typeof ROWS>["filter"]>;
type Order = NonNullable<VariablesOf<typeof ROWS>["order"]>;

/** A selection of tickets with an order. */
export interface View {
  /** Its name in the address. */
  id: string;
  filter: Filter;
  order: Order;
  /** Present if somebody has saved it. */
  saved?: SavedView;
}

/** The statuses of tickets that somebody still has to work on. */
export const OPEN: Scalar<"TicketStatus">[] = ["WAITING_FOR_SUPPORT", "WORKING_ON_IT", "WAITING_FOR_CUSTOMER"];

const PRIORITIES: Scalar<"TicketPriority">[] = ["LOWEST", "LOW", "MEDIUM", "HIGH", "HIGHEST"];
const LONGEST_WAIT: Order = { field: "WAITING_SINCE", direction: "ASC" };
const LAST_CHANGE: Order = { field: "UPDATED_AT", direction: "DESC" };

/** Returns the views that everybody has. */
export function builtIn(me: string, categories: Category[]): View[] {
  return [
    { id: "waiting", filter: { status: ["WAITING_FOR_SUPPORT"] }, order: LONGEST_WAIT },
    { id: "mine", filter: { status: OPEN, assigneeId: me }, order: LAST_CHANGE },
    { id: "unassigned", filter: { status: OPEN, assigneeId: null }, order: LONGEST_WAIT },
    { id: "open", filter: { status: OPEN }, order: LAST_CHANGE },
    ...categories.map(({ id, slug }) => ({ id: `category-${slug}`, filter: { status: OPEN, categoryIds: [id] }, order: LONGEST_WAIT })),
  ];
}

/** Returns a view that somebody has saved. */
export function savedView(saved: SavedView): View {
  const { isUnassigned, ...conditions } = saved.filter;
  const set = Object.entries(conditions).filter(([, value]) => value !== null);
  const filter: Filter = { ...Object.fromEntries(set), ...(isUnassigned && { assigneeId: null }) };
  return { id: `saved-${saved.id}`, filter, order: saved.orderBy, saved };
}

/** Returns the name of a view. */
export function nameOf(view: View, categories: Category[]): string {
  if (view.saved) return view.saved.name;
  const category = categories.find(({ slug }) => view.id === `category-${slug}`);
  return category?.name ?? t(`view.${view.id as "mine"}`);
}

/** Returns the number of tickets in a view. Null if the server could not count them in time. */
export function countOf({ id, filter, saved }: View, counts: Counts): number | null {
  if (saved) return counts.savedViews?.find((view) => view.id === saved.id)?.ticketCount ?? null;
  switch (id) {
    case "mine":
      return counts.mine.total;
    case "unassigned":
      return counts.unassigned.total;
    case "open":
      return counts.open.total;
    case "waiting":
      return counts.open.statuses.find(({ status }) => status === "WAITING_FOR_SUPPORT")?.count ?? 0;
    default:
      return counts.open.categories.find(({ category }) => category.id === filter.categoryIds?.[0])?.total ?? 0;
  }
}

/** Returns whether a ticket belongs to a view, as far as the ticket tells: not its words, age or read marks. */
export function matches({ filter }: View, row: Row, me: string): boolean {
  const isIn = (list: readonly string[] | null | undefined, value: string): boolean => !list || list.includes(value);
  return (
    isIn(filter.status, row.status) && isIn(filter.priority, row.priority) && isIn(filter.categoryIds, row.category.id) &&
    (filter.assigneeId === undefined || filter.assigneeId === (row.assignee?.id ?? null)) &&
    (filter.isAssignedToMe == null || filter.isAssignedToMe === (row.assignee?.id === me)) &&
    (filter.reporterId == null || filter.reporterId === row.reporter.id)
  );
}

/** Returns whether a view depends on what a ticket does not tell. The server decides then. */
export function needsServer({ filter }: View): boolean {
  return filter.text != null || filter.waitingSince != null || filter.isUnread != null;
}

/** Compares two tickets by the order of a view, as the server sorts them. */
export function compare({ order }: View, a: Row, b: Row): number {
  const sign = order.direction === "ASC" ? 1 : -1;
  const [x, y] = [keyOf(order, a), keyOf(order, b)];
  // What does not wait comes last in both directions.
  if (x === null || y === null) return x === y ? sign * (numberOf(a) - numberOf(b)) : x === null ? 1 : -1;
  return sign * (x - y || numberOf(a) - numberOf(b));
}

function keyOf({ field }: Order, row: Row): number | null {
  switch (field) {
    case "CREATED_AT":
      return Date.parse(row.createdAt);
    case "UPDATED_AT":
      return Date.parse(row.updatedAt);
    case "PRIORITY":
      return PRIORITIES.indexOf(row.priority);
    case "WAITING_SINCE":
      return row.waitingSince === null ? null : Date.parse(row.waitingSince);
  }
}

function numberOf({ number }: Row): number {
  return Number(/\d+$/.exec(number)?.[0]);
}
