//! Passwords: changed by their owner, or set anew by a link that was mailed.

use zxcvbn::{Score, zxcvbn};

use super::{
    ServiceError, Services, UserError, UserErrorCode, account as accounts, authorise,
    priority_mail,
    rate_limit::{self, Limited},
    session,
};
use crate::{
    crypto::{
        password::{MAX_PASSWORD, Password},
        stored_password::StoredPassword,
        token::{BearerToken, TokenHash, TokenKind},
    },
    db::{self, Connection, DbError, password_reset},
    domain::{
        account::{Account, EmailAddress, Locale},
        actor::Actor,
        clock::Timestamp,
        event::AccountEvent,
        ids::SessionId,
        policy::{Action, Resource},
        priority_mail::{
            INVITATION_LIFETIME, PASSWORD_RESET_LIFETIME, PriorityMail, SecurityChange,
        },
        session::Origin,
    },
};

/// The shortest password that may be set, in characters.
pub const MIN_PASSWORD: usize = 8;

/// A new password, given twice.
pub struct NewPassword {
    /// The password.
    pub password: Password,
    /// The same again.
    pub repetition: Password,
}

/// What is wrong with a password's length.
pub(super) fn length_error(password: &Password) -> Option<UserError> {
    let chars = password.chars();
    let code = match chars {
        0 => UserErrorCode::Required,
        _ if chars < MIN_PASSWORD => UserErrorCode::WeakPassword,
        _ if chars > MAX_PASSWORD => UserErrorCode::TooLong,
        _ => return None,
    };
    let message = format!(
        "The password must be {MIN_PASSWORD} to {MAX_PASSWORD} characters long; this has {chars}."
    );
    Some(UserError::new("password", code, message))
}

impl NewPassword {
    /// Judges the password: its length, whether it was given twice, and how hard it is
    /// to guess for somebody who knows the account.
    fn review(&self, account: &Account) -> Result<(), UserError> {
        if let Some(error) = length_error(&self.password) {
            return Err(error);
        }
        if self.password.expose() != self.repetition.expose() {
            let message = "The two passwords differ.";
            return Err(UserError::new("passwordAgain", UserErrorCode::Mismatch, message));
        }
        let known = [account.email.as_str(), account.name.as_str(), "ticketwire"];
        let entropy = zxcvbn(self.password.expose(), &known);
        if entropy.score() >= Score::Three {
            return Ok(());
        }
        let mut message = "This password is too easy to guess.".to_owned();
        if let Some(feedback) = entropy.feedback() {
            let advice = feedback.warning().map(|warning| warning.to_string()).into_iter();
            let advice = advice.chain(feedback.suggestions().iter().map(ToString::to_string));
            for sentence in advice {
                message.push_str(&format!(" {}.", sentence.trim_end_matches('.')));
            }
        }
        Err(UserError::new("password", UserErrorCode::WeakPassword, message))
    }

    async fn hash(self, services: &Services) -> Result<StoredPassword, ServiceError> {
        Ok(services.passwords.hash(self.password).await?)
    }
}

/// Asks for a link to set a new password. What is done is the same whether there is
/// such an account or not: that shows only when the mail is made.
///
/// # Errors
/// An address that can't be one, as a user error; too many.
pub async fn request_reset(
    _actor: &Actor,
    services: &Services,
    email: &str,
    origin: &Origin,
) -> Result<(), ServiceError> {
    let email = EmailAddress::parse(email)
        .map_err(|error| UserError::text("email", "The e-mail address", error))?;
    rate_limit::count_mail(services, Limited::Link, email.as_str(), origin).await?;
    let token = BearerToken::of(TokenKind::PasswordReset, &services.ambient);
    let (now, notice) =
        (services.ambient.now(), PriorityMail::PasswordReset { token: token.expose().to_owned() });
    services
        .database
        .write_without_events(async |db| {
            password_reset::insert(db, token.hash(), &email, now + PASSWORD_RESET_LIFETIME).await?;
            // The language is the account's, when the mail is made.
            priority_mail::plan(
                services,
                db,
                (&email, Locale::En),
                &notice,
                PASSWORD_RESET_LIFETIME,
                now,
            )
            .await
        })
        .await?;
    Ok(())
}

