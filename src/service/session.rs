//! Signing in and out, and finding the person behind a session token.

pub(super) mod cache;
pub(super) mod log;
pub mod own;

use std::{collections::HashMap, net::IpAddr};

use chrono::TimeDelta;

use self::log::{Outcome, SignInMethod};
use super::{
    ServiceError, Services, UserError, UserErrorCode, audit, authorise, priority_mail,
    rate_limit::{self, Limit, OwnAction},
};
use crate::{
    crypto::{
        password::{Checked, Password},
        stored_password::StoredPassword,
        token::{BearerToken, TokenHash, TokenKind},
    },
    db::{
        Connection, DbError, account, challenge,
        event::{self, NewAccountEvent},
        second_factor, session,
    },
    domain::{
        account::{Account, EmailAddress, Role},
        actor::{Actor, Identity},
        clock::Timestamp,
        event::AccountEvent,
        ids::{AccountId, SessionId},
        policy::{Action, Resource},
        priority_mail::SecurityChange,
        second_factor::{CHALLENGE_LIFETIME, CodeKind, Requirement, SecondFactor},
        session::{ClientOrigin, MAX_SESSIONS, Session},
    },
    metrics::SignInOutcome,
};

/// How often the last use of a session is recorded at most.
const USE_PRECISION: TimeDelta = TimeDelta::minutes(1);

/// What addresses begin with.
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A completed sign-in.
#[derive(Debug)]
pub struct SignedIn {
    /// The session's token. It is not stored and cannot be shown again.
    pub token: BearerToken,
    /// The new session.
    pub session: Session,
    /// The account that signed in.
    pub account: Account,
}

/// The result of the first step of signing in.
#[derive(Debug)]
pub enum SignInStep {
    /// The first step was enough: the account has no second factor.
    SignedIn(SignedIn),
    /// A second factor must be verified next.
    ChallengeIssued(IssuedChallenge),
}

/// A sign-in that waits for its second step.
#[derive(Debug)]
pub struct IssuedChallenge {
    /// The challenge's token. It is not stored and cannot be shown again.
    pub token: BearerToken,
    /// The kinds of code that complete the sign-in.
    pub methods: Vec<CodeKind>,
    /// When the challenge expires.
    pub expires_at: Timestamp,
}

/// Signs in with an e-mail address and a password. For an unknown address the response and
/// its timing are the same as for a wrong password.
///
/// # Errors
/// Returns a user error if the address or the password is wrong, and
/// [`ServiceError::RateLimited`] after too many attempts.
pub async fn sign_in(
    _actor: &Actor,
    services: &Services,
    email: &str,
    password: Password,
    origin: &ClientOrigin,
) -> Result<SignInStep, ServiceError> {
    let mut account = None;
    let step = sign_in_with_password(services, email, password, origin, &mut account).await;
    log::attempt(SignInMethod::Password, account, origin, outcome(&step));
    services.metrics.sign_in(match &step {
        Ok(SignInStep::SignedIn(_)) => SignInOutcome::SignedIn,
        Ok(SignInStep::ChallengeIssued(_)) => SignInOutcome::SecondFactor,
        Err(ServiceError::Invalid(_)) => SignInOutcome::WrongCredentials,
        Err(ServiceError::RateLimited { .. }) => SignInOutcome::RateLimited,
        Err(_) => SignInOutcome::Failed,
    });
    step
}

/// Returns how a first step ended, for the log.
pub(super) fn outcome(step: &Result<SignInStep, ServiceError>) -> Outcome<'_> {
    match step {
        Ok(SignInStep::SignedIn(_)) => Outcome::Accepted,
        Ok(SignInStep::ChallengeIssued(_)) => Outcome::Continues,
        Err(error) => Outcome::Refused(error),
    }
}

