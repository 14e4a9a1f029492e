//! Signing in and out, and who is behind a token.

pub mod own;

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use moka::{future::Cache, sync};
use tokio::sync::Notify;

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    challenge::Presentable,
    priority_mail,
    rate_limit::{self, Limited},
};
use crate::{
    crypto::{
        password::{Checked, Password},
        token::{BearerToken, TokenHash, TokenKind},
    },
    db::{
        Connection, DbError, account, challenge,
        event::{self, NewAccountEvent},
        second_factor,
        session::{self, LiveSession},
    },
    domain::{
        account::{Account, EmailAddress},
        actor::{Actor, Identity},
        clock::Timestamp,
        event::{AccountEvent, Event, SessionEffect},
        ids::{AccountId, SessionId},
        policy::{Action, Resource},
        priority_mail::SecurityChange,
        second_factor::{CHALLENGE_LIFETIME, Requirement},
        session::{Origin, Session},
    },
    metrics::SignInOutcome,
};

/// What was looked up of a session counts for so long. That it has ended is known
/// sooner: at once on this node, and on others when they hear of the event.
const TRUSTED_FOR: Duration = Duration::from_secs(5);
const CACHED_SESSIONS: u64 = 100_000;
/// Not each use of a session is worth a write.
const USE_PRECISION: TimeDelta = TimeDelta::minutes(1);

/// Spares a look-up of the session with each request.
#[derive(Clone)]
pub(super) struct SessionCache {
    live: Cache<TokenHash, LiveSession>,
    /// Revoked lately: a look-up that began before the revocation must not
    /// bring the session back.
    revoked: sync::Cache<SessionId, ()>,
    /// When sessions were last acted through here.
    used: Cache<SessionId, Timestamp>,
    /// What of that is still to be written down, off the requests' path.
    unwritten: Arc<Mutex<HashMap<SessionId, Timestamp>>>,
    was_used: Arc<Notify>,
}

impl Default for SessionCache {
    fn default() -> Self {
        let live = Cache::builder().max_capacity(CACHED_SESSIONS).time_to_live(TRUSTED_FOR).build();
        let revoked = sync::Cache::builder().time_to_live(TRUSTED_FOR * 4).build();
        let used = Cache::builder().max_capacity(CACHED_SESSIONS).build();
        Self { live, revoked, used, unwritten: Arc::default(), was_used: Arc::default() }
    }
}

impl SessionCache {
    /// Looks every session up anew: what is known of somebody has changed.
    pub(super) fn refresh(&self) {
        self.live.invalidate_all();
    }

    /// Heeds an event that ends streams, wherever it comes from.
    pub(super) fn on_event(&self, event: &Event) {
        match event.account().map(|account| account.event.session_effect()) {
            Some(SessionEffect::Ended(session)) => self.revoked.insert(session, ()),
            Some(SessionEffect::RoleChanged(_) | SessionEffect::Unchanged) | None => self.refresh(),
        }
    }

    /// When a session was last acted through, as far as is known here.
    async fn last_used(&self, live: &LiveSession) -> Timestamp {
        let here = self.used.get(&live.identity.session).await;
        here.map_or(live.last_used_at, |here| here.max(live.last_used_at))
    }

    /// Notes that a session is acted through.
    async fn note_use(&self, session: SessionId, now: Timestamp) {
        self.used.insert(session, now).await;
        self.unwritten().insert(session, now);
        self.was_used.notify_one();
    }

