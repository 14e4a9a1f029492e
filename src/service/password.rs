//! Passwords: changed by their owner, or set with a link that was sent by mail.

use std::borrow::Cow;

use zxcvbn::{Score, zxcvbn};

use super::{
    ServiceError, Services, UserError, UserErrorCode, account as accounts, audit, authorise,
    priority_mail,
    rate_limit::{self, Limit, OwnAction},
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
        session::ClientOrigin,
    },
};

/// The minimum length of a new password, in characters.
pub const MIN_PASSWORD: usize = 8;

/// A new password, entered twice.
pub struct NewPassword {
    /// The password.
    pub password: Password,
    /// The repetition.
    pub repetition: Password,
}

/// Returns whether the actor's account has a password.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn viewer_has_one(actor: &Actor, services: &Services) -> Result<bool, ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let id = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut connection = services.database.read().await?;
    Ok(db::account::password(&mut connection, id).await?.is_some())
}

/// Returns an error if a password is too short or too long.
pub(super) fn length_error(password: &Password) -> Option<UserError> {
    let chars = password.chars();
    let code = match chars {
        0 => UserErrorCode::Required,
        _ if chars < MIN_PASSWORD => UserErrorCode::WeakPassword,
        _ if chars > MAX_PASSWORD => UserErrorCode::TooLong,
        _ => return None,
    };
    let message = format!(
        "The password must be {MIN_PASSWORD} to {MAX_PASSWORD} characters long. This one has \
         {chars}."
    );
    Some(UserError::new("password", code, message))
}

/// The longest password, in characters, in which the substitutes of a letter are told apart. The check
/// tries all combinations of what they can stand for: for a hundred characters that takes a second.
const FOLDED: usize = 32;

/// Returns a password as the check sees it.
fn fold_substitutes(password: &str) -> Cow<'_, str> {
    match password.chars().nth(FOLDED) {
        None => password.into(),
        Some(_) => fold(password).into(),
    }
}

/// Returns a text with digits and one bracket for what stands for the same letter as they do.
fn fold(text: &str) -> String {
    let fold = |char| match char {
        '@' => '4',
        '{' | '[' | '<' => '(',
        '!' | '|' => '1',
        '$' => '5',
        '+' => '7',
        other => other,
    };
    text.chars().map(fold).collect()
}

/// Returns an error if a password is easy to guess, also with knowledge of the account. Takes some
/// milliseconds.
fn strength_error(password: &Password, account: &Account) -> Option<UserError> {
    let known = [account.email.as_str(), account.name.as_str(), "ticketwire"];
    let folded = known.map(fold);
    let known = known.into_iter().chain(folded.iter().map(String::as_str)).collect::<Vec<_>>();
    let entropy = zxcvbn(&fold_substitutes(password.expose()), &known);
    if entropy.score() >= Score::Three {
        return None;
    }
    let mut message =
        "This password is too easy to guess. Choose a longer or less common one.".to_owned();
    if let Some(feedback) = entropy.feedback() {
        let advice = feedback.warning().map(|warning| warning.to_string()).into_iter();
        let advice = advice.chain(feedback.suggestions().iter().map(ToString::to_string));
        for sentence in advice {
            message.push_str(&format!(" {}.", sentence.trim_end_matches('.')));
        }
    }
    Some(UserError::new("password", UserErrorCode::WeakPassword, message))
}

impl NewPassword {
    /// Checks the password's length, its repetition and how hard it is to guess, and hashes it.
    async fn hash(
        self,
        services: &Services,
        account: &Account,
    ) -> Result<StoredPassword, ServiceError> {
        self.validate()?;
        let (password, account) = (self.password, account.clone());
        let examine = move || match strength_error(&password, &account) {
            Some(error) => Err(error),
            None => Ok(password),
        };
        let password = services.passwords.blocking(examine).await??;
        Ok(services.passwords.hash(password).await?)
    }

    fn validate(&self) -> Result<(), UserError> {
        if let Some(error) = length_error(&self.password) {
            return Err(error);
        }
        if self.password != self.repetition {
            let message = "The two passwords differ. Enter the same password twice.";
            return Err(UserError::new("passwordAgain", UserErrorCode::Mismatch, message));
        }
        Ok(())
    }
}

/// Requests a link to set a new password, in place of earlier ones, but not of an invitation. The work
/// is the same whether the account exists or not: the account is looked up only when the mail is
/// composed.
///
/// # Errors
/// Returns a user error if the address is malformed, and [`ServiceError::RateLimited`] after
/// too many requests.
pub async fn request_reset(
    _actor: &Actor,
    services: &Services,
    email: &str,
    origin: &ClientOrigin,
) -> Result<(), ServiceError> {
    let email = EmailAddress::parse(email)
        .map_err(|error| UserError::text("email", "The e-mail address", error))?;
    {
        let mut connection = services.database.read().await?;
        let email = email.as_str();
        rate_limit::count_mail(services, &mut connection, Limit::Link, email, origin).await?;
    }
    let token = BearerToken::of(TokenKind::PasswordReset, &services.ambient);
    let mail = PriorityMail::PasswordReset { token: token.expose().to_owned() };
    let now = services.ambient.now();
    services
        .database
        .write_without_events(async |db| {
            let times = (now, now + PASSWORD_RESET_LIFETIME);
            password_reset::insert(db, token.hash(), &email, times).await?;
            // A placeholder: the mail is composed in the account's language.
            priority_mail::plan(
                services,
                db,
                (&email, Locale::En),
                &mail,
                PASSWORD_RESET_LIFETIME,
                now,
            )
            .await
        })
        .await?;
    Ok(())
}

