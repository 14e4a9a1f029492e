import type { ResultOf } from "gql.tada";
import { graphql } from "../../shared/api/document";
import { FACTS } from "../../shared/ticket/documents";

export const CHANGE_TICKET = graphql(`
  mutation ChangeTicket($input: UpdateTicketInput!) {
    updateTicket(input: $input) {
      ticket { ...Facts }
      answeredMeanwhile { id body author { name } }
      userErrors { code field }
    }
  }
`, [FACTS]);

/** What stands beside a ticket: its customer, their other tickets, its follow-ups and the mails about it. */
export const BESIDE = graphql(`
  query Beside($number: String!, $reporter: ID!) {
    ticket(number: $number) {
      reporter { id name email locale disabledAt }
      followUps { number summary }
      deliveries { id recipient state attempts createdAt finishedAt lastError }
    }
    tickets(filter: { reporterId: $reporter }, orderBy: { field: UPDATED_AT }, first: 10) {
      nodes { id number summary status updatedAt }
    }
  }
`);
export const RETRY_DELIVERY = graphql(`
  mutation RetryDelivery($id: ID!) { retryDelivery(input: { deliveryId: $id }) { userErrors { code field } } }
`);
export const REDACT_COMMENT = graphql(`
  mutation RedactComment($id: ID!) { redactComment(input: { commentId: $id }) { userErrors { code field } } }
`);
export const REDACT_TICKET = graphql(`
  mutation RedactTicket($id: ID!, $text: TicketText!) { redactTicket(input: { ticketId: $id, text: $text }) { userErrors { code field } } }
`);
export const REDACT_ATTACHMENT = graphql(`
  mutation RedactAttachment($id: ID!) { redactAttachment(input: { attachmentId: $id }) { userErrors { code field } } }
`);

export const MERGE = graphql(`
  mutation MergeTicket($input: MergeTicketInput!) {
    mergeTicket(input: $input) {
      ticket { ...Facts }
      answeredMeanwhile { id body author { name } }
      userErrors { code field }
    }
  }
`, [FACTS]);
export const UNMERGE = graphql(`
  mutation UnmergeTicket($ticketId: ID!) {
    unmergeTicket(input: { ticketId: $ticketId }) { ticket { ...Facts } userErrors { code field } }
  }
`, [FACTS]);
export const FIND_TICKETS = graphql(`
  query FindTickets($text: String!) {
    search(text: $text, first: 20) { nodes { ticket { id number summary status reporter { name } } } }
  }
`);
export const WHERE_MERGED = graphql(`
  query WhereMerged($ids: [ID!]!) { nodes(ids: $ids) { ... on Ticket { number mergedInto { number } } } }
`);

/** What somebody has said while another person wrote. */
export type Said = ResultOf<typeof CHANGE_TICKET>["updateTicket"]["answeredMeanwhile"][number];
type Beside = ResultOf<typeof BESIDE>;
/** A mail about a ticket. */
export type DeliveryView = NonNullable<NonNullable<Beside["ticket"]>["deliveries"]>[number];
/** A ticket of the same customer. */
export type OtherTicket = Beside["tickets"]["nodes"][number];