    fn unwritten(&self) -> MutexGuard<'_, HashMap<SessionId, Timestamp>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sign-in that succeeded.
#[derive(Debug)]
pub struct SignedIn {
    /// The token that stands for the session: shown once.
    pub token: BearerToken,
    /// The session.
    pub session: Session,
    /// Who signed in.
    pub account: Account,
}

/// What a first step of signing in comes to.
#[derive(Debug)]
pub enum SignInStep {
    /// It was enough.
    Done(SignedIn),
    /// A second factor is asked for.
    SecondFactor(Challenged),
}

/// A sign-in whose first step is done.
#[derive(Debug)]
pub struct Challenged {
    /// The token that stands for it: shown once.
    pub token: BearerToken,
    /// How it can be finished.
    pub methods: Vec<Presentable>,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Signs somebody in. An unknown address takes the same time and gives the same
/// answer as a wrong password.
///
/// # Errors
/// Wrong credentials, as a user error; too many of them.
pub async fn sign_in(
    _actor: &Actor,
    services: &Services,
    email: &str,
    password: Password,
    origin: &Origin,
) -> Result<SignInStep, ServiceError> {
    let step = first_step(services, email, password, origin).await;
    services.metrics.sign_in(match &step {
        Ok(SignInStep::Done(_)) => SignInOutcome::SignedIn,
        Ok(SignInStep::SecondFactor(_)) => SignInOutcome::SecondFactor,
        Err(ServiceError::Invalid(_)) => SignInOutcome::WrongCredentials,
        Err(ServiceError::RateLimited { .. }) => SignInOutcome::RateLimited,
        Err(_) => SignInOutcome::Failed,
    });
    step
}

async fn first_step(
    services: &Services,
    email: &str,
    password: Password,
    origin: &Origin,
) -> Result<SignInStep, ServiceError> {
    let email = EmailAddress::parse(email).ok();
    let counted = rate_limit::count(
        services,
        Limited::Password,
        email.as_ref().map(EmailAddress::as_str),
        origin,
    )
    .await?;
    let found = match &email {
        Some(email) => account::by_email(&mut *services.database.read().await?, email).await?,
        None => None,
    };
    let (account, stored) = found.map_or((None, None), |(account, stored)| (Some(account), stored));
    let checked = services.passwords.check(password, stored.clone()).await?;
    let right = !matches!(checked, Checked::Wrong);
    let account =
        account.filter(|account| right && account.disabled_at.is_none()).ok_or_else(|| {
            UserError {
                field: vec![],
                code: UserErrorCode::InvalidCredentials,
                message: "The e-mail address or the password is wrong.".into(),
            }
        })?;
    rate_limit::refund(services, counted).await?;
    if let (Checked::Outdated(new), Some(old)) = (checked, stored) {
        let mut connection = services.database.read().await?;
        account::rehash_password(&mut connection, account.id, &old, &new).await?;
    }
    begin_session_or_challenge(services, account, origin).await
}

/// Lets somebody in who has proven to be the account's owner once: asks for a second
/// factor where one is configured.
pub(super) async fn begin_session_or_challenge(
    services: &Services,
    account: Account,
    origin: &Origin,
) -> Result<SignInStep, ServiceError> {
    let mut connection = services.database.read().await?;
    let factors = second_factor::of_account(&mut connection, account.id).await?;
    let now = services.ambient.now();
    if !factors.is_empty() {
        let left = second_factor::recovery_codes_left(&mut connection, account.id).await?;
        let methods = factors.iter().map(|factor| factor.method.into());
        let methods = methods.chain((left > 0).then_some(Presentable::RecoveryCode)).collect();
        let (token, expires_at) =
            (BearerToken::of(TokenKind::Challenge, &services.ambient), now + CHALLENGE_LIFETIME);
        let id = services.ambient.uuid();
        challenge::insert(&mut connection, id, &account, token.hash(), expires_at).await?;
        return Ok(SignInStep::SecondFactor(Challenged { token, methods, expires_at }));
    }
    drop(connection);
    let confined = services.settings.second_factors.of(account.role) == Requirement::Required;
    let (token, session) = new_session(services, &account, origin, confined, now);
    services
        .database
        .write(async |db| begin(services, db, &account, &session, token.hash()).await)
        .await?;
    Ok(SignInStep::Done(SignedIn { token, session, account }))
}

/// A session that is to begin.
pub(super) fn new_session(
    services: &Services,
    account: &Account,
    origin: &Origin,
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

/// Holds an account's row, and sees that a session still stands for what was proven
/// when the account was read: what is changed next may not undo a change that has ended
/// the session meanwhile.
pub(super) async fn still_stands(
    db: &mut Connection,
    identity: &Identity,
    account: &Account,
    now: Timestamp,
) -> Result<(), ServiceError> {
    let stands = account::is_current_generation(db, account.id, account.session_generation).await?
        && session::live_by_id(db, identity.session, now).await?.is_some();
    if stands { Ok(()) } else { Err(changed_meanwhile()) }
}

fn changed_meanwhile() -> ServiceError {
    let message = "The account was changed meanwhile: begin again.";
    UserError { field: vec![], code: UserErrorCode::Expired, message: message.into() }.into()
}

/// Begins a session, in a transaction: notes it in its owner's trail, and tells them
/// where the device is new. Refused where all sessions were ended after the account was
/// read: what was proven then may not be enough now.
pub(super) async fn begin(
    services: &Services,
    db: &mut Connection,
    owner: &Account,
    session: &Session,
    token: TokenHash,
) -> Result<(), ServiceError> {
    if !account::is_current_generation(db, owner.id, owner.session_generation).await? {
        return Err(changed_meanwhile());
    }
    let (origin, now) = (&session.origin, session.created_at);
    if session::is_new_device(db, owner.id, origin.device()).await? {
        priority_mail::notify_owner(services, db, owner, SecurityChange::NewDevice, origin, now)
            .await?;
    }
    session::insert(db, session, token).await?;
    let signed_in = AccountEvent::SignedIn { session_id: session.id };
    Ok(note(db, owner.id, Some(owner.id), signed_in, now).await?)
}

/// Writes down what was done to an account, in the transaction that does it.
pub(super) async fn note(
    db: &mut Connection,
    account: AccountId,
    actor_id: Option<AccountId>,
    event: AccountEvent,
    now: Timestamp,
) -> Result<(), DbError> {
    let event = NewAccountEvent { event, actor_id, occurred_at: now };
    event::append_to_account(db, account, &[event]).await
}

/// Ends the session that the actor acts through, and its live streams.
///
/// # Errors
/// Nobody is signed in.
pub async fn sign_out(actor: &Actor, services: &Services) -> Result<(), ServiceError> {
    authorise(actor, Action::SecureAccount, Resource::Desk)?;
    let identity = *actor.identity().ok_or(ServiceError::Unauthenticated)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            account::lock(db, identity.id).await?;
            if session::revoke(db, identity.id, identity.session, now).await? {
                tell_of_ends(services, db, identity.id, &[identity.session], actor, now).await?;
            }
            Ok::<_, DbError>(())
        })
        .await?;
    Ok(())
}

/// Ends an account's sessions but one, and their live streams, in the transaction
/// that makes the change which is the reason for it; gives how many ended.
///
/// # Errors
/// The database failed.
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
    tell_of_ends(services, db, account, &ended, actor, now).await?;
    Ok(ended.len())
}

