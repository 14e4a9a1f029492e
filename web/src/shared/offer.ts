import { saveText } from "./drafts";
import { session } from "./session.svelte";

/** Where this browser notes that an account has answered the offer of a second factor. */
const nameOf = (account: string) => `ticketwire:offer:${account}`;

/** Returns whether to offer the account a second factor: it has none, and has not answered in this browser. */
export function isOffered(): boolean {
  const { viewer } = session;
  return viewer?.secondFactors?.length === 0 && localStorage.getItem(nameOf(viewer.id)) === null;
}

/** Doesn't show the offer to the account again in this browser. */
export function answerOffer(): void {
  if (session.viewer) saveText(nameOf(session.viewer.id), "answered");
}