/// Plans the mail with which the owner of a new account sets its first password, in the
/// transaction that makes the account.
pub(super) async fn invite(
    services: &Services,
    db: &mut Connection,
    account: &Account,
    now: Timestamp,
) -> Result<(), DbError> {
    let token = BearerToken::of(TokenKind::PasswordReset, &services.ambient);
    password_reset::insert(db, token.hash(), &account.email, now + INVITATION_LIFETIME).await?;
    let notice = PriorityMail::Invitation { token: token.expose().to_owned() };
    let to = (&account.email, account.locale);
    priority_mail::plan(services, db, to, &notice, INVITATION_LIFETIME, now).await
}

/// Sets a new password by a link. All sessions end, and the owner is told. A second
/// factor is asked for at the next sign-in as before.
///
/// # Errors
/// As user errors: a link that is over or was used; a password that is weak or not the
/// same twice. Too many links.
pub async fn reset(
    actor: &Actor,
    services: &Services,
    token: &str,
    new: NewPassword,
    origin: &Origin,
) -> Result<(), ServiceError> {
    let over = || {
        let message = "This link has expired or was used: ask for a new one.";
        ServiceError::from(UserError::new("token", UserErrorCode::Expired, message))
    };
    let counted = rate_limit::count(services, Limited::Link, None, origin).await?;
    let hash = TokenHash::presented_as(TokenKind::PasswordReset, token).ok_or_else(over)?;
    let account = {
        let mut connection = services.database.read().await?;
        let email = password_reset::find(&mut connection, hash, services.ambient.now()).await?;
        let email = email.and_then(|email| EmailAddress::parse(&email).ok()).ok_or_else(over)?;
        let found = db::account::by_email(&mut connection, &email).await?;
        let found = found.map(|(account, _)| account);
        found.filter(|account| account.disabled_at.is_none()).ok_or_else(over)?
    };
    new.review(&account)?;
    let stored = new.hash(services).await?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            if !password_reset::consume(db, hash, &account.email, now).await? {
                return Err(over());
            }
            rate_limit::clear(db, account.email.as_str()).await?;
            let was = (AccountEvent::PasswordReset {}, None);
            change(services, db, actor, &account, &stored, was, origin, now).await
        })
        .await?;
    rate_limit::refund(services, counted).await
}

/// Changes the actor's password. All their other sessions end, and they are told.
///
/// # Errors
/// As user errors: a wrong password; a new one that is weak or not the same twice. Too
/// many wrong ones.
pub async fn change_own(
    actor: &Actor,
    services: &Services,
    current: Password,
    new: NewPassword,
    origin: &Origin,
) -> Result<(), ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let identity = *actor.identity().ok_or(ServiceError::Unauthenticated)?;
    let account = accounts::viewer(actor, services).await?;
    let email = Some(account.email.as_str());
    let counted = rate_limit::count(services, Limited::Password, email, origin).await?;
    let stored = db::account::password(&mut *services.database.read().await?, account.id).await?;
    if !services.passwords.verify(current, stored).await? {
        let message = "This is not your present password.";
        let code = UserErrorCode::InvalidCredentials;
        return Err(UserError::new("currentPassword", code, message).into());
    }
    rate_limit::refund(services, counted).await?;
    new.review(&account)?;
    let stored = new.hash(services).await?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            session::still_stands(db, &identity, &account, now).await?;
            password_reset::invalidate(db, &account.email, now).await?;
            let was = (AccountEvent::PasswordChanged {}, Some(identity.session));
            change(services, db, actor, &account, &stored, was, origin, now).await
        })
        .await
}

#[expect(clippy::too_many_arguments, reason = "they are what the two callers share")]
async fn change(
    services: &Services,
    db: &mut Connection,
    actor: &Actor,
    account: &Account,
    stored: &StoredPassword,
    (what, spared): (AccountEvent, Option<SessionId>),
    origin: &Origin,
    now: Timestamp,
) -> Result<(), ServiceError> {
    db::account::lock(db, account.id).await?;
    db::account::set_password(db, account.id, stored).await?;
    session::note(db, account.id, actor.account_id(), what, now).await?;
    priority_mail::notify_owner(
        services,
        db,
        account,
        SecurityChange::PasswordChanged,
        origin,
        now,
    )
    .await?;
    session::end_sessions(services, db, account.id, spared, actor, now).await?;
    Ok(())
}
