//! Administration of accounts by admins.

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
        email,
        search::SearchText,
        text::SingleLine,
    },
    service::{
        self, ServiceError,
        staff::{AccountChanges, NewInvitation},
    },
};

/// The input of `createAccount`.
#[derive(InputObject)]
pub struct CreateAccountInput {
    /// The e-mail address that the person signs in with. It is stored in lower case, with its
    /// domain in Unicode. An address that cannot be mailed is `INVALID`.
    email: String,
    /// The name that others see: 1 to 120 characters.
    name: String,
    /// The role, which decides what the account may do.
    role: Role,
    /// The language of the account's mails, and the default of every `locale` argument.
    locale: Locale,
    /// Makes the call safe to repeat for 24 hours: the same key with the same input returns
    /// the first result. At most 255 characters.
    idempotency_key: Option<String>,
}

/// The payload of `createAccount`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CreateAccountPayload {
    /// The new account, or null on failure.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `setAccountRole`.
#[derive(InputObject)]
pub struct SetAccountRoleInput {
    /// The id of the account.
    id: ID,
    /// The new role.
    role: Role,
}

/// The payload of `setAccountRole`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SetAccountRolePayload {
    /// The account with its new role, or null on failure.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `disableAccount`.
#[derive(InputObject)]
pub struct DisableAccountInput {
    /// The id of the account.
    id: ID,
}

/// The payload of `disableAccount`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct DisableAccountPayload {
    /// The disabled account, or null on failure.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `enableAccount`.
#[derive(InputObject)]
pub struct EnableAccountInput {
    /// The id of the account.
    id: ID,
}

/// The payload of `enableAccount`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct EnableAccountPayload {
    /// The account, which can sign in again.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `updateAccount`. A field that is omitted or null is not changed.
#[derive(InputObject)]
pub struct UpdateAccountInput {
    /// The id of the account.
    id: ID,
    /// The name that others see: 1 to 120 characters.
    name: Option<String>,
    /// The language of the account's mails, and the default of every `locale` argument.
    locale: Option<Locale>,
    /// The e-mail address that the person signs in with. It is stored in lower case. Another address
    /// than before ends the account's sessions, password links and e-mail codes, and both addresses
    /// are notified. An account without a password is invited again.
    email: Option<String>,
}

/// The payload of `updateAccount`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdateAccountPayload {
    /// The account after the change, or null on failure.
    account: Option<Account>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

connection!(AccountConnection, AccountEdge, Account, "accounts");

#[derive(Default)]
pub struct StaffQuery;

#[Object]
impl StaffQuery {
    /// All accounts, including disabled ones, ordered by e-mail address. Admins only.
    #[graphql(complexity = "cost(first, last, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "each is an argument of the API")]
    async fn accounts(
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
        #[graphql(desc = "Return only accounts with this role.")] role: Option<Role>,
        #[graphql(
            desc = "Return only accounts whose name, a part of the name, or e-mail address starts with this: 1 to 255 characters. Letter case and accents do not matter."
        )]
        text: Option<String>,
    ) -> Result<Option<AccountConnection>, Failure> {
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        service::staff::require_admin(actor)?;
        let page = PageArgs { first, after, last, before }.page(decode_cursor)?;
        let text = text.as_deref().map(SearchText::parse).transpose().map_err(|error| {
            Failure::bad_request(format!("`text` {error}. Leave it out to list all accounts."))
        })?;
        let role = role.map(Into::into);
        let slice = service::staff::page(actor, services, role, text.as_ref(), &page).await?;
        let cursor = |account: &account::Account| URL_SAFE_NO_PAD.encode(account.email.as_str());
        let items = slice.map(|account| (cursor(&account), Account::new(account)));
        Ok(Some(AccountConnection::new(items)))
    }
}

fn decode_cursor(text: &str) -> Option<EmailAddress> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    // Only compared: it may be that of an erased account, which `lookup` refuses.
    SingleLine::<{ email::MAX_LENGTH }>::parse(&text).ok()?;
    Some(EmailAddress::from_stored(text))
}

#[derive(Default)]
pub struct StaffMutation;

