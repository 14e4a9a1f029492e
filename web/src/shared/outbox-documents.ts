import { graphql } from "./api/document";

export const ADD_COMMENT = graphql(`
  mutation AddComment($input: AddCommentInput!) {
    addComment(input: $input) {
      comment { id }
      answeredMeanwhile { id body author { name } }
      userErrors { code field }
    }
  }
`);
export const CREATE_TICKET = graphql(`
  mutation CreateTicket($input: CreateTicketInput!) {
    createTicket(input: $input) { ticket { number } userErrors { code field } }
  }
`);
export const OWN_COMMENTS = graphql(`
  query OwnComments($number: String!) {
    viewer { id }
    ticket(number: $number) {
      timeline(last: 100) {
        nodes { __typename ... on TicketEvent { occurredAt actor { id } } ... on CommentAdded { comment { id body } } }
      }
    }
  }
`);
export const OWN_TICKETS = graphql(`
  query OwnTickets($reporter: ID!) {
    tickets(first: 50, orderBy: { field: CREATED_AT }, filter: { reporterId: $reporter }) {
      nodes { number summary description createdAt }
    }
  }
`);
