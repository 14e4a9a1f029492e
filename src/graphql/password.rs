//! Passwords: changed, or set anew by a link that was mailed.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
};
use crate::{
    crypto::password::Password,
    service::{self, ServiceError, password::NewPassword},
};

/// What `requestPasswordReset` takes.
#[derive(InputObject)]
pub struct RequestPasswordResetInput {
    /// The account's e-mail address.
    email: String,
}

/// What `requestPasswordReset` answers.
#[derive(SimpleObject)]
pub struct RequestPasswordResetPayload {
    /// Whether the request was taken: if there is such an account, a mail with a link
    /// is on its way. Nothing tells whether there is.
    accepted: bool,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `resetPassword` takes.
#[derive(InputObject)]
pub struct ResetPasswordInput {
    /// What the link in the mail carries.
    #[graphql(secret)]
    token: String,
    /// The new password: 8 to 1,024 characters of any kind, hard to guess.
    #[graphql(secret)]
    password: String,
    /// The same again.
    #[graphql(secret)]
    password_again: String,
}

/// What `changePassword` takes.
#[derive(InputObject)]
pub struct ChangePasswordInput {
    /// Your present password.
    #[graphql(secret)]
    current_password: String,
    /// The new password: 8 to 1,024 characters of any kind, hard to guess.
    #[graphql(secret)]
    password: String,
    /// The same again.
    #[graphql(secret)]
    password_again: String,
}

/// What `resetPassword` and `changePassword` answer.
#[derive(SimpleObject)]
pub struct ChangePasswordPayload {
    /// Whether the new password is set.
    changed: bool,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

impl ChangePasswordPayload {
    fn of(result: Result<(), ServiceError>) -> Result<Self, Failure> {
        Ok(match Outcome::of(result)? {
            Outcome::Done(()) => Self { changed: true, user_errors: vec![] },
            Outcome::Refused { errors, .. } => Self { changed: false, user_errors: errors },
        })
    }
}

fn new_password(password: String, again: String) -> NewPassword {
    NewPassword { password: Password::new(password), repetition: Password::new(again) }
}

#[derive(Default)]
pub struct PasswordMutation;

#[Object]
impl PasswordMutation {
    /// Asks for a mail with a link to set a new password. Needs no session. The answer
    /// is the same whether there is such an account or not.
    async fn request_password_reset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose password.")] input: RequestPasswordResetInput,
    ) -> Result<RequestPasswordResetPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let asked = service::password::request_reset(actor, services, &input.email, origin).await;
        Ok(match Outcome::of(asked)? {
            Outcome::Done(()) => {
                RequestPasswordResetPayload { accepted: true, user_errors: vec![] }
            }
            Outcome::Refused { errors, .. } => {
                RequestPasswordResetPayload { accepted: false, user_errors: errors }
            }
        })
    }

    /// Sets a new password by the link of a mail, which works once and for 30 minutes.
    /// Needs no session, and gives none: sign in with the new password, and with your
    /// second factor if you have one. All your sessions end.
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The link and the new password.")] input: ResetPasswordInput,
    ) -> Result<ChangePasswordPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let new = new_password(input.password, input.password_again);
        let reset = service::password::reset(actor, services, &input.token, new, origin).await;
        ChangePasswordPayload::of(reset)
    }

    /// Changes your password. Your other sessions end.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The old and the new password.")] input: ChangePasswordInput,
    ) -> Result<ChangePasswordPayload, Failure> {
        let (actor, services, origin) = (ctx.actor()?, ctx.services()?, ctx.origin()?);
        let new = new_password(input.password, input.password_again);
        let current = Password::new(input.current_password);
        ChangePasswordPayload::of(
            service::password::change_own(actor, services, current, new, origin).await,
        )
    }
}
