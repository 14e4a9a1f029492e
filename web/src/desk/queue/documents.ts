import type { ResultOf } from "gql.tada";
import { graphql } from "../../shared/api/document";

const ROW = graphql(`
  fragment Row on Ticket {
    id number summary status priority version createdAt updatedAt waitingSince
    category { id name }
    assignee { id name }
    reporter { id name }
  }
`);

export const ROWS = graphql(`
  query QueueRows($filter: TicketFilterInput, $order: TicketOrder, $after: String) {
    eventCursor
    tickets(filter: $filter, orderBy: $order, first: 100, after: $after) {
      nodes { ...Row }
      pageInfo { endCursor hasNextPage }
    }
  }
`, [ROW]);

export const CURSOR = graphql(`
  query QueueCursor { eventCursor }
`);

/** Every ticket's events, without a filter: all members of staff share one stream of the server. */
export const CHANGES = graphql(`
  subscription QueueChanges($after: String) {
    queueEvents(after: $after) {
      __typename
      ... on TicketEvent { cursor ticket { ...Row } }
      ... on Checkpoint { cursor }
      ... on AccessRevoked { cursor }
      ... on ResyncRequired { reason }
    }
  }
`, [ROW]);

export const COUNTS = graphql(`
  query QueueCounts($me: ID!, $open: [TicketStatus!]) {
    open: ticketCounts(filter: { status: $open }) { total statuses { status count } categories { category { id } total } }
    mine: ticketCounts(filter: { status: $open, assigneeId: $me }) { total }
    unassigned: ticketCounts(filter: { status: $open, assigneeId: null }) { total }
    savedViews {
      id name isShared hasRetiredCategory ticketCount
      filter { status priority categoryIds assigneeId isUnassigned isAssignedToMe reporterId waitingSince text isUnread }
      orderBy { field direction }
    }
  }
`);

export const CATEGORIES = graphql(`
  query QueueCategories { categories { id slug name } }
`);

export const UPDATE_TICKETS = graphql(`
  mutation UpdateTickets($input: UpdateTicketsInput!) {
    updateTickets(input: $input) {
      results { ticketId ticket { ...Row } userErrors { code field } }
      userErrors { code field }
    }
  }
`, [ROW]);

/** A ticket as a list shows it. */
export type Row = ResultOf<typeof ROW>;
/** A page of a list. */
export type Page = ResultOf<typeof ROWS>["tickets"];
/** How many tickets each view has. */
export type Counts = ResultOf<typeof COUNTS>;
/** A view that somebody has saved. */
export type SavedView = NonNullable<Counts["savedViews"]>[number];
/** A category that accepts tickets. */
export type Category = ResultOf<typeof CATEGORIES>["categories"][number];
/** What became of one ticket in a bulk change. */
export type BulkResult = ResultOf<typeof UPDATE_TICKETS>["updateTickets"]["results"][number];
/** A message of the stream. */
export type Change = ResultOf<typeof CHANGES>["queueEvents"];
