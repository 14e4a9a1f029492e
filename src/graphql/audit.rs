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
    text::Text,
};
use crate::{
    domain::{
        account,
        audit::AuditEntry,
        event,
        ids::{CannedAnswerId, CategoryId, EventId, SavedViewId, ServiceTokenId, SessionId},
        page::Slice,
        second_factor::Method,
    },
    service,
};

/// The kind of an event about an account.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
pub enum AccountEventKind {
    /// The owner signed in.
    SignedIn,
    /// A session ended before it expired: it was signed out, revoked, or ended by a change to the
    /// account.
    SessionRevoked,
    /// An admin or the operator created the account or changed its role.
    RoleChanged,
    /// The owner created a service token.
    ServiceTokenCreated,
    /// The owner revoked a service token.
    ServiceTokenRevoked,
    /// The control panel created the account.
    Provisioned,
    /// An admin changed the name or language, or the control panel updated the account without
    /// replacing the password. If the e-mail address changed too, `EMAIL_CHANGED` follows.
    ProfileChanged,
    /// The e-mail address changed. If an admin changed nothing else, this is the only event of the
    /// change. It follows the `PROFILE_CHANGED` or `PASSWORD_IMPORTED` of the control panel's change.
    EmailChanged,
    /// An admin or the operator erased the account.
    AccountErased,
    /// The control panel replaced the password, and maybe the name or language with it. If the
    /// e-mail address changed too, `EMAIL_CHANGED` follows.
    PasswordImported,
    /// The control panel created a sign-in link.
    HandoffCreated,
    /// The owner signed in through a link that the control panel created.
    HandoffRedeemed,
    /// A second factor was configured.
    SecondFactorAdded,
    /// A second factor was removed.
    SecondFactorRemoved,
    /// An admin or the operator removed all second factors.
    SecondFactorsReset,
    /// A wrong code was entered as the second step of a sign-in, or to re-authenticate.
    SecondFactorFailed,
    /// A recovery code was used, to sign in or to re-authenticate.
    RecoveryCodeUsed,
    /// The recovery codes were replaced.
    RecoveryCodesRegenerated,
    /// The owner changed the password.
    PasswordChanged,
    /// The password was set through a mailed link.
    PasswordReset,
    /// An admin disabled the account.
    AccountDisabled,
    /// An admin enabled the account again.
    AccountEnabled,
    /// The owner created a category.
    CategoryCreated,
    /// The owner renamed a category.
    CategoryRenamed,
    /// The owner reordered the categories.
    CategoriesOrdered,
    /// The owner retired a category.
    CategoryRetired,
    /// The owner restored a retired category.
    CategoryRestored,
    /// The owner created a shared canned answer.
    CannedAnswerCreated,
    /// The owner changed a shared canned answer.
    CannedAnswerUpdated,
    /// The owner reordered the shared canned answers.
    CannedAnswersOrdered,
    /// The owner retired a shared canned answer.
    CannedAnswerRetired,
    /// The owner restored a retired shared canned answer.
    CannedAnswerRestored,
    /// The owner created a shared view.
    SavedViewCreated,
    /// The owner changed a shared view.
    SavedViewUpdated,
    /// The owner reordered the shared views.
    SavedViewsOrdered,
    /// The owner retired a shared view.
    SavedViewRetired,
    /// The owner restored a retired shared view.
    SavedViewRestored,
    /// An event that this version of the server does not know.
    Other,
}

/// Something that happened to an account, or that its owner did outside of tickets.
#[derive(Description)]
pub struct AccountEvent {
    entry: AuditEntry,
    details: Details,
}

