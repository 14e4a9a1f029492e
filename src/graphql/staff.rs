//! Accounts as admins look after them.

use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    account::{Account, Locale, Role},
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    pagination::{PageArgs, connection, cost},
};
use crate::{
    domain::{
        account::{self, EmailAddress},
        search::SearchText,
    },
    service::{self, ServiceError, staff::NewInvitation},
};

/// What `createAccount` takes.
#[derive(InputObject)]
pub struct CreateAccountInput {
    /// The e-mail address that they sign in with, in any case.
    email: String,
    /// Their name: 1 to 120 characters.
    name: String,
    /// What they may do.
    role: Role,
    /// The language that they are addressed in.
    locale: Locale,
    /// Makes repeating the call safe, for 24 hours: the same key and input give the
    /// first call's account. 1 to 255 characters, your own choice; a UUID is good.
    idempotency_key: Option<String>,
}

/// What `createAccount` answers.
#[derive(SimpleObject)]
pub struct CreateAccountPayload {
    /// The new account.
    account: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `setAccountRole` takes.
#[derive(InputObject)]
pub struct SetAccountRoleInput {
    /// The account.
    id: ID,
    /// What it may do from now on.
    role: Role,
}

/// What `setAccountRole` answers.
#[derive(SimpleObject)]
pub struct SetAccountRolePayload {
    /// The account with its new role.
    account: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `disableAccount` takes.
#[derive(InputObject)]
pub struct DisableAccountInput {
    /// The account.
    id: ID,
}

/// What `disableAccount` answers.
#[derive(SimpleObject)]
pub struct DisableAccountPayload {
    /// The account, which can't sign in any more.
    account: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `enableAccount` takes.
#[derive(InputObject)]
pub struct EnableAccountInput {
    /// The account.
    id: ID,
}

/// What `enableAccount` answers.
#[derive(SimpleObject)]
pub struct EnableAccountPayload {
    /// The account, which can sign in.
    account: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `updateAccount` takes. What is left out stays as it is.
#[derive(InputObject)]
pub struct UpdateAccountInput {
    /// The account.
    id: ID,
    /// The name that others see: 1 to 120 characters.
    name: Option<String>,
    /// The language that it is addressed in.
    locale: Option<Locale>,
}

/// What `updateAccount` answers.
#[derive(SimpleObject)]
pub struct UpdateAccountPayload {
    /// The account as it is now.
    account: Option<Account>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

connection!(AccountConnection, AccountEdge, Account, "accounts");

#[derive(Default)]
pub struct StaffQuery;

#[Object]
impl StaffQuery {
    /// All accounts in the order of their e-mail addresses, disabled ones too. For admins.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are the field's")]
    async fn accounts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "So many from the start; 0 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many from the end; 0 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Only those of this role.")] role: Option<Role>,
        #[graphql(
            desc = "Only those with a name or an e-mail address that begins so: 1 to 255 characters."
        )]
        text: Option<String>,
    ) -> Result<Option<AccountConnection>, Failure> {
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        service::staff::require_admin(actor)?;
        let page = PageArgs { first, after, last, before }.page(decode_place)?;
        let text = text.as_deref().map(SearchText::parse).transpose().map_err(|error| {
            Failure::bad_request(format!("`text` {error}. Leave it out to list everybody."))
        })?;
        let role = role.map(Into::into);
        let slice = service::staff::page(actor, services, role, text.as_ref(), &page).await?;
        let place = |account: &account::Account| URL_SAFE_NO_PAD.encode(account.email.as_str());
        let items = slice.map(|account| (place(&account), Account::new(account)));
        Ok(Some(AccountConnection::new(items)))
    }
}

fn decode_place(text: &str) -> Option<EmailAddress> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    EmailAddress::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

#[derive(Default)]
pub struct StaffMutation;

#[Object]
impl StaffMutation {
    /// Makes an account without a password: its owner is mailed a link, good for 72 hours, to
    /// set one. For admins.
    async fn create_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose.")] input: CreateAccountInput,
    ) -> Result<CreateAccountPayload, Failure> {
        let new = NewInvitation {
            email: input.email,
            name: input.name,
            role: input.role.into(),
            locale: input.locale.into(),
            idempotency_key: input.idempotency_key,
        };
        let done = service::staff::invite(ctx.actor()?, ctx.services()?, new).await;
        let (account, user_errors) = changed(done)?;
        Ok(CreateAccountPayload { account, user_errors })
    }

    /// Gives an account another role. Its sessions end, live streams too. Nobody takes their
    /// own admin role. For admins.
    async fn set_account_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose, and which.")] input: SetAccountRoleInput,
    ) -> Result<SetAccountRolePayload, Failure> {
        let (id, role) = (GlobalId::account(&input.id), input.role.into());
        let done = service::staff::set_role(ctx.actor()?, ctx.services()?, id, role).await;
        let (account, user_errors) = changed(done)?;
        Ok(SetAccountRolePayload { account, user_errors })
    }

    /// Disables an account: its sessions end, live streams too, and nobody signs in to it. What
    /// it wrote and what is assigned to it stays. Nobody disables their own. For admins.
    async fn disable_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to disable.")] input: DisableAccountInput,
    ) -> Result<DisableAccountPayload, Failure> {
        let id = GlobalId::account(&input.id);
        let done = service::staff::disable(ctx.actor()?, ctx.services()?, id).await;
        let (account, user_errors) = changed(done)?;
        Ok(DisableAccountPayload { account, user_errors })
    }

    /// Lets a disabled account sign in again. For admins.
    async fn enable_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to enable.")] input: EnableAccountInput,
    ) -> Result<EnableAccountPayload, Failure> {
        let id = GlobalId::account(&input.id);
        let done = service::staff::enable(ctx.actor()?, ctx.services()?, id).await;
        let (account, user_errors) = changed(done)?;
        Ok(EnableAccountPayload { account, user_errors })
    }

    /// Changes an account's name or language. For admins.
    async fn update_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which, and how.")] input: UpdateAccountInput,
    ) -> Result<UpdateAccountPayload, Failure> {
        let (id, name) = (GlobalId::account(&input.id), input.name.as_deref());
        let locale = input.locale.map(Into::into);
        let done = service::staff::update(ctx.actor()?, ctx.services()?, id, name, locale).await;
        let (account, user_errors) = changed(done)?;
        Ok(UpdateAccountPayload { account, user_errors })
    }
}

/// A changed account, or what is wrong with the input.
fn changed(
    result: Result<account::Account, ServiceError>,
) -> Result<(Option<Account>, Vec<UserError>), Failure> {
    Ok(match Outcome::of(result)? {
        Outcome::Done(account) => (Some(Account::new(account)), vec![]),
        Outcome::Refused { errors, .. } => (None, errors),
    })
}
