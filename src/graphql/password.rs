//! Passwords: changing one, and resetting a forgotten one by mail.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
};
use crate::{
    crypto::password::Password,
    service::{self, ServiceError, password::NewPassword},
};

/// The input of `requestPasswordReset`.
#[derive(InputObject)]
pub struct RequestPasswordResetInput {
    /// The account's e-mail address, in any letter case.
    email: String,
}

/// The payload of `requestPasswordReset`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RequestPasswordResetPayload {
    /// Whether the request was accepted. If an account has this address, a mail with a link
    /// is on its way; the response does not reveal whether one has.
    accepted: bool,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `resetPassword`.
#[derive(InputObject)]
pub struct ResetPasswordInput {
    /// The token from the link in the mail.
    #[graphql(secret)]
    token: String,
    /// The new password: 8 to 1,024 characters of any kind. Passwords that are easy to guess
    /// are rejected.
    #[graphql(secret)]
    password: String,
    /// The new password, repeated.
    #[graphql(secret)]
    password_again: String,
}

/// The input of `changePassword`.
#[derive(InputObject)]
pub struct ChangePasswordInput {
    /// Your current password.
    #[graphql(secret)]
    current_password: String,
    /// The new password: 8 to 1,024 characters of any kind. Passwords that are easy to guess
    /// are rejected.
    #[graphql(secret)]
    password: String,
    /// The new password, repeated.
    #[graphql(secret)]
    password_again: String,
}

/// The payload of `resetPassword` and `changePassword`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct ChangePasswordPayload {
    /// Whether the new password is set.
    changed: bool,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

impl ChangePasswordPayload {
    fn of(result: Result<(), ServiceError>) -> Result<Self, Failure> {
        Ok(match Outcome::of(result)? {
            Outcome::Done(()) => Self { changed: true, user_errors: vec![] },
            Outcome::Rejected { errors, .. } => Self { changed: false, user_errors: errors },
        })
    }
}

fn new_password(password: String, repetition: String) -> NewPassword {
    NewPassword { password: Password::new(password), repetition: Password::new(repetition) }
}

#[derive(Default)]
pub struct PasswordMutation;

#[Object]
impl PasswordMutation {
    /// Mails a link for setting a new password, valid for 30 minutes. Earlier links to the same
    /// address become void, except for that of an invitation. Requires no session.
    ///
    /// The response is the same whether an account has the address or not. A malformed
    /// address is a user error. Limited to 10 mails an hour for each address:
    /// `RATE_LIMITED` beyond that.
    async fn request_password_reset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's address.")] input: RequestPasswordResetInput,
    ) -> Result<RequestPasswordResetPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let requested =
            service::password::request_reset(actor, services, &input.email, origin).await;
        Ok(match Outcome::of(requested)? {
            Outcome::Done(()) => {
                RequestPasswordResetPayload { accepted: true, user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                RequestPasswordResetPayload { accepted: false, user_errors: errors }
            }
        })
    }

    /// Sets a password with the link from a mail: a password reset, valid for 30 minutes, or
    /// an invitation, valid for 72 hours. Requires no session.
    ///
    /// All sessions of the account end and its owner is notified by mail. No new session is
    /// created: sign in with the new password, and with the second factor if there is one.
    /// A link works once. User errors: `EXPIRED` for a link that is unknown, expired or
    /// already used; `REQUIRED`, `TOO_LONG` or `WEAK_PASSWORD` for the password; `MISMATCH`
    /// if the two passwords differ. A rejected password does not use up the link. Too many
    /// failed calls are `RATE_LIMITED`.
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The token and the new password.")] input: ResetPasswordInput,
    ) -> Result<ChangePasswordPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let new = new_password(input.password, input.password_again);
        let reset = service::password::reset(actor, services, &input.token, new, origin).await;
        ChangePasswordPayload::of(reset)
    }

    /// Changes your password. Your other sessions end, and you are notified by mail.
    ///
    /// User errors: `INVALID_CREDENTIALS` for a wrong current password; `REQUIRED`,
    /// `TOO_LONG` or `WEAK_PASSWORD` for the new one; `MISMATCH` if the two new passwords
    /// differ; `EXPIRED` if your session ended meanwhile. Too many
    /// passwords, or changes within an hour, are `RATE_LIMITED`. An account without a password gets its first one with
    /// `requestPasswordReset`.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The current and the new password.")] input: ChangePasswordInput,
    ) -> Result<ChangePasswordPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let new = new_password(input.password, input.password_again);
        let current = Password::new(input.current_password);
        ChangePasswordPayload::of(
            service::password::change_own(actor, services, current, new, origin).await,
        )
    }
}
