//! Erasure of accounts by admins.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};

use super::{
    account::Account,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
};
use crate::service;

/// What becomes of the texts and files of an account that is erased.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
pub enum ErasedConversations {
    /// They stay, under the name "Erased account".
    Keep,
    /// They are redacted: comments, files, and the summaries and descriptions of the account's
    /// tickets. Takes seconds to minutes after the call.
    Redact,
}

/// The input of `eraseAccount`.
#[derive(InputObject)]
pub struct EraseAccountInput {
    /// The id of the account.
    id: ID,
    /// What becomes of the texts and files that its owner sent.
    conversations: ErasedConversations,
}

/// The payload of `eraseAccount`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct EraseAccountPayload {
    /// The erased account, or null on failure.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct ErasureMutation;

#[Object]
impl ErasureMutation {
    /// Erases an account permanently, on request of its owner. Its name and address are replaced
    /// wherever they are stored, its secrets and what its comments were before edits are deleted,
    /// its mails that wait are cancelled, and its sessions end. The account stays as
    /// `isErased`, so that tickets and events remain complete. The address and the external id can
    /// be used for a new account. A restored backup does not bring the account back. Admins only.
    /// Fails with `ERASED` if it is erased already, with `OWN_ACCOUNT` for your own and
    /// `LAST_ADMIN` for that of the last admin who can sign in, and with `NOT_FOUND` if there is no
    /// such account. `REAUTHENTICATION_REQUIRED` if you have not called `reauthenticate` in the last
    /// 10 minutes; a recent sign-in is not enough.
    async fn erase_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account to erase, and what becomes of its conversations.")]
        input: EraseAccountInput,
    ) -> Result<EraseAccountPayload, Failure> {
        let id = GlobalId::account(&input.id);
        let redacts = input.conversations == ErasedConversations::Redact;
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let erased = service::erasure::erase(actor, services, id, redacts).await;
        Ok(match Outcome::of(erased)? {
            Outcome::Done(account) => {
                EraseAccountPayload { account: Some(Account::new(account)), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                EraseAccountPayload { account: None, user_errors: errors }
            }
        })
    }
}
