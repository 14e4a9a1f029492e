import { request } from "../api/client";
import { graphql } from "../api/document";
import { stay, type Following } from "../api/stay";
import { session } from "../session.svelte";
import type { ResultOf } from "gql.tada";

const NOTE = graphql(`
  fragment Note on Notification { id kind createdAt readAt ticket { number summary } }
`);
const LIST = graphql(`
  query Notifications($after: String) {
    eventCursor
    viewer {
      unreadNotificationCount openTicketCount unreadTicketCount
      notifications(first: 20, after: $after) { nodes { ...Note } pageInfo { endCursor hasNextPage } }
    }
  }
`, [NOTE]);
const MARK = graphql(`
  mutation MarkNotificationsRead($ids: [ID!]) {
    markNotificationsRead(input: { ids: $ids }) { unreadNotificationCount }
  }
`);
const STREAM = graphql(`
  subscription NotificationStream($after: String) {
    notifications(after: $after) {
      __typename
      ... on NotificationAdded { cursor unreadNotificationCount openTicketCount unreadTicketCount notification { ...Note } }
      ... on NotificationCheckpoint { cursor unreadNotificationCount openTicketCount unreadTicketCount }
      ... on ResyncRequired { reason }
    }
  }
`, [NOTE]);

/** A notification as the list shows it. */
export type Note = ResultOf<typeof NOTE>;

/** The reader's notifications, newest first, with the live count of unread ones. */
export const bell = $state({ unread: 0, notes: [] as Note[], next: null as string | null });
/** Grows when what is shown is nobody's any more: answers to earlier requests are another reader's. */
let turn = 0;

/** Counts the messages of the stream: a count that was read before one is outdated. */
let received = 0;
let following: Following | undefined;

/** Reads the notifications and follows them. Returns a function that stops and forgets them. */
export function followBell(): () => void {
  const own = stay(STREAM, {
    load: async (isWanted) => ({ after: await load(null, isWanted) }),
    next: process,
    fail: () => {},
  });
  following = own;
  return () => {
    own.stop();
    turn += 1;
    Object.assign(bell, { unread: 0, notes: [], next: null });
    session.tickets = null;
  };
}

/** Reads the notifications again if the count says that some of those shown were read elsewhere. */
export function refreshBell(): void {
  const shown = bell.notes.filter(({ readAt }) => !readAt).length;
  if (shown > bell.unread || (bell.next === null && shown < bell.unread)) following?.retry();
}

function process(message: ResultOf<typeof STREAM>["notifications"]): void {
  if (message.__typename === "ResyncRequired") return;
  received += 1;
  bell.unread = message.unreadNotificationCount;
  session.tickets = { open: message.openTicketCount, unread: message.unreadTicketCount };
  if (bell.unread === 0) showAsRead(null);
  if (message.__typename !== "NotificationAdded") return;
  const { notification } = message;
  bell.notes = [notification, ...bell.notes.filter(({ id }) => id !== notification.id)];
}

/** Shows some notifications as read, or all of them. */
function showAsRead(ids: string[] | null): void {
  const now = new Date().toISOString();
  for (const note of bell.notes) if (!ids || ids.includes(note.id)) note.readAt ??= now;
}

async function load(after: string | null, isWanted: () => boolean): Promise<string> {
  const { viewer, eventCursor } = await request(LIST, { after });
  if (!isWanted()) return eventCursor;
  const page = viewer?.notifications;
  // While older ones are read, the stream may bring newer counts.
  if (!after) {
    bell.unread = viewer?.unreadNotificationCount ?? 0;
    session.tickets = { open: viewer?.openTicketCount ?? 0, unread: viewer?.unreadTicketCount ?? 0 };
  }
  bell.notes = after ? [...bell.notes, ...(page?.nodes ?? [])] : (page?.nodes ?? []);
  bell.next = page?.pageInfo.hasNextPage ? page.pageInfo.endCursor : null;
  return eventCursor;
}

/** Reads older notifications. */
export async function loadMore(): Promise<void> {
  const [own, after] = [turn, bell.next];
  await load(after, () => own === turn && after === bell.next);
}

/** Marks some notifications as read, or all of them. */
export async function markRead(ids: string[] | null): Promise<void> {
  const [own, before] = [turn, received];
  const shown = ids ?? bell.notes.map(({ id }) => id);
  const { markNotificationsRead } = await request(MARK, { ids });
  if (own !== turn) return;
  showAsRead(shown);
  const unread = markNotificationsRead.unreadNotificationCount ?? bell.unread;
  if (before === received) bell.unread = unread;
  // Which of the two counts is the later one is not known.
  else if (bell.unread !== unread) following?.retry();
}