/// The values of an event, without its kind.
#[derive(Default)]
struct Details {
    session: Option<SessionId>,
    method: Option<Method>,
    service_token: Option<ServiceTokenId>,
    category: Option<CategoryId>,
    canned_answer: Option<CannedAnswerId>,
    saved_view: Option<SavedViewId>,
    categories: Option<(Vec<CategoryId>, Vec<CategoryId>)>,
    role_before: Option<account::Role>,
    role_after: Option<account::Role>,
}

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl AccountEvent {
    /// Identifies the event.
    async fn id(&self) -> ID {
        event_id(self.entry.id)
    }

    /// What happened.
    async fn kind(&self) -> AccountEventKind {
        kind(&self.entry.event)
    }

    /// When it happened.
    async fn occurred_at(&self) -> DateTime<Utc> {
        self.entry.occurred_at
    }

    /// The account that caused it. Null for a machine, the operator, or an account that you
    /// cannot see.
    async fn actor(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.entry.actor_id {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Account::new)),
            None => Ok(None),
        }
    }

    /// The network address from which the event's session was begun. Null for events without a
    /// session.
    async fn address(&self) -> Option<String> {
        self.entry.origin.address.map(|address| address.to_string())
    }

    /// The User-Agent of the client that began the event's session. Null for events without a
    /// session.
    async fn device(&self) -> Option<Text<&str>> {
        self.entry.origin.device().map(Text)
    }

    /// The session. Null for events without one.
    async fn session_id(&self) -> Option<ID> {
        self.details.session.map(|id| GlobalId::Session(id).into())
    }

    /// The second factor's method. Null for events about something else.
    async fn second_factor_method(&self) -> Option<SecondFactorMethod> {
        self.details.method.map(Into::into)
    }

    /// The service token that was created, revoked or used. Null for events without one.
    async fn service_token_id(&self) -> Option<ID> {
        self.details.service_token.map(|id| GlobalId::ServiceToken(id).into())
    }

    /// The category. Null for events about something else.
    async fn category_id(&self) -> Option<ID> {
        self.details.category.map(|id| GlobalId::Category(id).into())
    }

    /// The shared canned answer. Null for events about something else.
    async fn canned_answer_id(&self) -> Option<ID> {
        self.details.canned_answer.map(|id| GlobalId::CannedAnswer(id).into())
    }

    /// The shared view. Null for events about something else.
    async fn saved_view_id(&self) -> Option<ID> {
        self.details.saved_view.map(|id| GlobalId::SavedView(id).into())
    }

    /// The old order of the categories. Null for events about something else.
    #[graphql(name = "fromCategoryIds")]
    async fn old_category_ids(&self) -> Option<Vec<ID>> {
        self.details.categories.as_ref().map(|(from, _)| category_ids(from))
    }

    /// The new order of the categories. Null for events about something else.
    #[graphql(name = "toCategoryIds")]
    async fn new_category_ids(&self) -> Option<Vec<ID>> {
        self.details.categories.as_ref().map(|(_, to)| category_ids(to))
    }

    /// The old role. Null for a new account and for events about something else.
    #[graphql(name = "fromRole")]
    async fn old_role(&self) -> Option<Role> {
        self.details.role_before.map(Into::into)
    }

    /// The new role. Null for events about something else.
    #[graphql(name = "toRole")]
    async fn new_role(&self) -> Option<Role> {
        self.details.role_after.map(Into::into)
    }
}

fn category_ids(ids: &[CategoryId]) -> Vec<ID> {
    ids.iter().map(|&id| GlobalId::Category(id).into()).collect()
}

fn kind(event: &event::AccountEvent) -> AccountEventKind {
    use event::AccountEvent as Event;
    match event {
        Event::SignedIn { .. } => AccountEventKind::SignedIn,
        Event::SessionRevoked { .. } => AccountEventKind::SessionRevoked,
        Event::RoleChanged { .. } => AccountEventKind::RoleChanged,
        Event::ServiceTokenCreated { .. } => AccountEventKind::ServiceTokenCreated,
        Event::ServiceTokenRevoked { .. } => AccountEventKind::ServiceTokenRevoked,
        Event::CustomerProvisioned { created: true, .. } => AccountEventKind::Provisioned,
        Event::CustomerProvisioned { password_changed: true, .. } => {
            AccountEventKind::PasswordImported
        }
        Event::CustomerProvisioned { .. } | Event::AccountUpdated {} => {
            AccountEventKind::ProfileChanged
        }
        Event::EmailChanged {} => AccountEventKind::EmailChanged,
        Event::AccountErased {} => AccountEventKind::AccountErased,
        Event::AccountDisabled {} => AccountEventKind::AccountDisabled,
        Event::AccountEnabled {} => AccountEventKind::AccountEnabled,
        Event::HandoffCreated { .. } => AccountEventKind::HandoffCreated,
        Event::HandoffRedeemed { .. } => AccountEventKind::HandoffRedeemed,
        Event::SecondFactorAdded { .. } => AccountEventKind::SecondFactorAdded,
        Event::SecondFactorRemoved { .. } => AccountEventKind::SecondFactorRemoved,
        Event::SecondFactorsReset {} => AccountEventKind::SecondFactorsReset,
        Event::SecondFactorFailed {} => AccountEventKind::SecondFactorFailed,
        Event::RecoveryCodeUsed {} => AccountEventKind::RecoveryCodeUsed,
        Event::RecoveryCodesRegenerated {} => AccountEventKind::RecoveryCodesRegenerated,
        Event::PasswordChanged {} => AccountEventKind::PasswordChanged,
        Event::PasswordReset {} => AccountEventKind::PasswordReset,
        Event::CategoryCreated { .. } => AccountEventKind::CategoryCreated,
        Event::CategoryRenamed { .. } => AccountEventKind::CategoryRenamed,
        Event::CategoriesOrdered { .. } => AccountEventKind::CategoriesOrdered,
        Event::CategoryRetired { .. } => AccountEventKind::CategoryRetired,
        Event::CategoryRestored { .. } => AccountEventKind::CategoryRestored,
        Event::CannedAnswerCreated { .. } => AccountEventKind::CannedAnswerCreated,
        Event::CannedAnswerUpdated { .. } => AccountEventKind::CannedAnswerUpdated,
        Event::CannedAnswersOrdered {} => AccountEventKind::CannedAnswersOrdered,
        Event::CannedAnswerRetired { .. } => AccountEventKind::CannedAnswerRetired,
        Event::CannedAnswerRestored { .. } => AccountEventKind::CannedAnswerRestored,
        Event::SavedViewCreated { .. } => AccountEventKind::SavedViewCreated,
        Event::SavedViewUpdated { .. } => AccountEventKind::SavedViewUpdated,
        Event::SavedViewsOrdered {} => AccountEventKind::SavedViewsOrdered,
        Event::SavedViewRetired { .. } => AccountEventKind::SavedViewRetired,
        Event::SavedViewRestored { .. } => AccountEventKind::SavedViewRestored,
        Event::Unknown => AccountEventKind::Other,
    }
}

