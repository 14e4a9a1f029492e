//! Accounts.

use std::sync::Arc;

use async_graphql::{Context, Description, Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::{
    audit::AccountEventConnection,
    context::ContextExt as _,
    error::Failure,
    id::GlobalId,
    loader::{OwnTicketCounts, OwnUnreadNotifications},
    notification::NotificationConnection,
    pagination::{PageArgs, cost},
    preferences::MailPreferences,
    second_factor::SecondFactor,
    session::own::Session,
    text::Text,
    ticket_invitation::ReceivedInvitation,
};
use crate::{domain::account, service};

/// The role of an account, which decides what it may see and do.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "account::Role")]
pub enum Role {
    /// Opens tickets, and sees the tickets that they opened or participate in.
    Customer,
    /// Support staff: sees and works on every ticket.
    Agent,
    /// An agent who also manages accounts, categories and service tokens.
    Admin,
}

/// A language that Ticketwire supports.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "account::Locale")]
pub enum Locale {
    /// English.
    En,
    /// Russian.
    Ru,
}

/// A person with an account: a customer or a member of staff. Staff see every account.
/// Customers see their own, those of staff, and those of everybody who has or had a part in a
/// ticket that they can see, even if that person has left the staff since.
#[derive(Description)]
pub struct Account {
    account: Arc<account::Account>,
    /// Whether contact details are shown whatever the policy says about the caller.
    shows_contact: bool,
}

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl Account {
    /// An opaque identifier. Store it and send it back unchanged.
    pub async fn id(&self) -> ID {
        GlobalId::Account(self.account.id).into()
    }

    /// The name that others see: 1 to 120 characters.
    async fn name(&self) -> Text<&str> {
        Text(&self.account.name)
    }

    /// Whether the account was erased. Its name and address are placeholders then.
    async fn is_erased(&self) -> bool {
        self.account.is_erased()
    }

    /// Whether this is a member of staff: an agent or an admin.
    async fn is_staff(&self) -> bool {
        self.account.role.is_staff()
    }

    /// The e-mail address, in lower case. Null unless this is your own account or you are
    /// staff.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<Text<&str>>, Failure> {
        Ok(self.contact(ctx)?.map(|account| Text(account.email.as_str())))
    }

    /// The role. Null unless this is your own account or you are staff; `isStaff` is visible
    /// to everyone.
    async fn role(&self, ctx: &Context<'_>) -> Result<Option<Role>, Failure> {
        Ok(self.contact(ctx)?.map(|account| account.role.into()))
    }

    /// The language of the account's mails, and the default of every `locale` argument. Null
    /// unless this is your own account or you are staff.
    async fn locale(&self, ctx: &Context<'_>) -> Result<Option<Locale>, Failure> {
        Ok(self.contact(ctx)?.map(|account| account.locale.into()))
    }

    /// Your notifications about tickets that you see, newest first. Null unless this is your own
    /// account. The subscription `notifications` delivers new ones live;
    /// `markNotificationsRead` marks them as read.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Return at most this many items from the start: 0 to 100, 20 by default."
        )]
        first: Option<i32>,
        #[graphql(desc = "Return items after this cursor.")] after: Option<String>,
        #[graphql(desc = "Return at most this many items from the end: 0 to 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Return items before this cursor.")] before: Option<String>,
        #[graphql(desc = "Return only notifications that you have not read.", default = false)]
        unread_only: bool,
    ) -> Result<Option<NotificationConnection>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let args = PageArgs { first, after, last, before };
        // Boxed, as the other fields of the viewer: accounts are resolved by the hundred, and their
        // state is as large as that of their largest field.
        Box::pin(NotificationConnection::load(ctx, unread_only, args)).await.map(Some)
    }

    /// The number of notifications that you have not read. Null unless this is your own
    /// account.
    async fn unread_notification_count(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Ok(Some(ctx.loaders()?.require(OwnUnreadNotifications).await?))
    }

    /// The number of your tickets that are neither `RESOLVED` nor `CLOSED`. A customer's
    /// tickets are those that they opened or participate in; a member of staff's are those
    /// assigned to them. Null unless this is your own account.
    async fn open_ticket_count(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Ok(Some(ctx.loaders()?.require(OwnTicketCounts).await?.open))
    }

    /// The number of your tickets that are unread (see `Ticket.isUnread`), closed ones
    /// included. Your tickets are the same as for `openTicketCount`. Null unless this is your
    /// own account.
    async fn unread_ticket_count(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Ok(Some(ctx.loaders()?.require(OwnTicketCounts).await?.unread))
    }

    /// The open invitations to take part in others' tickets, newest first: at most 50. Null unless
    /// this is your own account. `acceptInvitation` and `declineInvitation` answer them.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    async fn invitations(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<ReceivedInvitation>>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Box::pin(ReceivedInvitation::of_viewer(ctx)).await.map(Some)
    }

    /// Which notification mails you receive; `updatePreferences` changes it. Null unless this
    /// is your own account.
    async fn mail_preferences(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<MailPreferences>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let loading = service::preferences::of_viewer(ctx.actor()?, ctx.services()?);
        Ok(Some(Box::pin(loading).await?.into()))
    }

    /// Whether the account has a password. True also for an imported hash of an empty password;
    /// false for a customer who signs in through the control panel only. Null unless this is your
    /// own account.
    async fn has_password(&self, ctx: &Context<'_>) -> Result<Option<bool>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let loading = service::password::viewer_has_one(ctx.actor()?, ctx.services()?);
        Ok(Some(Box::pin(loading).await?))
    }

    /// The second factors of the account, empty if it has none. Null unless this is your own
    /// account.
    async fn second_factors(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<SecondFactor>>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let loading = service::second_factor::of_viewer(ctx.actor()?, ctx.services()?);
        let (factors, _) = Box::pin(loading).await?;
        Ok(Some(factors.into_iter().map(SecondFactor::from).collect()))
    }

    /// The number of unused recovery codes: 0 to 10. Null unless this is your own account.
    /// `regenerateRecoveryCodes` replaces them.
    async fn recovery_codes_left(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let loading = service::second_factor::of_viewer(ctx.actor()?, ctx.services()?);
        let (_, left) = Box::pin(loading).await?;
        Ok(Some(left))
    }

    /// Your active sessions, most recently used first: at most 100. Null unless this is your
    /// own account.
    #[graphql(complexity = "cost(None, None, child_complexity)")]
    async fn sessions(&self, ctx: &Context<'_>) -> Result<Option<Vec<Session>>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Box::pin(Session::of_viewer(ctx)).await.map(Some)
    }

    /// The account's audit trail, newest first: sign-ins, ended sessions, changes of its
    /// security and profile. Null unless this is your own account; admins read that of others
    /// with `accountEvents`.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn security_events(
        &self,
        ctx: &Context<'_>,
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
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let args = PageArgs { first, after, last, before };
        Box::pin(AccountEventConnection::of_viewer(ctx, args)).await.map(Some)
    }

    /// When the account was disabled, or null if it is active. Also null unless this is your
    /// own account or you are staff.
    async fn disabled_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime<Utc>>, Failure> {
        Ok(self.contact(ctx)?.and_then(|account| account.disabled_at))
    }

    /// When the account was created. Null unless this is your own account or you are staff.
    async fn created_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime<Utc>>, Failure> {
        Ok(self.contact(ctx)?.map(|account| account.created_at))
    }
}