#[Object]
impl StaffMutation {
    /// Creates an account without a password, and mails its owner a link for setting one, valid
    /// for 72 hours. Admins only.
    ///
    /// Fails with `TAKEN` if another account has the address, and with `NOT_AVAILABLE` if this
    /// installation sends no mail. `REAUTHENTICATION_REQUIRED` if you neither signed in nor called
    /// `reauthenticate` in the last 10 minutes.
    async fn create_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new account.")] input: CreateAccountInput,
    ) -> Result<CreateAccountPayload, Failure> {
        let new = NewInvitation {
            email: input.email,
            name: input.name,
            role: input.role.into(),
            locale: input.locale.into(),
            idempotency_key: input.idempotency_key,
        };
        let result = service::staff::invite(ctx.actor()?, ctx.services()?, new).await;
        let (account, user_errors) = account_and_errors(result)?;
        Ok(CreateAccountPayload { account, user_errors })
    }

    /// Changes an account's role. Admins only. The sessions and live streams of the account end.
    /// When a member of staff becomes a customer, their open tickets are unassigned soon after.
    /// Setting the role that it has changes nothing.
    ///
    /// Fails with `NOT_FOUND` if there is no such account. You cannot demote yourself
    /// (`OWN_ACCOUNT`) or the last admin who can sign in (`LAST_ADMIN`).
    /// `REAUTHENTICATION_REQUIRED` if you neither signed in nor called `reauthenticate` in the last
    /// 10 minutes.
    async fn set_account_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account and its new role.")] input: SetAccountRoleInput,
    ) -> Result<SetAccountRolePayload, Failure> {
        let (id, role) = (GlobalId::account(&input.id), input.role.into());
        let result = service::staff::set_role(ctx.actor()?, ctx.services()?, id, role).await;
        let (account, user_errors) = account_and_errors(result)?;
        Ok(SetAccountRolePayload { account, user_errors })
    }

    /// Disables an account: it cannot sign in, its sessions and live streams end, and links for
    /// setting its password become void. Admins only. Its comments remain. The open tickets of a
    /// member of staff are unassigned soon after, with you as the author of these events. Disabling
    /// an account twice changes nothing.
    ///
    /// Fails with `NOT_FOUND` if there is no such account. You cannot disable yourself
    /// (`OWN_ACCOUNT`) or the last admin who can sign in (`LAST_ADMIN`).
    /// `REAUTHENTICATION_REQUIRED` if you neither signed in nor called `reauthenticate` in the last
    /// 10 minutes.
    async fn disable_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account to disable.")] input: DisableAccountInput,
    ) -> Result<DisableAccountPayload, Failure> {
        let id = GlobalId::account(&input.id);
        let result = service::staff::disable(ctx.actor()?, ctx.services()?, id).await;
        let (account, user_errors) = account_and_errors(result)?;
        Ok(DisableAccountPayload { account, user_errors })
    }

    /// Lets a disabled account sign in again. Admins only. Its password and second factors are
    /// as before; its former sessions do not come back. Enabling an active account changes
    /// nothing. Fails with `NOT_FOUND` if there is no such account. `REAUTHENTICATION_REQUIRED` if
    /// you neither signed in nor called `reauthenticate` in the last 10 minutes.
    async fn enable_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account to enable.")] input: EnableAccountInput,
    ) -> Result<EnableAccountPayload, Failure> {
        let id = GlobalId::account(&input.id);
        let result = service::staff::enable(ctx.actor()?, ctx.services()?, id).await;
        let (account, user_errors) = account_and_errors(result)?;
        Ok(EnableAccountPayload { account, user_errors })
    }

    /// Changes an account's name, language or e-mail address. Admins only. Fails with `NOT_FOUND` if
    /// there is no such account, and with `TAKEN` if another account has the address.
    ///
    /// A new address fails with `REAUTHENTICATION_REQUIRED` if you neither signed in nor called
    /// `reauthenticate` in the last 10 minutes; that of your own account, with
    /// `REAUTHENTICATION_REQUIRED` if you have not called `reauthenticate` in the last 10 minutes; a
    /// recent sign-in is not enough.
    async fn update_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account and its changes.")] input: UpdateAccountInput,
    ) -> Result<UpdateAccountPayload, Failure> {
        let id = GlobalId::account(&input.id);
        let changes = AccountChanges {
            name: input.name,
            locale: input.locale.map(Into::into),
            email: input.email,
        };
        let result = service::staff::update(ctx.actor()?, ctx.services()?, id, changes).await;
        let (account, user_errors) = account_and_errors(result)?;
        Ok(UpdateAccountPayload { account, user_errors })
    }
}

/// The two fields that these mutations return.
fn account_and_errors(
    result: Result<account::Account, ServiceError>,
) -> Result<(Option<Account>, Vec<UserError>), Failure> {
    Ok(match Outcome::of(result)? {
        Outcome::Done(account) => (Some(Account::new(account)), vec![]),
        Outcome::Rejected { errors, .. } => (None, errors),
    })
}
