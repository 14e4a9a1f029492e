//! The audit trail of an account.

use async_graphql::{Context, Description, Enum, ID, Object};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};

use super::{
    account::{Account, Role},
    context::ContextExt as _,
    error::Failure,
    id::{GlobalId, event_id},
    pagination::{PageArgs, connection, cost},
    second_factor::SecondFactorMethod,
};
use crate::{
    domain::{
        audit::AuditEntry,
        event::EventData,
        ids::{CategoryId, EventId},
        page::Slice,
    },
    service,
};

/// What happened to an account.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
pub enum AccountEventKind {
    /// Somebody signed in.
    SignedIn,
    /// A session was ended before its time: signed out, revoked, or ended by a change.
    SessionRevoked,
    /// The account was made by an admin, or got another role.
    RoleChanged,
    /// The account made a service token.
    ServiceTokenCreated,
    /// The account revoked a service token.
    ServiceTokenRevoked,
    /// The control panel made the account.
    Provisioned,
    /// The control panel changed the account's name, address or language, or an admin its
    /// name or language.
    ProfileChanged,
    /// The control panel sent another password for the account.
    PasswordImported,
    /// The control panel made a link to sign in with.
    HandoffCreated,
    /// Such a link was used.
    HandoffRedeemed,
    /// A second factor was configured.
    SecondFactorAdded,
    /// A second factor was removed.
    SecondFactorRemoved,
    /// The staff removed all second factors.
    SecondFactorsReset,
    /// Somebody signed in with a recovery code.
    RecoveryCodeUsed,
    /// New recovery codes were made.
    RecoveryCodesRegenerated,
    /// The password was changed by its owner.
    PasswordChanged,
    /// The password was set anew by a link that was mailed.
    PasswordReset,
    /// An admin disabled the account.
    AccountDisabled,
    /// An admin let the account sign in again.
    AccountEnabled,
    /// The account made a category.
    CategoryCreated,
    /// The account gave a category another name.
    CategoryRenamed,
    /// The account put the categories in another order.
    CategoriesOrdered,
    /// The account retired a category.
    CategoryRetired,
    /// The account let a category take tickets again.
    CategoryRestored,
    /// Something that this version of the server doesn't know.
    Other,
}

/// Something that happened to an account.
#[derive(Description)]
pub struct AccountEvent(AuditEntry);

#[Object(use_type_description)]
impl AccountEvent {
    /// Tells events apart.
    async fn id(&self) -> ID {
        event_id(self.0.event.id)
    }

    /// What happened.
    async fn kind(&self) -> AccountEventKind {
        self.0.event.data.as_ref().map_or(AccountEventKind::Other, kind)
    }

    /// When.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.0.event.occurred_at
    }

    /// Who did it; null: a machine, the operator, or somebody whom you may not see.
    async fn actor(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.0.event.actor_id {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Account::new)),
            None => Ok(None),
        }
    }

    /// The network address from where the session was begun that the event is about.
    async fn address(&self) -> Option<String> {
        self.0.origin.address.map(|address| address.to_string())
    }

    /// What the client of that session said of itself (its User-Agent).
    async fn device(&self) -> Option<&str> {
        self.0.origin.device()
    }

    /// The session that the event is about.
    async fn session_id(&self) -> Option<ID> {
        match self.0.event.data {
            Some(EventData::SignedIn { session_id } | EventData::SessionRevoked { session_id }) => {
                Some(GlobalId::Session(session_id).into())
            }
            _ => None,
        }
    }

    /// The second factor that it is about.
    async fn second_factor_method(&self) -> Option<SecondFactorMethod> {
        match self.0.event.data {
            Some(
                EventData::SecondFactorAdded { method } | EventData::SecondFactorRemoved { method },
            ) => Some(method.into()),
            _ => None,
        }
    }

    /// The service token that it was done with, or to.
    async fn service_token_id(&self) -> Option<ID> {
        let id = match self.0.event.data.as_ref()? {
            EventData::ServiceTokenCreated { token_id }
            | EventData::ServiceTokenRevoked { token_id } => Some(*token_id),
            EventData::CustomerProvisioned { token_id, .. }
            | EventData::HandoffCreated { token_id, .. } => *token_id,
            _ => None,
        };
        id.map(|id| GlobalId::ServiceToken(id).into())
    }

    /// The category that it was done to.
    async fn category_id(&self) -> Option<ID> {
        match self.0.event.data.as_ref()? {
            EventData::CategoryCreated { category_id }
            | EventData::CategoryRenamed { category_id }
            | EventData::CategoryRetired { category_id }
            | EventData::CategoryRestored { category_id } => {
                Some(GlobalId::Category(*category_id).into())
            }
            _ => None,
        }
    }

    /// The order of the categories before; null where it is not about their order.
    #[graphql(name = "fromCategoryIds")]
    async fn old_category_ids(&self) -> Option<Vec<ID>> {
        match self.0.event.data.as_ref()? {
            EventData::CategoriesOrdered { from, .. } => Some(category_ids(from)),
            _ => None,
        }
    }

    /// The order of the categories after.
    #[graphql(name = "toCategoryIds")]
    async fn new_category_ids(&self) -> Option<Vec<ID>> {
        match self.0.event.data.as_ref()? {
            EventData::CategoriesOrdered { to, .. } => Some(category_ids(to)),
            _ => None,
        }
    }

    /// The role before; null where it is not about a role, or the account is new.
    #[graphql(name = "fromRole")]
    async fn old_role(&self) -> Option<Role> {
        match self.0.event.data {
            Some(EventData::RoleChanged { from, .. }) => from.map(Into::into),
            _ => None,
        }
    }

    /// The role after.
    #[graphql(name = "toRole")]
    async fn new_role(&self) -> Option<Role> {
        match self.0.event.data {
            Some(EventData::RoleChanged { to, .. }) => Some(to.into()),
            _ => None,
        }
    }
}

