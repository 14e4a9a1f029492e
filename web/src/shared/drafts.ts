// What is being written. It is stored in this browser, for each account and place.
import type { Scalar } from "./api/document";

/** A message that is being written. */
export interface Draft {
  summary: string;
  body: string;
  /** In the order in which they were chosen: `turn` grows. */
  files: { id: string; name: string; size: number; turn?: number }[];
  /** The category of a new ticket or a canned answer. Left out until one is chosen. */
  categoryId?: string;
  /** The language of a canned answer, or empty for every one. Left out until one is chosen. */
  locale?: Scalar<"Locale"> | "";
  /** What was stored when its author began to change it: a comment or a canned answer. */
  begunFrom?: Pick<Draft, "body"> & Partial<Pick<Draft, "summary" | "categoryId" | "locale">>;
  /** The status that is set with an answer or a note. Left out if none is chosen. */
  status?: Scalar<"TicketStatus">;
  /** Sent with each attempt to post the message, so that it is posted once. */
  key: string;
  /** The last event or comment that its author had seen when it was begun. Null if the server does not compare. */
  seenUpTo?: string | null;
}

const PREFIX = "ticketwire:draft:";

/** Returns where a file that was chosen at a turn stands among others. */
export function placeOf(turn: number, files: readonly { turn?: number }[]): number {
  const next = files.findIndex((other) => (other.turn ?? 0) > turn);
  return next < 0 ? files.length : next;
}

/** Returns an empty draft with a key of its own. */
export function emptyDraft(): Draft {
  return { summary: "", body: "", files: [], key: newKey() };
}

/** Returns a new idempotency key. */
export function newKey(): string {
  // `randomUUID` exists in secure contexts only, and the demo is also opened by its address.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Returns the name under which a draft is stored. */
export function draftName(accountId: string, place: string): string {
  return `${PREFIX}${accountId}:${place}`;
}

/** Returns a stored draft, or null if there is none. */
export function loadDraft(name: string): Draft | null {
  const stored = loadItem<Partial<Draft>>(name);
  return stored && { ...emptyDraft(), ...stored };
}

/** Returns a stored item, or null if there is none. */
export function loadItem<T>(name: string): T | null {
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null") as T | null;
  } catch {
    return null;
  }
}

/** Returns whether an item is stored. */
export function isStored(name: string): boolean {
  return loadItem(name) !== null;
}

/** Stores an item, or removes it if it is null. Returns false if the browser stores nothing. */
export function saveItem(name: string, item: object | null): boolean {
  try {
    if (item) localStorage.setItem(name, JSON.stringify(item));
    else localStorage.removeItem(name);
    return true;
  } catch {
    return false;
  }
}

/** Stores a text. Removes the one before if there is no room: without any, the page goes on as if it were new. */
export function saveText(name: string, text: string, storage = localStorage): void {
  try {
    storage.setItem(name, text);
  } catch {
    storage.removeItem(name);
  }
}

/** Returns whether something to send was written below a name: a status alone is nothing to send. */
export function isBegun(name: string): boolean {
  const draft = loadDraft(name);
  return draft !== null && Boolean(draft.summary || draft.body || draft.files.length);
}

/** Returns the names of an account's drafts. */
export function listDrafts(accountId: string): string[] {
  return namesBelow(draftName(accountId, ""));
}

/** Returns the names of stored items that begin with a prefix, in alphabetical order. */
export function namesBelow(prefix: string): string[] {
  return Object.keys(localStorage).filter((name) => name.startsWith(prefix)).sort();
}