/// Signs in, and sets `account_id` to the account with the address.
async fn sign_in_with_password(
    services: &Services,
    email: &str,
    password: Password,
    origin: &ClientOrigin,
    account_id: &mut Option<AccountId>,
) -> Result<SignInStep, ServiceError> {
    let email = EmailAddress::lookup(email).ok();
    let subject = email.as_ref().map(EmailAddress::as_str);
    let attempt = rate_limit::count(services, Limit::Password, subject, origin).await?;
    let (found, stand_in) = match &email {
        Some(email) => {
            let mut connection = services.database.read().await?;
            let found = account::by_email(&mut connection, email).await?;
            (found, stand_in(services, &mut connection, email).await?)
        }
        None => (None, None),
    };
    let (account, stored) = found.map_or((None, None), |(account, stored)| (Some(account), stored));
    *account_id = account.as_ref().map(|account| account.id);
    // Also without an account, so that the timing is the same.
    let stand_in = stand_in.filter(|_| account.is_none());
    let place = rate_limit::take_place(services, &attempt, origin).await?;
    let checked = services.passwords.check(password, stored.clone(), stand_in).await;
    drop(place);
    let checked = rate_limit::unless_busy(services, &attempt, checked).await?;
    let correct = !matches!(checked, Checked::Wrong);
    let account = account
        .filter(|account| correct && account.disabled_at.is_none())
        .ok_or_else(wrong_credentials)?;
    rate_limit::refund(services, attempt).await?;
    if let (Checked::Outdated(new), Some(old)) = (checked, stored) {
        replace_hash(services, account.id, &old, &new).await?;
    }
    begin_session_or_challenge(services, account, origin, FirstStep::Password).await
}

/// Returns the stored password of another account, whose verification takes as long as that of an
/// account with this address could: hashes from other systems have their own costs. An address
/// always gets the same account, until there are others, and nobody can tell which.
async fn stand_in(
    services: &Services,
    db: &mut Connection,
    email: &EmailAddress,
) -> Result<Option<StoredPassword>, DbError> {
    let hash = services.keys.hash(b"ticketwire stand-in 1", email.as_str());
    let text =
        hash[..4].iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
    account::password_after(db, &text.collect::<String>()).await
}

fn wrong_credentials() -> UserError {
    UserError::of_input(
        UserErrorCode::InvalidCredentials,
        "The e-mail address or the password is incorrect.",
    )
}

/// Replaces the outdated hash of a correct password, unless the password has changed since.
async fn replace_hash(
    services: &Services,
    account: AccountId,
    old: &StoredPassword,
    new: &StoredPassword,
) -> Result<(), DbError> {
    let mut connection = services.database.read().await?;
    account::rehash_password(&mut connection, account, old, new).await
}

/// The first step of a sign-in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstStep {
    /// A password, which can be used again and again: if it is enough, its uses are limited.
    Password,
    /// A handoff, which is used up.
    Handoff,
}

/// Begins a session for an account that has passed the first step, or issues a challenge if
/// the account has a second factor.
///
/// # Errors
/// As [`begin`], and [`ServiceError::RateLimited`] after 100 sign-ins with the password alone within an
/// hour.
pub(super) async fn begin_session_or_challenge(
    services: &Services,
    account: Account,
    origin: &ClientOrigin,
    step: FirstStep,
) -> Result<SignInStep, ServiceError> {
    let mut connection = services.database.read().await?;
    let factors = second_factor::of_account(&mut connection, account.id).await?;
    if !factors.is_empty() {
        let challenge = issue_challenge(services, &mut connection, &account, &factors).await?;
        return Ok(SignInStep::ChallengeIssued(challenge));
    }
    drop(connection);
    let confined = services.settings.second_factors.of(account.role) == Requirement::Required;
    let now = services.ambient.now();
    let (token, session) = new_session(services, &account, origin, confined, now);
    services
        .database
        .write(async |db| {
            if step == FirstStep::Password {
                rate_limit::count_own(services, db, OwnAction::SignIn, account.id).await?;
            }
            begin(services, db, &account, &session, token.hash()).await
        })
        .await?;
    Ok(SignInStep::SignedIn(SignedIn { token, session, account }))
}

async fn issue_challenge(
    services: &Services,
    db: &mut Connection,
    account: &Account,
    factors: &[SecondFactor],
) -> Result<IssuedChallenge, DbError> {
    let codes_left = second_factor::recovery_codes_left(db, account.id).await?;
    let methods = factors.iter().map(|factor| factor.method.into());
    let methods = methods.chain((codes_left > 0).then_some(CodeKind::RecoveryCode)).collect();
    let token = BearerToken::of(TokenKind::Challenge, &services.ambient);
    let expires_at = services.ambient.now() + CHALLENGE_LIFETIME;
    let id = services.ambient.uuid();
    challenge::insert(db, id, account, token.hash(), expires_at).await?;
    Ok(IssuedChallenge { token, methods, expires_at })
}

