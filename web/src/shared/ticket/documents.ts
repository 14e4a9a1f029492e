import type { ResultOf } from "gql.tada";
import { graphql } from "../api/document";

export const FACTS = graphql(`
  fragment Facts on Ticket {
    id number summary status priority version createdAt
    category { id slug name }
    assignee { id name }
    participants { id name }
    mergedAt
    mergedInto { id number summary }
    mergedTickets { number summary }
  }
`);
export const FILE = graphql(`
  fragment File on Attachment { id name size contentType url }
`);
const EVENT = graphql(`
  fragment Event on TicketEvent {
    __typename
    id cursor occurredAt
    actor { id name isStaff }
    ... on CommentAdded { comment { id body visibility createdAt editedAt redactedAt attachments { ...File } } }
    ... on CommentEdited { comment { id body editedAt } }
    ... on ContentRedacted { content attachmentId redactedComment: comment { id redactedAt } }
    ... on StatusChanged { toStatus }
    ... on PriorityChanged { toPriority }
    ... on AssigneeChanged { toAssignee { name } }
    ... on CategoryChanged { toCategory { name } }
    ... on ParticipantAdded { participant { name } }
    ... on ParticipantRemoved { participant { name } }
    ... on TicketMerged { from { number } into { number } }
    ... on TicketUnmerged { from { number } into { number } }
  }
`, [FILE]);

export const TICKET = graphql(`
  query Ticket($number: String!) {
    eventCursor
    ticket(number: $number) {
      ...Facts
      description
      reporter { id name }
      attachments { ...File }
      followUpTo { number summary }
      followUps { number summary }
      invitations { id email expiresAt }
      timeline(last: 50) { nodes { ...Event } pageInfo { startCursor hasPreviousPage } }
    }
    viewer { mailPreferences { unsubscribedTickets(first: 100) { id } } }
  }
`, [FACTS, EVENT, FILE]);

export const EARLIER = graphql(`
  query Earlier($number: String!, $before: String) {
    ticket(number: $number) {
      timeline(last: 50, before: $before) { nodes { ...Event } pageInfo { startCursor hasPreviousPage } }
    }
  }
`, [EVENT, FILE]);

export const EVENTS = graphql(`
  subscription TicketEvents($ticketId: ID!, $after: String) {
    ticketEvents(ticketId: $ticketId, after: $after) {
      __typename
      ... on TicketEvent { ...Event ticket { ...Facts } }
      ... on Checkpoint { cursor }
      ... on AccessRevoked { cursor ticketId }
      ... on ResyncRequired { reason }
    }
  }
`, [FACTS, EVENT, FILE]);

export const FRESH_LINK = graphql(`
  query FreshLink($id: ID!) { node(id: $id) { ... on Attachment { url } } }
`);
export const EDIT_COMMENT = graphql(`
  mutation EditComment($commentId: ID!, $body: String!) {
    editComment(input: { commentId: $commentId, body: $body }) { comment { id body editedAt } userErrors { code field } }
  }
`);
export const UPDATE = graphql(`
  mutation UpdateTicket($input: UpdateTicketInput!) {
    updateTicket(input: $input) { ticket { ...Facts } userErrors { code field } }
  }
`, [FACTS]);
export const INVITE = graphql(`
  mutation InviteParticipant($input: InviteParticipantInput!) {
    inviteParticipant(input: $input) { invitation { id email expiresAt } userErrors { code field } }
  }
`);
export const WITHDRAW = graphql(`
  mutation WithdrawInvitation($id: ID!) {
    withdrawInvitation(input: { invitationId: $id }) { userErrors { code field } }
  }
`);
export const INVITATIONS = graphql(`
  query Invitations($number: String!) { ticket(number: $number) { invitations { id email expiresAt } } }
`);
export const FOLLOW_UPS = graphql(`
  query FollowUps($number: String!) { ticket(number: $number) { followUps { number summary } } }
`);
export const REMOVE_PARTICIPANT = graphql(`
  mutation RemoveParticipant($input: RemoveParticipantInput!) {
    removeParticipant(input: $input) { ticket { ...Facts } userErrors { code field } }
  }
`, [FACTS]);
export const SET_MAIL = graphql(`
  mutation SetTicketMail($ticketId: ID!, $isOn: Boolean!) {
    setTicketMail(input: { ticketId: $ticketId, isOn: $isOn }) { userErrors { code field } }
  }
`);
export const MARK_READ = graphql(`
  mutation MarkTicketRead($ticketId: ID!, $upTo: ID) {
    markTicketRead(input: { ticketId: $ticketId, upTo: $upTo }) { unreadTicketCount }
  }
`);

/** A ticket as it is read, with the position of its stream. */
export type Loaded = ResultOf<typeof TICKET>;
/** A ticket as its page shows it. */
export type TicketView = NonNullable<Loaded["ticket"]>;
/** What events bring in its current state. */
export type Facts = ResultOf<typeof FACTS>;
/** An entry of the timeline. */
export type TimelineEvent = TicketView["timeline"]["nodes"][number];
/** An entry of the timeline that is a comment. */
export type CommentEvent = Extract<TimelineEvent, { __typename: "CommentAdded" }>;
/** A file of the ticket or of a comment. */
export type FileView = ResultOf<typeof FILE>;
