import type { ResultOf } from "gql.tada";
import { graphql } from "../../shared/api/document";

export const ALL_CATEGORIES = graphql(`
  query AllCategories { categories(includeRetired: true) { id slug isRetired nameEn: name(locale: EN) nameRu: name(locale: RU) } }
`);
export const CREATE_CATEGORY = graphql(`
  mutation CreateCategory($input: CreateCategoryInput!) { createCategory(input: $input) { userErrors { code field } } }
`);
export const UPDATE_CATEGORY = graphql(`
  mutation UpdateCategory($input: UpdateCategoryInput!) { updateCategory(input: $input) { userErrors { code field } } }
`);
export const ORDER_CATEGORIES = graphql(`
  mutation OrderCategories($ids: [ID!]!) { orderCategories(input: { ids: $ids }) { userErrors { code field } } }
`);
export const RETIRE_CATEGORY = graphql(`
  mutation RetireCategory($id: ID!) { retireCategory(input: { id: $id }) { userErrors { code field } } }
`);
export const RESTORE_CATEGORY = graphql(`
  mutation RestoreCategory($id: ID!) { restoreCategory(input: { id: $id }) { userErrors { code field } } }
`);

export const TOKENS = graphql(`
  query ServiceTokens { serviceTokens { id name scopes createdAt expiresAt lastUsedAt revokedAt createdBy { name } } }
`);
export const CREATE_TOKEN = graphql(`
  mutation CreateServiceToken($input: CreateServiceTokenInput!) { createServiceToken(input: $input) { token userErrors { code field } } }
`);
export const REVOKE_TOKEN = graphql(`
  mutation RevokeServiceToken($id: ID!) { revokeServiceToken(input: { id: $id }) { userErrors { code field } } }
`);

export const SET_ASIDE = graphql(`
  query SetAside { setAsideEvents { id consumer error attempts setAsideAt attemptedAt retryRequestedAt ticket { number summary } } }
`);
export const RETRY_SET_ASIDE = graphql(`
  mutation RetrySetAside($ids: [ID!]!) { retrySetAside(input: { ids: $ids }) { userErrors { code field } } }
`);

const CANNED = graphql(`
  fragment Canned on CannedAnswer { id title body isShared isRetired locale category { id name } }
`);
export const CANNED_ANSWERS = graphql(`
  query CannedAnswers { cannedAnswers(includeRetired: true) { ...Canned } categories { id name } }
`, [CANNED]);
export const CREATE_CANNED = graphql(`
  mutation CreateCannedAnswer($input: CreateCannedAnswerInput!) { createCannedAnswer(input: $input) { userErrors { code field } } }
`);
export const UPDATE_CANNED = graphql(`
  mutation UpdateCannedAnswer($input: UpdateCannedAnswerInput!) { updateCannedAnswer(input: $input) { userErrors { code field } } }
`);
export const ORDER_CANNED = graphql(`
  mutation OrderCannedAnswers($ids: [ID!]!) { orderCannedAnswers(input: { ids: $ids }) { userErrors { code field } } }
`);
export const RETIRE_CANNED = graphql(`
  mutation RetireCannedAnswer($id: ID!) { retireCannedAnswer(input: { id: $id }) { userErrors { code field } } }
`);
export const RESTORE_CANNED = graphql(`
  mutation RestoreCannedAnswer($id: ID!) { restoreCannedAnswer(input: { id: $id }) { userErrors { code field } } }
`);

const VIEW = graphql(`
  fragment View on SavedView {
    id name isShared isRetired hasRetiredCategory
    filter {
      status priority categoryIds categories { id name isRetired } assigneeId isUnassigned isAssignedToMe reporterId waitingSince text isUnread
    }
    orderBy { field direction }
  }
`);
export const SAVED_VIEWS = graphql(`
  query SavedViews { savedViews(includeRetired: true) { ...View } categories { id name } }
`, [VIEW]);
export const CREATE_VIEW = graphql(`
  mutation CreateSavedView($input: CreateSavedViewInput!) { createSavedView(input: $input) { userErrors { code field } } }
`);
export const UPDATE_VIEW = graphql(`
  mutation UpdateSavedView($input: UpdateSavedViewInput!) { updateSavedView(input: $input) { userErrors { code field } } }
`);
export const ORDER_VIEWS = graphql(`
  mutation OrderSavedViews($ids: [ID!]!) { orderSavedViews(input: { ids: $ids }) { userErrors { code field } } }
`);
export const RETIRE_VIEW = graphql(`
  mutation RetireSavedView($id: ID!) { retireSavedView(input: { id: $id }) { userErrors { code field } } }
`);
export const RESTORE_VIEW = graphql(`
  mutation RestoreSavedView($id: ID!) { restoreSavedView(input: { id: $id }) { userErrors { code field } } }
`);

/** A view that somebody has saved. */
export type SavedViewView = ResultOf<typeof VIEW>;
/** A canned answer with its placeholders. */
export type CannedView = ResultOf<typeof CANNED>;
/** A category with its names. */
export type CategoryView = ResultOf<typeof ALL_CATEGORIES>["categories"][number];