/// Creates a session and its token, to be saved with [`begin`].
pub(super) fn new_session(
    services: &Services,
    account: &Account,
    origin: &ClientOrigin,
    confined: bool,
    now: Timestamp,
) -> (BearerToken, Session) {
    let session = Session {
        id: SessionId(services.ambient.uuid()),
        account_id: account.id,
        created_at: now,
        last_used_at: now,
        expires_at: now + services.settings.session_lifetime,
        origin: origin.clone(),
        confined,
    };
    (BearerToken::generate(&services.ambient), session)
}

/// Locks an account and checks that a session is still live and that no sessions have been
/// ended since `account` was read. Otherwise a change could undo the one that ended them.
///
/// # Errors
/// Returns a user error if the session has ended or the account has changed.
pub(super) async fn ensure_valid(
    db: &mut Connection,
    identity: &Identity,
    account: &Account,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let current =
        account::is_current_generation(db, account.id, account.session_generation).await?;
    if session::live_by_id(db, identity.session, now).await?.is_none() {
        return Err(outdated("Your session ended while this request was running. Sign in again."));
    }
    if !current {
        // By another request of this session: a request of another one would have ended it.
        return Err(outdated("The account was changed while this request was running. Try again."));
    }
    Ok(())
}

/// Checks that a person is still who they were when the request began: nobody has ended their session,
/// and their role is the same. Call this after a lock that may have been waited for.
///
/// # Errors
/// Returns [`ServiceError::Unauthenticated`] if the session has ended, and
/// [`ServiceError::Forbidden`] if the role has changed.
pub(super) async fn ensure_unchanged(
    actor: &Actor,
    db: &mut Connection,
    now: Timestamp,
) -> Result<(), ServiceError> {
    CurrentRoles::of(&[*actor], db, now).await?.ensure_unchanged(actor)
}

/// The roles that people have now, by their sessions.
pub(super) struct CurrentRoles(HashMap<SessionId, Role>);

impl CurrentRoles {
    /// Reads the roles of those who act.
    pub(super) async fn of(
        actors: &[Actor],
        db: &mut Connection,
        now: Timestamp,
    ) -> Result<Self, DbError> {
        let sessions = actors.iter().filter_map(Actor::identity).map(|identity| identity.session);
        let sessions = sessions.collect::<Vec<_>>();
        if sessions.is_empty() {
            return Ok(Self(HashMap::new()));
        }
        Ok(Self(session::live_roles(db, &sessions, now).await?))
    }

    /// Checks one of them like [`ensure_unchanged`].
    ///
    /// # Errors
    /// Those of [`ensure_unchanged`].
    pub(super) fn ensure_unchanged(&self, actor: &Actor) -> Result<(), ServiceError> {
        let Some(identity) = actor.identity() else { return Ok(()) };
        match self.0.get(&identity.session) {
            None => Err(ServiceError::Unauthenticated),
            Some(role) if *role != identity.role => Err(ServiceError::Forbidden),
            Some(_) => Ok(()),
        }
    }
}

fn outdated(message: &str) -> ServiceError {
    UserError::of_input(UserErrorCode::Expired, message).into()
}