impl Account {
    /// Wraps an account that the caller may see; the policy decides about contact details.
    pub fn new(account: impl Into<Arc<account::Account>>) -> Self {
        Self { account: account.into(), shows_contact: false }
    }

    /// Wraps an account whose contact details the caller may see although the policy does not
    /// know them as its owner: a person who has just signed in or must still configure a
    /// second factor, and the machine that has just provisioned the account.
    pub fn with_contact(account: account::Account) -> Self {
        Self { account: account.into(), shows_contact: true }
    }

    fn is_viewer(&self, ctx: &Context<'_>) -> Result<bool, Failure> {
        Ok(ctx.actor()?.account_id() == Some(self.account.id))
    }

    /// The account, or `None` if the caller may not see its contact details.
    fn contact(&self, ctx: &Context<'_>) -> Result<Option<&account::Account>, Failure> {
        let sees =
            self.shows_contact || service::account::sees_contact(ctx.actor()?, &self.account);
        Ok(sees.then_some(&self.account))
    }
}

#[derive(Default)]
pub struct AccountQuery;

#[Object]
impl AccountQuery {
    /// Your own account. Also available while the session may only configure a second factor.
    /// Fails with `UNAUTHENTICATED` without a session and with `FORBIDDEN` for service tokens.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        Ok(Some(Account::with_contact(
            service::account::viewer(ctx.actor()?, ctx.services()?).await?,
        )))
    }
}