impl From<&event::AccountEvent> for Details {
    fn from(event: &event::AccountEvent) -> Self {
        use event::AccountEvent as Event;
        let none = Self::default();
        match event {
            Event::SignedIn { session_id } | Event::SessionRevoked { session_id } => {
                Self { session: Some(*session_id), ..none }
            }
            Event::SecondFactorAdded { method } | Event::SecondFactorRemoved { method } => {
                Self { method: Some(*method), ..none }
            }
            Event::RoleChanged { from, to } => {
                Self { role_before: *from, role_after: Some(*to), ..none }
            }
            Event::ServiceTokenCreated { token_id } | Event::ServiceTokenRevoked { token_id } => {
                Self { service_token: Some(*token_id), ..none }
            }
            Event::CustomerProvisioned { token_id, .. }
            | Event::HandoffCreated { token_id, .. } => Self { service_token: *token_id, ..none },
            Event::CategoryCreated { category_id }
            | Event::CategoryRenamed { category_id }
            | Event::CategoryRetired { category_id }
            | Event::CategoryRestored { category_id } => {
                Self { category: Some(*category_id), ..none }
            }
            Event::CannedAnswerCreated { canned_answer_id }
            | Event::CannedAnswerUpdated { canned_answer_id }
            | Event::CannedAnswerRetired { canned_answer_id }
            | Event::CannedAnswerRestored { canned_answer_id } => {
                Self { canned_answer: Some(*canned_answer_id), ..none }
            }
            Event::SavedViewCreated { saved_view_id }
            | Event::SavedViewUpdated { saved_view_id }
            | Event::SavedViewRetired { saved_view_id }
            | Event::SavedViewRestored { saved_view_id } => {
                Self { saved_view: Some(*saved_view_id), ..none }
            }
            Event::CategoriesOrdered { from, to } => {
                Self { categories: Some((from.clone(), to.clone())), ..none }
            }
            Event::SecondFactorsReset {}
            | Event::SecondFactorFailed {}
            | Event::EmailChanged {}
            | Event::AccountErased {}
            | Event::RecoveryCodeUsed {}
            | Event::RecoveryCodesRegenerated {}
            | Event::PasswordChanged {}
            | Event::PasswordReset {}
            | Event::HandoffRedeemed { .. }
            | Event::AccountDisabled {}
            | Event::AccountEnabled {}
            | Event::AccountUpdated {}
            | Event::CannedAnswersOrdered {}
            | Event::SavedViewsOrdered {}
            | Event::Unknown => none,
        }
    }
}

impl From<AuditEntry> for AccountEvent {
    fn from(entry: AuditEntry) -> Self {
        let details = Details::from(&entry.event);
        Self { entry, details }
    }
}

connection!(AccountEventConnection, AccountEventEdge, AccountEvent, "an account's events");

impl AccountEventConnection {
    /// A page of the viewer's events.
    pub(super) async fn of_viewer(ctx: &Context<'_>, args: PageArgs) -> Result<Self, Failure> {
        let page = args.page(decode_place)?;
        Ok(Self::of(service::audit::own(ctx.actor()?, ctx.services()?, &page).await?))
    }

    fn of(slice: Slice<AuditEntry>) -> Self {
        Self::new(slice.map(|entry| (encode_place(entry.id), entry.into())))
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
    /// The events about an account, newest first. For admins; your own are
    /// `viewer.securityEvents`.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn account_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account.")] account_id: ID,
        #[graphql(
            desc = "Return at most this many items from the start: 0 to 100, 20 by default."
        )]
        first: Option<i32>,
        #[graphql(desc = "Return items after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return at most this many items from the end: 0 to 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Return items before this cursor.")] before: Option<String>,
    ) -> Result<Option<AccountEventConnection>, Failure> {
        let page = PageArgs { first, after, last, before }.page(decode_place);
        let id = GlobalId::account(&account_id);
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let slice = service::audit::of_account(actor, services, id, &page?).await?;
        Ok(Some(AccountEventConnection::of(slice)))
    }
}
