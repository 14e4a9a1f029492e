import type { ResultOf } from "gql.tada";
import { ApiError, request } from "../api/client";
import { setBehind } from "../api/line.svelte";
import { stay, type Following } from "../api/stay";
import { EARLIER, EVENTS, FOLLOW_UPS, INVITATIONS, MARK_READ, TICKET, type Loaded, type CommentEvent, type Facts, type TicketView, type TimelineEvent } from "./documents";

type StreamMessage = ResultOf<typeof EVENTS>["ticketEvents"];

/** The events that change the open invitations. */
const INVITING: TimelineEvent["__typename"][] = ["ParticipantInvited", "InvitationDeclined", "InvitationWithdrawn", "ParticipantAdded"];

/** Reads a ticket with the latest entries of its timeline. */
export function readTicket(number: string): Promise<Loaded> {
  return request(TICKET, { number });
}

/** A ticket that follows its events. */
export class LiveTicket {
  ticket = $state<TicketView | null>(null);
  events = $state<TimelineEvent[]>([]);
  earlier = $state<string | null>(null);
  isMuted = $state(false);
  failure = $state<ApiError | null>(null);
  /** The ticket was taken away while it was open. */
  isLost = $state(false);
  #following: Following | undefined;

  constructor(
    readonly number: string,
    /** Called with each event that arrives while the page is open. */
    readonly onEvent: (event: TimelineEvent) => void,
    /** Reads the ticket. Its stream brings what has happened since. */
    readonly read: (number: string) => Promise<Loaded> = readTicket,
  ) {}

  /** Reads the ticket and follows it. Returns a function that stops. */
  follow(): () => void {
    const following = stay(EVENTS, {
      load: (isWanted) => this.#load(isWanted),
      next: (message: StreamMessage) => this.#process(message),
      fail: (error) => this.#fail(error),
      wait: (error) => {
        if (!this.ticket) this.failure = error;
      },
    });
    this.#following = following;
    return () => {
      setBehind(this, false);
      following.stop();
    };
  }

  /** Reads and follows it again after a failure. */
  retry(): void {
    this.failure = null;
    this.#following?.retry();
  }

  /** The last event that is shown, or null before the ticket is. */
  get lastEvent(): string | null {
    return this.events.at(-1)?.id ?? null;
  }

  /** Returns whether a comment is shown. */
  hasComment(id: string): boolean {
    return this.#comment(id) !== undefined;
  }

  /** Returns the place of the shown entry that has an id, or whose comment has it, or -1. */
  placeOf(id: string | null | undefined): number {
    return this.events.findIndex((event) => event.id === id || (event.__typename === "CommentAdded" && event.comment.id === id));
  }

  /** Adds the entries before those that are shown. */
  async showEarlier(): Promise<void> {
    const before = this.earlier;
    const { ticket } = await request(EARLIER, { number: this.number, before });
    // Meanwhile the ticket may have been read again.
    if (!ticket || before !== this.earlier) return;
    const shown = this.events;
    this.events = [...ticket.timeline.nodes, ...shown];
    // What has happened on the way of the answer found no comment of it here.
    for (const event of shown) this.#applyToComments(event);
    this.earlier = ticket.timeline.pageInfo.hasPreviousPage ? ticket.timeline.pageInfo.startCursor : null;
  }

  /** Takes over the ticket's state, unless it is older than the one that is shown. */
  update(facts: Facts | null): void {
    if (this.ticket && facts && facts.version >= this.ticket.version) Object.assign(this.ticket, facts);
  }

  /** Shows an invitation that was sent, unless it is shown. */
  noteInvitation(invitation: NonNullable<TicketView["invitations"]>[number]): void {
    const { ticket } = this;
    if (ticket && !ticket.invitations?.some(({ id }) => id === invitation.id)) ticket.invitations = [...(ticket.invitations ?? []), invitation];
  }

  /** Reads the open invitations again. */
  async readInvitations(): Promise<void> {
    const { ticket } = await request(INVITATIONS, { number: this.number });
    if (this.ticket && ticket) this.ticket.invitations = ticket.invitations;
  }

  /** Reads again which tickets continue this one, if it can be continued. None of its events tells. */
  async readFollowUps(): Promise<void> {
    if (this.ticket?.status !== "CLOSED" || this.isLost) return;
    const { ticket } = await request(FOLLOW_UPS, { number: this.number });
    if (ticket) this.showFollowUps(ticket.followUps);
  }

