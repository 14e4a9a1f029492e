import type { ResultOf } from "gql.tada";
import { request } from "../../shared/api/client";
import { graphql, type Scalar } from "../../shared/api/document";
import { stay } from "../../shared/api/stay";
import { newKey } from "../../shared/drafts";

const PRESENCE = graphql(`
  subscription TicketPresence($ticketId: ID!) {
    ticketPresence(ticketId: $ticketId) { __typename people { account { id name } activity } }
  }
`);
const SET_PRESENCE = graphql(`
  mutation SetTicketPresence($input: SetTicketPresenceInput!) { setTicketPresence(input: $input) { userErrors { code field } } }
`);

/** Somebody who has the ticket open. */
export type Present = ResultOf<typeof PRESENCE>["ticketPresence"]["people"][number];

/** How often a page says that it is still open, in milliseconds. The others forget it after 15 seconds. */
const BEAT_MS = 5_000;

/** Who reads or writes a ticket, and what this page tells the others of its reader. */
export class Presence {
  people = $state.raw<Present[]>([]);
  #ticketId = "";
  /** Tells this page from others of the same session. */
  readonly #clientId = newKey();
  #activity: Scalar<"PresenceActivity"> = "READING";

  /** Follows a ticket. Returns a function that stops. */
  follow(ticketId: string): () => void {
    this.#ticketId = ticketId;
    const following = stay(PRESENCE, {
      load: async () => ({ ticketId }),
      next: ({ people }) => (this.people = people),
      fail: () => (this.people = []),
    });
    const beat = setInterval(() => this.#tell(), BEAT_MS);
    const onShow = () => this.#tell();
    document.addEventListener("visibilitychange", onShow);
    this.#tell();
    return () => {
      document.removeEventListener("visibilitychange", onShow);
      clearInterval(beat);
      following.stop();
      this.#send(null);
    };
  }

  /** Says whether the reader writes. */
  write(isWriting: boolean): void {
    const activity = isWriting ? "WRITING" : "READING";
    if (activity === this.#activity) return;
    this.#activity = activity;
    if (this.#ticketId) this.#tell();
  }

  #tell(): void {
    this.#send(document.hidden ? null : this.#activity);
  }

  #send(activity: Scalar<"PresenceActivity"> | null): void {
    // The next beat says it again if this fails.
    request(SET_PRESENCE, { input: { ticketId: this.#ticketId, activity, clientId: this.#clientId } }).catch(() => {});
  }
}