/// Plans the mail with the link that sets a new account's first password. Call this in the
/// transaction that creates the account.
pub(super) async fn invite(
    services: &Services,
    db: &mut Connection,
    account: &Account,
    now: Timestamp,
) -> Result<(), DbError> {
    let token = BearerToken::of(TokenKind::PasswordReset, &services.ambient);
    let times = (now, now + INVITATION_LIFETIME);
    password_reset::insert(db, token.hash(), &account.email, times).await?;
    let mail = PriorityMail::Invitation { token: token.expose().to_owned() };
    let to = (&account.email, account.locale);
    priority_mail::plan(services, db, to, &mail, INVITATION_LIFETIME, now).await
}

/// Sets a new password with a link. Ends all sessions and notifies the owner. Second factors
/// stay configured.
///
/// # Errors
/// Returns a user error if the link has expired or has been used, or if the new password is
/// invalid. Returns [`ServiceError::RateLimited`] after too many links.
pub async fn reset(
    actor: &Actor,
    services: &Services,
    token: &str,
    new: NewPassword,
    origin: &ClientOrigin,
) -> Result<(), ServiceError> {
    let attempt = rate_limit::count(services, Limit::Link, None, origin).await?;
    let hash = TokenHash::presented_as(TokenKind::PasswordReset, token).ok_or_else(expired_link)?;
    let account = account_of_link(services, hash).await?;
    let place = rate_limit::take_place(services, &attempt, origin).await?;
    let stored = new.hash(services, &account).await;
    drop(place);
    let stored = rate_limit::unless_busy(services, &attempt, stored).await?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            // Before the link: a change of the address locks them in this order too.
            let account = lock_owner(db, &account).await?;
            if !password_reset::consume(db, hash, &account.email, now).await? {
                return Err(expired_link());
            }
            rate_limit::clear(services, db, account.email.as_str()).await?;
            let was = (AccountEvent::PasswordReset {}, None);
            replace(services, db, actor, &account, &stored, was, origin, now).await
        })
        .await?;
    rate_limit::refund(services, attempt).await
}

async fn account_of_link(services: &Services, link: TokenHash) -> Result<Account, ServiceError> {
    let mut connection = services.database.read().await?;
    let email = password_reset::find(&mut connection, link, services.ambient.now()).await?;
    let email = email.and_then(|email| EmailAddress::parse(&email).ok());
    let email = email.ok_or_else(expired_link)?;
    let found = db::account::by_email(&mut connection, &email).await?;
    let found = found.map(|(account, _)| account);
    found.filter(|account| account.disabled_at.is_none()).ok_or_else(expired_link)
}

/// Locks the account of a link until the transaction ends, and returns it.
///
/// # Errors
/// Returns a user error if it has another address since or is disabled.
async fn lock_owner(db: &mut Connection, owner: &Account) -> Result<Account, ServiceError> {
    let current = db::account::lock_and_read(db, owner.id).await?;
    let is_owner = |current: &Account| {
        current.disabled_at.is_none() && current.email.is_spelling_of(&owner.email)
    };
    current.filter(is_owner).ok_or_else(expired_link)
}

fn expired_link() -> ServiceError {
    let message = "This link has expired or has already been used. Request a new one.";
    UserError::new("token", UserErrorCode::Expired, message).into()
}

/// Changes the actor's password. Ends their other sessions and notifies them.
///
/// # Errors
/// Returns a user error if the current password is incorrect or the new one is invalid, and
/// [`ServiceError::RateLimited`] after too many passwords or changes.
pub async fn change_own(
    actor: &Actor,
    services: &Services,
    current: Password,
    new: NewPassword,
    origin: &ClientOrigin,
) -> Result<(), ServiceError> {
    let (identity, account) = accounts::owner(actor, services).await?;
    let email = Some(account.email.as_str());
    let attempt = rate_limit::count(services, Limit::Password, email, origin).await?;
    let stored = db::account::password(&mut *services.database.read().await?, account.id).await?;
    let place = rate_limit::take_place(services, &attempt, origin).await?;
    let verified = services.passwords.verify(current, stored).await;
    if !rate_limit::unless_busy(services, &attempt, verified).await? {
        let message = "The current password is incorrect.";
        let code = UserErrorCode::InvalidCredentials;
        return Err(UserError::new("currentPassword", code, message).into());
    }
    rate_limit::refund(services, attempt).await?;
    let stored = new.hash(services, &account).await?;
    drop(place);
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            session::ensure_valid(db, &identity, &account, now).await?;
            rate_limit::count_own(services, db, OwnAction::SecurityChange, account.id).await?;
            password_reset::invalidate_all(db, &account.email, now).await?;
            let was = (AccountEvent::PasswordChanged {}, Some(identity.session));
            replace(services, db, actor, &account, &stored, was, origin, now).await
        })
        .await
}

/// Saves a new password, records `event`, notifies the owner, and ends the account's sessions
/// except `except`.
#[expect(clippy::too_many_arguments, reason = "both callers pass all of them")]
async fn replace(
    services: &Services,
    db: &mut Connection,
    actor: &Actor,
    account: &Account,
    stored: &StoredPassword,
    (event, except): (AccountEvent, Option<SessionId>),
    origin: &ClientOrigin,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let changed = SecurityChange::PasswordChanged;
    db::account::lock(db, account.id).await?;
    db::account::set_password(db, account.id, stored).await?;
    audit::record(db, account.id, actor.account_id(), event, now).await?;
    priority_mail::notify_owner(services, db, account, changed, origin, now).await?;
    session::end_sessions(services, db, account.id, except, actor, now).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_password_has_one_substitute_for_each_letter() {
        let short = "4@8({[<3691!|70$5+%2";
        assert_eq!(fold_substitutes(short), short);
        let folded = "448((((3691117055".to_owned() + "7%2";
        assert_eq!(fold_substitutes(&short.repeat(5)), folded.repeat(5));
    }
}
