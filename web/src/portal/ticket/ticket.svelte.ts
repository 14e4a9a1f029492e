import type { ResultOf } from "gql.tada";
import { ApiError, request } from "../../shared/api/client";
import { live } from "../../shared/api/lazy";
import { EARLIER, EVENTS, MARK_READ, TICKET, type CommentEvent, type Facts, type TicketView, type TimelineEvent } from "./documents";

type StreamMessage = ResultOf<typeof EVENTS>["ticketEvents"];

/** A ticket that follows its events. */
export class LiveTicket {
  ticket = $state<TicketView | null>(null);
  events = $state<TimelineEvent[]>([]);
  earlier = $state<string | null>(null);
  isMuted = $state(false);
  failure = $state<ApiError | null>(null);
  /** The ticket was taken away while it was open. */
  isLost = $state(false);
  /** The stream has not reached the present yet. */
  isBehind = $state(false);
  /** When the links of the files were created, in milliseconds since 1970. */
  loadedAt = 0;

  #stop: () => void = () => {};
  #isOver = false;

  constructor(
    readonly number: string,
    /** Called with each event that arrives while the page is open. */
    readonly onEvent: (event: TimelineEvent) => void,
  ) {}

  /** Reads the ticket and follows it. */
  async start(): Promise<void> {
    try {
      const { eventCursor, ticket, viewer } = await request(TICKET, { number: this.number });
      if (!ticket || this.#isOver) return;
      this.#show(ticket);
      const muted = viewer?.mailPreferences?.unsubscribedTickets ?? [];
      this.isMuted = muted.some(({ id }) => id === ticket.id);
      await this.#follow(ticket.id, eventCursor);
    } catch (error) {
      this.failure = error as ApiError;
    }
  }

  /** Stops following the ticket. */
  stop(): void {
    this.#isOver = true;
    this.#stop();
  }

  /** Adds the entries before those that are shown. */
  async showEarlier(): Promise<void> {
    const { ticket } = await request(EARLIER, { number: this.number, before: this.earlier });
    if (!ticket) return;
    this.events = [...ticket.timeline.nodes, ...this.events];
    this.earlier = ticket.timeline.pageInfo.hasPreviousPage ? ticket.timeline.pageInfo.startCursor : null;
  }

  /** Takes over the ticket's state, unless it is older than the one that is shown. */
  update(facts: Facts | null): void {
    if (this.ticket && facts && facts.version >= this.ticket.version) Object.assign(this.ticket, facts);
  }

  /** Marks what is shown as read. */
  async markRead(): Promise<void> {
    const last = this.events.at(-1);
    if (!this.ticket || !last || document.hidden) return;
    // The next visit marks it if this fails.
    await request(MARK_READ, { ticketId: this.ticket.id, upTo: last.id }).catch(() => {});
  }

  #show(ticket: TicketView): void {
    this.ticket = ticket;
    this.events = ticket.timeline.nodes;
    this.earlier = ticket.timeline.pageInfo.hasPreviousPage ? ticket.timeline.pageInfo.startCursor : null;
    this.failure = null;
    this.loadedAt = Date.now();
    void this.markRead();
  }

  async #follow(ticketId: string, after: string): Promise<void> {
    const { follow } = await live();
    if (this.#isOver) return;
    this.isBehind = true;
    this.#stop = follow(EVENTS, { ticketId, after }, {
      next: (message: StreamMessage) => this.#process(message),
      end: (error) => this.#end(error),
    });
  }

  #process(message: StreamMessage): void {
    switch (message.__typename) {
      case "Checkpoint":
        this.isBehind = false;
        break;
      case "AccessRevoked":
        this.isLost = true;
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

  /** Changes what is shown of a comment. */
  edit(comment: { id: string; body: string; editedAt: string | null }): void {
    Object.assign(this.#comment(comment.id) ?? {}, comment);
  }

  #apply(event: TimelineEvent): void {
    if (event.__typename === "CommentEdited") this.edit(event.comment);
    if (event.__typename !== "ContentRedacted" || !this.ticket) return;
    const isOther = (file: { id: string }) => file.id !== event.attachmentId;
    this.ticket.attachments = this.ticket.attachments.filter(isOther);
    for (const entry of this.events) {
      if (entry.__typename === "CommentAdded") entry.comment.attachments = entry.comment.attachments.filter(isOther);
    }
    if (event.content === "DESCRIPTION") this.ticket.description = "";
    if (event.content === "SUMMARY") this.ticket.summary = "";
    const comment = event.content === "COMMENT" && this.#comment(event.redactedComment?.id);
    if (comment) Object.assign(comment, { body: "", redactedAt: event.occurredAt });
  }

  #comment(id?: string): CommentEvent["comment"] | undefined {
    const found = this.events.find((event) => event.__typename === "CommentAdded" && event.comment.id === id);
    return (found as CommentEvent | undefined)?.comment;
  }

  #end(error: ApiError | null): void {
    if (this.#isOver || this.isLost) return;
    if (error?.code === "NOT_FOUND") this.isLost = true;
    else if (error?.code !== "UNAUTHENTICATED") void this.start();
  }
}