  /** Takes over which tickets continue this one. */
  showFollowUps(followUps: TicketView["followUps"]): void {
    if (this.ticket) this.ticket.followUps = followUps;
  }

  /** Marks what is shown as read. */
  async markRead(): Promise<void> {
    const last = this.events.at(-1);
    if (!this.ticket || !last || document.hidden) return;
    // The next visit marks it if this fails.
    await request(MARK_READ, { ticketId: this.ticket.id, upTo: last.id }).catch(() => {});
  }

  async #load(isWanted: () => boolean): Promise<{ ticketId: string; after: string } | null> {
    setBehind(this, this.ticket !== null && !this.isLost);
    const { eventCursor, ticket, viewer } = await this.read(this.number);
    // What nobody sees is not read.
    if (!isWanted()) return null;
    if (!ticket) throw new ApiError("NOT_FOUND");
    this.#show(ticket);
    const muted = viewer?.mailPreferences?.unsubscribedTickets ?? [];
    this.isMuted = muted.some(({ id }) => id === ticket.id);
    return { ticketId: ticket.id, after: eventCursor };
  }

  #show(ticket: TicketView): void {
    const known = new Set(this.events.map(({ id }) => id));
    const missed = this.ticket ? ticket.timeline.nodes.filter(({ id }) => !known.has(id)) : [];
    this.ticket = ticket;
    this.events = ticket.timeline.nodes;
    this.earlier = ticket.timeline.pageInfo.hasPreviousPage ? ticket.timeline.pageInfo.startCursor : null;
    this.failure = null;
    // Who was away may have lost the ticket and have it back since.
    this.isLost = false;
    for (const event of missed) this.onEvent(event);
    void this.markRead();
  }

  #process(message: StreamMessage): void {
    switch (message.__typename) {
      case "Checkpoint":
        setBehind(this, false);
        break;
      case "AccessRevoked":
        this.isLost = true;
        setBehind(this, false);
        break;
      case "ResyncRequired":
        break;
      default:
        this.#add(message);
    }
  }

  #add(event: Exclude<StreamMessage, { __typename: "Checkpoint" | "AccessRevoked" | "ResyncRequired" }>): void {
    this.update(event.ticket);
    // A stream may repeat what the query has shown.
    if (this.events.some(({ id }) => id === event.id)) return;
    this.#apply(event);
    this.events.push(event);
    this.onEvent(event);
    void this.markRead();
  }

  /** Changes what is shown of a comment, unless it was erased or edited since. */
  edit(comment: { id: string; body: string; editedAt: string | null }): void {
    const shown = this.#comment(comment.id);
    if (!shown || shown.redactedAt) return;
    const isOlder = Date.parse(comment.editedAt ?? "") < Date.parse(shown.editedAt ?? "");
    if (!isOlder) Object.assign(shown, comment);
  }

  #apply(event: TimelineEvent): void {
    this.#applyToComments(event);
    // What is shown until then is only who was invited, so a failure is no loss.
    if (INVITING.includes(event.__typename)) void this.readInvitations().catch(() => {});
    if (event.__typename !== "ContentRedacted" || !this.ticket) return;
    this.ticket.attachments = this.ticket.attachments.filter(({ id }) => id !== event.attachmentId);
    if (event.content === "DESCRIPTION") this.ticket.description = "";
    if (event.content === "SUMMARY") this.ticket.summary = "";
  }

  #applyToComments(event: TimelineEvent): void {
    if (event.__typename === "CommentEdited") this.edit(event.comment);
    if (event.__typename !== "ContentRedacted") return;
    const isOther = (file: { id: string }) => file.id !== event.attachmentId;
    for (const entry of this.events) {
      if (entry.__typename === "CommentAdded") entry.comment.attachments = entry.comment.attachments.filter(isOther);
    }
    const comment = event.content === "COMMENT" && this.#comment(event.redactedComment?.id);
    if (comment) Object.assign(comment, { body: "", redactedAt: event.occurredAt });
  }

  #comment(id?: string): CommentEvent["comment"] | undefined {
    const found = this.events.find((event) => event.__typename === "CommentAdded" && event.comment.id === id);
    return (found as CommentEvent | undefined)?.comment;
  }

  #fail(error: ApiError): void {
    setBehind(this, false);
    if (error.code === "NOT_FOUND" && this.ticket) this.isLost = true;
    else this.failure = error;
  }
}