/// Saves a new session inside a transaction, records it in the audit trail, and notifies the
/// owner if the device is new. Beyond [`MAX_SESSIONS`] it ends the sessions that were used longest ago.
///
/// # Errors
/// Returns a user error if the account's sessions have been ended since `owner` was read. The
/// proof of identity may no longer be enough then.
pub(super) async fn begin(
    services: &Services,
    db: &mut Connection,
    owner: &Account,
    session: &Session,
    token: TokenHash,
) -> Result<(), ServiceError> {
    if !account::is_current_generation(db, owner.id, owner.session_generation).await? {
        return Err(outdated("The account was changed while you signed in. Sign in again."));
    }
    let (origin, now) = (&session.origin, session.created_at);
    if session::is_new_device(db, owner.id, origin.device()).await? {
        priority_mail::notify_owner(services, db, owner, SecurityChange::NewDevice, origin, now)
            .await?;
    }
    // The account is locked, so that concurrent sign-ins cannot exceed the limit.
    let kept = i64::from(MAX_SESSIONS) - 1;
    let ended = session::revoke_oldest(db, owner.id, kept, now).await?;
    append_session_ended(services, db, owner.id, &ended, Some(owner.id), now).await?;
    session::insert(db, session, token).await?;
    let signed_in = AccountEvent::SignedIn { session_id: session.id };
    Ok(audit::record(db, owner.id, Some(owner.id), signed_in, now).await?)
}

/// Ends the actor's session and its live streams.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn sign_out(actor: &Actor, services: &Services) -> Result<(), ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let identity = *actor.identity().ok_or(ServiceError::Unauthenticated)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            account::lock(db, identity.id).await?;
            if session::revoke(db, identity.id, identity.session, now).await? {
                let ended = [identity.session];
                append_session_ended(services, db, identity.id, &ended, actor.account_id(), now)
                    .await?;
            }
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(())
}

/// Ends all sessions of an account and their live streams, except the session `except`. Call
/// this in the transaction of the change that requires it. Returns how many sessions ended.
pub(super) async fn end_sessions(
    services: &Services,
    db: &mut Connection,
    account: AccountId,
    except: Option<SessionId>,
    actor: &Actor,
    now: Timestamp,
) -> Result<usize, DbError> {
    account::next_session_generation(db, account).await?;
    let ended = session::revoke_all(db, account, except, now).await?;
    append_session_ended(services, db, account, &ended, actor.account_id(), now).await?;
    Ok(ended.len())
}

/// Appends an event for each ended session, which closes the session's live streams on all
/// nodes.
async fn append_session_ended(
    services: &Services,
    db: &mut Connection,
    account: AccountId,
    ended: &[SessionId],
    actor_id: Option<AccountId>,
    now: Timestamp,
) -> Result<(), DbError> {
    let revoked = ended.iter().map(|&session_id| NewAccountEvent {
        event: AccountEvent::SessionRevoked { session_id },
        actor_id,
        occurred_at: now,
    });
    let revoked = revoked.collect::<Vec<_>>();
    if !revoked.is_empty() {
        event::append_to_account(db, account, &revoked).await?;
    }
    // Before the commit, since a caller that disconnects cancels everything after it.
    for &id in ended {
        services.sessions.mark_revoked(id);
    }
    Ok(())
}

/// Returns the person behind a session token from a client of this network or site, or `None` if the
/// token is unknown or its session has ended.
pub(super) async fn authenticate(
    services: &Services,
    token: &str,
    network: Option<IpAddr>,
) -> Result<Option<Identity>, ServiceError> {
    let Some(token) = TokenHash::of_presented(token) else { return Ok(None) };
    let now = services.ambient.now();
    let load = async || {
        let _look_up = services.look_ups.begin(network).await?;
        let mut connection = services.background.read().await?;
        session::live_by_token(&mut connection, token, now).await
    };
    let cache = &services.sessions;
    let Some(live) = cache.get_or_load(token, load).await? else { return Ok(None) };
    let idle = services.settings.session_idle;
    let id = live.identity.session;
    if live.identity.confined {
        let expired = live.last_used_at + idle <= now;
        return Ok((!expired).then_some(live.identity));
    }
    let last_used = cache.last_used(&live).await;
    if live.expires_at <= now || last_used + idle <= now || cache.is_revoked(id) {
        return Ok(None);
    }
    if last_used + USE_PRECISION <= now {
        cache.record_use(id, now).await;
    }
    Ok(Some(live.identity))
}

/// Waits until sessions were used, and saves when.
///
/// # Errors
/// Returns an error if the database fails. What was not saved is not repeated: a session that stays in
/// use is recorded again a minute later.
pub async fn save_last_used(services: &Services) -> Result<(), ServiceError> {
    let uses = services.sessions.take_unsaved().await;
    session::note_uses(&mut *services.database.read().await?, &uses).await?;
    Ok(())
}
