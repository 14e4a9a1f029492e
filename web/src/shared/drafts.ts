// Messages that are being written. They are stored in this browser, for each account and place.

/** A message that is not posted yet. */
export interface Draft {
  summary: string;
  body: string;
  files: { id: string; name: string; size: number }[];
  /** Sent with each attempt, so that the message is posted once. */
  key: string;
  /** When the first attempt was made, in milliseconds since 1970, or null before it. */
  sentAt: number | null;
  /** Whether it is being sent: a new page continues to do so. */
  isQueued: boolean;
}

const PREFIX = "ticketwire:draft:";

/** The lifetime of an idempotency key on the server, in milliseconds: 24 hours, less one for slow clocks. */
export const KEY_LIFETIME_MS = 23 * 3_600_000;

/** Returns an empty draft with a key of its own. */
export function emptyDraft(): Draft {
  return { summary: "", body: "", files: [], key: newKey(), sentAt: null, isQueued: false };
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
  try {
    const text = localStorage.getItem(name);
    return text ? { ...emptyDraft(), ...(JSON.parse(text) as Partial<Draft>) } : null;
  } catch {
    return null;
  }
}

/** Stores a draft, or removes it if it is empty. Returns false if the browser stores nothing. */
export function saveDraft(name: string, draft: Draft): boolean {
  const isEmpty = !draft.summary && !draft.body && draft.files.length === 0;
  try {
    if (isEmpty) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(draft));
    return true;
  } catch {
    return false;
  }
}

/** Returns the names of an account's drafts. */
export function listDrafts(accountId: string): string[] {
  return Object.keys(localStorage).filter((name) => name.startsWith(draftName(accountId, "")));
}

/** Removes all drafts of an account. */
export function discardDrafts(accountId: string): void {
  for (const name of listDrafts(accountId)) localStorage.removeItem(name);
}
