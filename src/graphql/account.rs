//! Accounts.

use async_graphql::{Context, Description, Enum, ID, Object};
use chrono::{DateTime, Utc};

use super::{
    audit::AccountEventConnection,
    context::ContextExt as _,
    error::Failure,
    id::GlobalId,
    notification::NotificationConnection,
    pagination::{PageArgs, cost},
    preferences::MailPreferences,
    second_factor::SecondFactor,
    session::own::Session,
};
use crate::{domain::account, service};

/// What an account may do.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "account::Role")]
pub enum Role {
    /// Opens tickets and sees only their own.
    Customer,
    /// Support staff: works the whole queue.
    Agent,
    /// An agent who may also configure the installation.
    Admin,
}

/// A language that people are addressed in.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "account::Locale")]
pub enum Locale {
    /// English.
    En,
    /// Russian.
    Ru,
}

/// A person with an account: a customer or a member of staff. A customer sees
/// their own account and the names of staff.
#[derive(Description)]
pub struct Account {
    account: account::Account,
    /// The caller may see its contact, though the policy doesn't know them as its owner.
    own: bool,
}

#[Object(use_type_description)]
impl Account {
    /// Its global id.
    pub async fn id(&self) -> ID {
        GlobalId::Account(self.account.id).into()
    }

    /// The name that others see.
    async fn name(&self) -> &str {
        &self.account.name
    }

    /// Whether this is a member of the support staff.
    async fn is_staff(&self) -> bool {
        self.account.role.is_staff()
    }

    /// The e-mail address; null unless it is your own account or you are staff.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<&str>, Failure> {
        Ok(self.contact(ctx)?.map(|account| account.email.as_str()))
    }

    /// What the account may do; null unless it is your own account or you are staff.
    async fn role(&self, ctx: &Context<'_>) -> Result<Option<Role>, Failure> {
        Ok(self.contact(ctx)?.map(|account| account.role.into()))
    }

    /// The language that the account is addressed in; null unless it is your own
    /// account or you are staff.
    async fn locale(&self, ctx: &Context<'_>) -> Result<Option<Locale>, Failure> {
        Ok(self.contact(ctx)?.map(|account| account.locale.into()))
    }

    /// What is on the account's bell, newest first; null unless it is your own account.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn notifications(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "So many from the start; 0 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many from the end; 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only what you have not read.", default = false)] unread_only: bool,
    ) -> Result<Option<NotificationConnection>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let args = PageArgs { first, after, last, before };
        NotificationConnection::load(ctx, unread_only, args).await.map(Some)
    }

    /// How many notifications you have not read; null unless it is your own account.
    async fn unread_notification_count(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Ok(Some(service::notification::unread(ctx.actor()?, ctx.services()?).await?))
    }

    /// How many of your tickets are neither resolved nor closed: those that you opened or
    /// take part in, and for staff those that are assigned to you; null unless it is your own
    /// account.
    async fn open_ticket_count(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Ok(Some(service::unread::counts(ctx.actor()?, ctx.services()?).await?.open))
    }

    /// How many of your tickets are unread, closed ones too: those that you opened or take
    /// part in, and for staff those that are assigned to you; null unless it is your own
    /// account.
    async fn unread_ticket_count(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Ok(Some(service::unread::counts(ctx.actor()?, ctx.services()?).await?.unread))
    }

    /// Which mails you want; null unless it is your own account.
    async fn mail_preferences(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<MailPreferences>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Ok(Some(service::preferences::of_viewer(ctx.actor()?, ctx.services()?).await?.into()))
    }

    /// The second factors that the account has; null unless it is your own account.
    async fn second_factors(
        &self,
        ctx: &Context<'_>,
    ) -> Result<Option<Vec<SecondFactor>>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let (factors, _) = service::second_factor::of_viewer(ctx.actor()?, ctx.services()?).await?;
        Ok(Some(factors.into_iter().map(SecondFactor::from).collect()))
    }

    /// How many recovery codes the account has left, of 10; null unless it is your own
    /// account.
    async fn recovery_codes_left(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let (_, left) = service::second_factor::of_viewer(ctx.actor()?, ctx.services()?).await?;
        Ok(Some(left))
    }

    /// Where you are signed in, the last used first; null unless it is your own account.
    #[graphql(complexity = "cost(None, None, child_complexity)")]
    async fn sessions(&self, ctx: &Context<'_>) -> Result<Option<Vec<Session>>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        Session::of_viewer(ctx).await.map(Some)
    }

    /// What happened to the account, newest first: sign-ins, ended sessions, changes; null
    /// unless it is your own account.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    async fn security_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "So many from the start; 0 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many from the end; 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<Option<AccountEventConnection>, Failure> {
        if !self.is_viewer(ctx)? {
            return Ok(None);
        }
        let args = PageArgs { first, after, last, before };
        AccountEventConnection::of_viewer(ctx, args).await.map(Some)
    }

    /// Since when the account can't sign in, if it can't; null unless it is your own account
    /// or you are staff.
    async fn disabled_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime<Utc>>, Failure> {
        Ok(self.contact(ctx)?.and_then(|account| account.disabled_at))
    }

    /// When the account was made; null unless it is your own account or you are staff.
    async fn created_at(&self, ctx: &Context<'_>) -> Result<Option<DateTime<Utc>>, Failure> {
        Ok(self.contact(ctx)?.map(|account| account.created_at))
    }
}

impl Account {
    /// An account that the caller may see.
    pub fn new(account: account::Account) -> Self {
        Self { account, own: false }
    }

    /// An account whose contact the caller may see whatever the policy says of them: who
    /// has just signed in, and the machine that has just written it.
    pub fn own(account: account::Account) -> Self {
        Self { account, own: true }
    }

    fn is_viewer(&self, ctx: &Context<'_>) -> Result<bool, Failure> {
        Ok(ctx.actor()?.account_id() == Some(self.account.id))
    }

    fn contact(&self, ctx: &Context<'_>) -> Result<Option<&account::Account>, Failure> {
        let sees = self.own || service::account::sees_contact(ctx.actor()?, &self.account);
        Ok(sees.then_some(&self.account))
    }
}

#[derive(Default)]
pub struct AccountQuery;

#[Object]
impl AccountQuery {
    /// Your own account.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        Ok(Some(Account::own(service::account::viewer(ctx.actor()?, ctx.services()?).await?)))
    }
}
