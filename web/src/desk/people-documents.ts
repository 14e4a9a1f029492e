import type { ResultOf } from "gql.tada";
import { graphql } from "../shared/api/document";

const PERSON = graphql(`
  fragment Person on Account { id name email role locale createdAt disabledAt isErased isStaff }
`);
export const FIND = graphql(`
  query FindPeople($text: String!) { people(text: $text, first: 50) { ...Person } }
`, [PERSON]);
export const ACCOUNTS = graphql(`
  query Accounts($role: Role, $text: String, $after: String) {
    accounts(first: 50, role: $role, text: $text, after: $after) { nodes { ...Person } pageInfo { endCursor hasNextPage } }
  }
`, [PERSON]);
export const PERSON_PAGE = graphql(`
  query PersonPage($id: ID!) {
    node(id: $id) { ...Person }
    tickets(filter: { reporterId: $id }, orderBy: { field: UPDATED_AT }, first: 50) { nodes { id number summary status updatedAt } }
  }
`, [PERSON]);
export const AUDIT = graphql(`
  query Audit($id: ID!, $after: String) {
    accountEvents(accountId: $id, first: 30, after: $after) {
      nodes { id kind occurredAt address device fromRole toRole actor { name } }
      pageInfo { endCursor hasNextPage }
    }
  }
`);
export const CREATE_ACCOUNT = graphql(`
  mutation CreateAccount($input: CreateAccountInput!) { createAccount(input: $input) { account { id } userErrors { code field } } }
`);
export const UPDATE_ACCOUNT = graphql(`
  mutation UpdateAccount($input: UpdateAccountInput!) { updateAccount(input: $input) { userErrors { code field } } }
`);
export const SET_ROLE = graphql(`
  mutation SetAccountRole($id: ID!, $role: Role!) { setAccountRole(input: { id: $id, role: $role }) { userErrors { code field } } }
`);
export const DISABLE = graphql(`
  mutation DisableAccount($id: ID!) { disableAccount(input: { id: $id }) { userErrors { code field } } }
`);
export const ENABLE = graphql(`
  mutation EnableAccount($id: ID!) { enableAccount(input: { id: $id }) { userErrors { code field } } }
`);
export const RESET_FACTORS = graphql(`
  mutation ResetSecondFactors($id: ID!) { resetSecondFactors(input: { accountId: $id }) { userErrors { code field } } }
`);
export const ERASE_ACCOUNT = graphql(`
  mutation EraseAccount($id: ID!, $conversations: ErasedConversations!) {
    eraseAccount(input: { id: $id, conversations: $conversations }) { userErrors { code field } }
  }
`);

/** An account as staff see it. */
export type PersonView = ResultOf<typeof PERSON>;
