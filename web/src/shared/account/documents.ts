import { graphql } from "../api/document";

export const ACCOUNT = graphql(`
  query Account {
    viewer {
      id locale recoveryCodesLeft
      secondFactors { method configuredAt }
      sessions { id device address lastUsedAt isCurrent }
      mailPreferences { ticketCreated supportAnswered statusChanged ticketClosed }
    }
  }
`);
export const PROTECTION = graphql(`
  query Protection { viewer { recoveryCodesLeft secondFactors { method configuredAt } } }
`);
export const HISTORY = graphql(`
  query SecurityHistory($after: String) {
    viewer {
      securityEvents(first: 20, after: $after) {
        nodes { id kind occurredAt address device secondFactorMethod }
        pageInfo { endCursor hasNextPage }
      }
    }
  }
`);
export const BEGIN = graphql(`
  mutation BeginSecondFactor($method: SecondFactorMethod!) {
    beginSecondFactor(input: { method: $method }) {
      authenticator { qrCode secret uri }
      codeSent { expiresAt nextInSeconds }
      userErrors { code }
    }
  }
`);
export const CONFIRM = graphql(`
  mutation ConfirmSecondFactor($method: SecondFactorMethod!, $code: String!) {
    confirmSecondFactor(input: { method: $method, code: $code }) { recoveryCodes userErrors { code } }
  }
`);
export const REMOVE = graphql(`
  mutation RemoveSecondFactor($method: SecondFactorMethod!) {
    removeSecondFactor(input: { method: $method }) { userErrors { code } }
  }
`);
export const NEW_CODES = graphql(`
  mutation RegenerateRecoveryCodes { regenerateRecoveryCodes { recoveryCodes userErrors { code } } }
`);
export const REAUTHENTICATE = graphql(`
  mutation Reauthenticate($input: ReauthenticateInput!) { reauthenticate(input: $input) { userErrors { code } } }
`);
export const HAS_PASSWORD = graphql(`query HasPassword { viewer { hasPassword } }`);
export const REVOKE = graphql(`
  mutation RevokeSession($id: ID!) { revokeSession(input: { id: $id }) { userErrors { code } } }
`);
export const REVOKE_OTHERS = graphql(`
  mutation RevokeOtherSessions { revokeOtherSessions { userErrors { code } } }
`);
export const PREFERENCES = graphql(`
  mutation UpdatePreferences($input: UpdatePreferencesInput!) { updatePreferences(input: $input) { userErrors { code } } }
`);
export const CHANGE_PASSWORD = graphql(`
  mutation ChangePassword($input: ChangePasswordInput!) { changePassword(input: $input) { changed userErrors { code } } }
`);