fn category_ids(ids: &[CategoryId]) -> Vec<ID> {
    ids.iter().map(|&id| GlobalId::Category(id).into()).collect()
}

fn kind(data: &EventData) -> AccountEventKind {
    match data {
        EventData::SignedIn { .. } => AccountEventKind::SignedIn,
        EventData::SessionRevoked { .. } => AccountEventKind::SessionRevoked,
        EventData::RoleChanged { .. } => AccountEventKind::RoleChanged,
        EventData::ServiceTokenCreated { .. } => AccountEventKind::ServiceTokenCreated,
        EventData::ServiceTokenRevoked { .. } => AccountEventKind::ServiceTokenRevoked,
        EventData::CustomerProvisioned { created: true, .. } => AccountEventKind::Provisioned,
        EventData::CustomerProvisioned { password_changed: true, .. } => {
            AccountEventKind::PasswordImported
        }
        EventData::CustomerProvisioned { .. } | EventData::AccountUpdated {} => {
            AccountEventKind::ProfileChanged
        }
        EventData::AccountDisabled {} => AccountEventKind::AccountDisabled,
        EventData::AccountEnabled {} => AccountEventKind::AccountEnabled,
        EventData::HandoffCreated { .. } => AccountEventKind::HandoffCreated,
        EventData::HandoffRedeemed { .. } => AccountEventKind::HandoffRedeemed,
        EventData::SecondFactorAdded { .. } => AccountEventKind::SecondFactorAdded,
        EventData::SecondFactorRemoved { .. } => AccountEventKind::SecondFactorRemoved,
        EventData::SecondFactorsReset {} => AccountEventKind::SecondFactorsReset,
        EventData::RecoveryCodeUsed {} => AccountEventKind::RecoveryCodeUsed,
        EventData::RecoveryCodesRegenerated {} => AccountEventKind::RecoveryCodesRegenerated,
        EventData::PasswordChanged {} => AccountEventKind::PasswordChanged,
        EventData::PasswordReset {} => AccountEventKind::PasswordReset,
        EventData::CategoryCreated { .. } => AccountEventKind::CategoryCreated,
        EventData::CategoryRenamed { .. } => AccountEventKind::CategoryRenamed,
        EventData::CategoriesOrdered { .. } => AccountEventKind::CategoriesOrdered,
        EventData::CategoryRetired { .. } => AccountEventKind::CategoryRetired,
        EventData::CategoryRestored { .. } => AccountEventKind::CategoryRestored,
        // Of tickets, not of accounts.
        EventData::TicketCreated {}
        | EventData::CommentAdded { .. }
        | EventData::StatusChanged { .. }
        | EventData::PriorityChanged { .. }
        | EventData::AssigneeChanged { .. }
        | EventData::CategoryChanged { .. }
        | EventData::SummaryChanged {}
        | EventData::ParticipantAdded { .. }
        | EventData::ParticipantRemoved { .. } => AccountEventKind::Other,
    }
}

connection!(AccountEventConnection, AccountEventEdge, AccountEvent, "what happened to an account");

impl AccountEventConnection {
    /// A page of what happened to the viewer.
    pub(super) async fn of_viewer(ctx: &Context<'_>, args: PageArgs) -> Result<Self, Failure> {
        let page = args.page(decode_place)?;
        Ok(Self::of(service::audit::own(ctx.actor()?, ctx.services()?, &page).await?))
    }

    fn of(slice: Slice<AuditEntry>) -> Self {
        Self::new(slice.map(|entry| (encode_place(entry.event.id), AccountEvent(entry))))
    }
}

fn encode_place(EventId(id): EventId) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

fn decode_place(text: &str) -> Option<EventId> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(EventId(i64::from_be_bytes(bytes.try_into().ok()?)))
}

#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// What happened to an account, newest first. For admins; your own is
    /// `viewer.securityEvents`.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn account_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] account_id: ID,
        #[graphql(desc = "So many from the start; 0 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many from the end; 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<Option<AccountEventConnection>, Failure> {
        let page = PageArgs { first, after, last, before }.page(decode_place);
        let id = GlobalId::account(&account_id);
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let slice = service::audit::of_account(actor, services, id, &page?).await?;
        Ok(Some(AccountEventConnection::of(slice)))
    }
}