/// Writes down that sessions have ended: whoever streams to them reads it.
async fn tell_of_ends(
    services: &Services,
    db: &mut Connection,
    account: AccountId,
    ended: &[SessionId],
    actor: &Actor,
    now: Timestamp,
) -> Result<(), DbError> {
    // Before the commit: a caller that hangs up cuts off what comes after it.
    for &id in ended {
        services.sessions.revoked.insert(id, ());
    }
    let revoked = ended.iter().map(|&session_id| NewAccountEvent {
        event: AccountEvent::SessionRevoked { session_id },
        actor_id: actor.account_id(),
        occurred_at: now,
    });
    let revoked = revoked.collect::<Vec<_>>();
    if !revoked.is_empty() {
        event::append_to_account(db, account, &revoked).await?;
    }
    Ok(())
}

/// Who is behind a token; `None` where it is unknown, has ended or has expired.
///
/// # Errors
/// The database failed.
pub(super) async fn authenticate(
    services: &Services,
    token: &str,
) -> Result<Option<Identity>, ServiceError> {
    let Some(hash) = TokenHash::of_presented(token) else { return Ok(None) };
    let now = services.ambient.now();
    let found = services.sessions.live.try_get_with(hash, async {
        let mut connection = services.database.read().await.map_err(Lookup::Failed)?;
        let live =
            session::live_by_token(&mut connection, hash, now).await.map_err(Lookup::Failed)?;
        match live {
            None => Err(Lookup::Unknown),
            Some(live) if live.identity.confined => Err(Lookup::Confined(live)),
            Some(live) => Ok(live),
        }
    });
    let live = match found.await {
        Ok(live) => live,
        Err(error) => match Arc::as_ref(&error) {
            Lookup::Unknown => return Ok(None),
            Lookup::Confined(live) => {
                let idle = live.last_used_at + services.settings.session_idle <= now;
                return Ok((!idle).then_some(live.identity));
            }
            Lookup::Failed(cause) => return Err(DbError::Unavailable(cause.to_string()).into()),
        },
    };
    let last_used = services.sessions.last_used(&live).await;
    let ended = live.expires_at <= now
        || last_used + services.settings.session_idle <= now
        || services.sessions.revoked.contains_key(&live.identity.session);
    if ended {
        return Ok(None);
    }
    if last_used + USE_PRECISION <= now {
        services.sessions.note_use(live.identity.session, now).await;
    }
    Ok(Some(live.identity))
}

/// Writes down when sessions were last acted through, many at a time when there are
/// many. Runs until it is dropped.
pub async fn write_down_uses(services: &Services) {
    loop {
        services.sessions.was_used.notified().await;
        let uses = mem::take(&mut *services.sessions.unwritten()).into_iter().collect::<Vec<_>>();
        let written =
            async { session::note_uses(&mut *services.database.read().await?, &uses).await };
        // The next use comes in a minute.
        if let Err(error) = written.await {
            tracing::warn!(%error, "the last use of sessions could not be written down");
        }
    }
}

/// Why a look-up gave nothing that is cached.
enum Lookup {
    Unknown,
    /// Its owner is about to be let in, perhaps by another node.
    Confined(LiveSession),
    Failed(DbError),
}
