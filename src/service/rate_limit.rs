//! Rate limits on guesses, on mails, and on what an account writes. They are stored in the
//! database, so that they apply across nodes and restarts.
//!
//! An attempt counts against three buckets: of the account from the client's network, of the
//! account as a whole, and of the network as a whole, to which IPv6 adds the site. Passwords and
//! codes share the bucket of the account as a whole, so that an attacker cannot use both up. An
//! attacker elsewhere can fill the account's bucket. That does not lock its owner out: attempts from
//! a network that they have signed in from before count against another bucket. All this is the same
//! whether the account exists or not.
//!
//! An attempt that succeeds is uncounted. To verify a password is expensive though, so each one also
//! counts against a bucket of the account that keeps it, right or wrong.

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::{
    ServiceError, Services,
    password_places::PasswordPlace,
    ticket_writes::{CountedWrite, Write},
};
use crate::{
    db::{
        Connection, DbError,
        rate_limit::{self, Bucket},
        session,
    },
    domain::{
        account::{Account, EmailAddress},
        actor::Actor,
        clock::Timestamp,
        ids::AccountId,
        session::ClientOrigin,
    },
    metrics,
};

/// What is limited. Each kind is counted separately.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// Guessing passwords.
    Password,
    /// Guessing one-time codes and recovery codes, and mailing one-time codes.
    Code,
    /// Guessing password links and handoffs, and mailing password links.
    Link,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
            Self::Link => "link",
        }
    }

    /// The name of the bucket of an account as a whole.
    fn shared_name(self) -> &'static str {
        match self {
            Self::Password | Self::Code => "guess",
            Self::Link => self.name(),
        }
    }
}

// How many attempts are allowed within which time.
const PER_ACCOUNT_AND_NETWORK: (i32, TimeDelta) = (10, TimeDelta::minutes(15));
const PER_NETWORK: (i32, TimeDelta) = (100, TimeDelta::minutes(15));
/// Sites of IPv6 have up to 65,536 networks.
const PER_SITE: (i32, TimeDelta) = (400, TimeDelta::minutes(15));
/// After these the limit slows down to a code every 72 minutes.
const CODES_PER_DAY: (i32, TimeDelta) = (20, TimeDelta::days(1));
/// Typing errors of the owner.
const TOLERATED_WRONG_CODES: (i32, TimeDelta) = (2, TimeDelta::weeks(1));
const NOTICES_OF_WRONG_CODES: (i32, TimeDelta) = (1, TimeDelta::days(1));
const MAILS_PER_RECIPIENT: (i32, TimeDelta) = (10, TimeDelta::hours(1));
/// Passwords of one account, right or wrong. Guesses fill their own bucket first.
const PASSWORDS: (i32, TimeDelta) = (100, TimeDelta::hours(1));
const SIGN_INS: (i32, TimeDelta) = (100, TimeDelta::hours(1));
const RECOVERY_CODES: (i32, TimeDelta) = (10, TimeDelta::hours(1));
const SECURITY_CHANGES: (i32, TimeDelta) = (30, TimeDelta::hours(1));
const INVITATIONS_BY_CUSTOMER: (i32, TimeDelta) = (20, TimeDelta::hours(1));
const INVITATIONS_BY_STAFF: (i32, TimeDelta) = (100, TimeDelta::hours(1));
const INVITATIONS_OF_ADDRESS_BY_ONE: (i32, TimeDelta) = (3, TimeDelta::days(1));

/// How many marks an account may set for each change that it may make: programs mark as read whatever
/// they show.
const MARKS_OF_CHANGE: u32 = 5;

/// An attempt that has been counted.
pub(super) struct CountedAttempt {
    /// What is uncounted if it succeeds.
    refundable: Vec<Bucket>,
    /// The bucket of the account's passwords, if this is one.
    passwords: Option<Bucket>,
}

/// Counts an attempt. Call this before checking the guess, so that concurrent attempts cannot
/// exceed the limit. `subject` is the account's e-mail address, or `None` if the guess is not
/// at a particular account.
///
/// # Errors
/// Returns [`ServiceError::RateLimited`] if a bucket is full.
pub(super) async fn count(
    services: &Services,
    limit: Limit,
    subject: Option<&str>,
    origin: &ClientOrigin,
) -> Result<CountedAttempt, ServiceError> {
    let (name, network) = (limit.name(), network(origin));
    let mut connection = services.database.read().await?;
    let mut buckets = vec![bucket(&[name, "of address", &network], PER_NETWORK)];
    if let Some(site) = origin.site() {
        buckets.push(bucket(&[name, "of site", &site.to_string()], PER_SITE));
    }
    let mut passwords = None;
    if let Some(subject) = subject.map(canonical) {
        let subject = subject.as_str();
        buckets.push(bucket(&[name, "from address", subject, &network], PER_ACCOUNT_AND_NETWORK));
        // A known network has a bucket too, so that the work is the same for every account.
        let known = session::knows_network(&mut connection, subject, origin).await?;
        let whose = if known { "of account, known address" } else { "of account" };
        let per_account = per_account(services);
        buckets.push(bucket(&[limit.shared_name(), whose, subject], per_account));
        if matches!(limit, Limit::Code) {
            // Not emptied by `clear`: who can read the owner's mail cannot guess more codes.
            buckets.push(bucket(&[name, whose, subject], per_account));
            buckets.push(bucket(&[name, "of a day", whose, subject], CODES_PER_DAY));
        }
        if matches!(limit, Limit::Password) {
            let (at_once, within) = PASSWORDS;
            let limit = (at_once.max(per_account.0), within);
            passwords = Some(bucket(&["verified", name, whose, subject], limit));
        }
    }
    add_to(&buckets, services, &mut connection).await?;
    // Last: a call that the others refuse verifies no password. A call that it refuses is no guess.
    if let Err(refused) = add_to(passwords.as_slice(), services, &mut connection).await {
        refund_to(&buckets, &mut connection).await?;
        return Err(refused);
    }
    Ok(CountedAttempt { refundable: buckets, passwords })
}

/// Returns how many attempts fit into an account's bucket. As many leave it within an hour, so that
/// no hour sees more than twice as many.
fn per_account(services: &Services) -> (i32, TimeDelta) {
    let at_once = services.settings.limits.guesses_per_hour / 2;
    (i32::try_from(at_once).unwrap_or(i32::MAX), TimeDelta::hours(1))
}

/// Returns the bucket that counts what an account writes, or `None` if that is not limited.
pub(super) fn write_bucket(services: &Services, write: CountedWrite) -> Option<Bucket> {
    let (things, per_minute, _) = write_limit(services, write);
    // The version before has the same buckets.
    let key = ["created", things, &write.account.0.to_string()];
    (per_minute > 0).then(|| bucket_of_minute(&key, per_minute))
}

/// Counts what an account writes. Called in the transaction that writes it, it counts only what is
/// written.
///
/// # Errors
/// Returns [`ServiceError::TooFrequent`] if the account has written too much within a minute.
pub(super) async fn count_write(
    services: &Services,
    db: &mut Connection,
    write: CountedWrite,
) -> Result<(), ServiceError> {
    let Some(bucket) = write_bucket(services, write) else { return Ok(()) };
    let taken = rate_limit::take(db, &bucket, services.ambient.now()).await?;
    taken.map_err(|retry_after| too_frequent(services, write, retry_after))
}

/// Counts a refusal of what an account wanted to write, and returns its error.
pub(super) fn too_frequent(
    services: &Services,
    write: CountedWrite,
    retry_after: TimeDelta,
) -> ServiceError {
    let (things, per_minute, limit) = write_limit(services, write);
    services.metrics.refused(limit);
    ServiceError::TooFrequent { things, per_minute, retry_after }
}

/// Uncounts what was counted with [`count_write`] although nothing was written.
pub(super) async fn uncount_write(
    services: &Services,
    db: &mut Connection,
    write: CountedWrite,
) -> Result<(), DbError> {
    match write_bucket(services, write) {
        Some(bucket) => rate_limit::refund(db, &bucket).await,
        None => Ok(()),
    }
}

/// Returns what is written, how much of it is allowed within a minute, and how refusals are counted.
fn write_limit(services: &Services, write: CountedWrite) -> (&'static str, u32, metrics::Limit) {
    let limits = &services.settings.limits;
    match write.kind {
        Write::Ticket => ("tickets", limits.tickets_per_minute, metrics::Limit::Tickets),
        Write::Comment if write.actor.is_staff() => {
            ("comments", limits.staff_comments_per_minute, metrics::Limit::Comments)
        }
        Write::Comment => {
            ("comments", limits.customer_comments_per_minute, metrics::Limit::Comments)
        }
        Write::Change | Write::Mark if write.actor.is_staff() => {
            ("changes", 0, metrics::Limit::Changes)
        }
        Write::Change => ("changes", limits.customer_changes_per_minute, metrics::Limit::Changes),
        Write::Mark => {
            let per_minute = limits.customer_changes_per_minute.saturating_mul(MARKS_OF_CHANGE);
            ("marks", per_minute, metrics::Limit::Changes)
        }
    }
}

/// Counts the bytes of a file that a customer has uploaded. If that is too much, returns as the inner
/// error how long to wait until the file fits.
pub(super) async fn count_bytes(
    services: &Services,
    db: &mut Connection,
    customer: AccountId,
    bytes: u64,
) -> Result<Result<(), TimeDelta>, DbError> {
    let Some((bucket, fill)) = uploaded(services, customer, bytes) else { return Ok(Ok(())) };
    let taken = rate_limit::fill(db, &bucket, fill, services.ambient.now()).await?;
    if taken.is_err() {
        services.metrics.refused(metrics::Limit::Uploads);
    }
    Ok(taken)
}

/// Uncounts what was counted with [`count_bytes`] although the file was not stored.
pub(super) async fn uncount_bytes(
    services: &Services,
    customer: AccountId,
    bytes: u64,
) -> Result<(), DbError> {
    let Some((bucket, fill)) = uploaded(services, customer, bytes) else { return Ok(()) };
    rate_limit::drain(&mut *services.database.read().await?, &bucket, fill).await
}

/// Returns the bucket of the bytes that a customer uploads, and how long these bytes take to leave it, or
/// `None` if they are not limited.
fn uploaded(services: &Services, customer: AccountId, bytes: u64) -> Option<(Bucket, TimeDelta)> {
    let per_day = services.settings.limits.customer_upload_bytes_per_day;
    if per_day == 0 {
        return None;
    }
    let day = TimeDelta::days(1);
    let micros = u128::from(day.num_microseconds().unwrap_or(i64::MAX).unsigned_abs());
    let part = micros * u128::from(bytes.min(per_day)) / u128::from(per_day);
    let part = TimeDelta::microseconds(i64::try_from(part).unwrap_or(i64::MAX));
    Some((bucket(&["uploaded bytes", &customer.0.to_string()], (1, day)), part))
}

/// Counts a call of a machine. Call this before its transaction, so that failed calls count too.
/// Does nothing for other actors.
///
/// # Errors
/// Returns [`ServiceError::TooFrequent`] if the service token was used too often within a minute.
pub(super) async fn count_machine_call(
    services: &Services,
    actor: &Actor,
) -> Result<(), ServiceError> {
    let Some(token) = actor.service_token() else { return Ok(()) };
    let per_minute = services.settings.limits.service_token_calls_per_minute;
    if per_minute == 0 {
        return Ok(());
    }
    let bucket = bucket_of_minute(&["calls", &token.0.to_string()], per_minute);
    let mut connection = services.database.read().await?;
    let taken = rate_limit::take(&mut connection, &bucket, services.ambient.now()).await?;
    taken.map_err(|retry_after| {
        services.metrics.refused(metrics::Limit::MachineCalls);
        ServiceError::TooFrequent { things: "calls", per_minute, retry_after }
    })
}

fn bucket_of_minute(key: &[&str], per_minute: u32) -> Bucket {
    let at_once = i32::try_from(per_minute).unwrap_or(i32::MAX);
    bucket(key, (at_once, TimeDelta::minutes(1)))
}

/// Returns whether to notify an account's owner of a wrong code: after the first one from a network
/// that they have not signed in from before, after the third one within a week from others, and once
/// a day at most. Counts the code.
pub(super) async fn is_suspicious(
    db: &mut Connection,
    owner: &Account,
    origin: &ClientOrigin,
    now: Timestamp,
) -> Result<bool, DbError> {
    let id = owner.id.0.to_string();
    if session::knows_network(db, owner.email.as_str(), origin).await? {
        let tolerated = bucket(&["wrong codes", &id], TOLERATED_WRONG_CODES);
        if rate_limit::take(db, &tolerated, now).await?.is_ok() {
            return Ok(false);
        }
    }
    let notices = bucket(&["notices of wrong codes", &id], NOTICES_OF_WRONG_CODES);
    Ok(rate_limit::take(db, &notices, now).await?.is_ok())
}

/// Uncounts a successful attempt, but not that a password was verified.
pub(super) async fn refund(
    services: &Services,
    attempt: CountedAttempt,
) -> Result<(), ServiceError> {
    Ok(refund_to(&attempt.refundable, &mut *services.database.read().await?).await?)
}

/// Takes a place of the network and of the account of an attempt's password. Hold it while the password is
/// examined. If none is free, uncounts the attempt.
pub(super) async fn take_place(
    services: &Services,
    attempt: &CountedAttempt,
    origin: &ClientOrigin,
) -> Result<PasswordPlace, ServiceError> {
    // Strangers and networks that the owner of the account has signed in from have different ones.
    let account = attempt.passwords.map(|bucket| bucket.id);
    unless_busy(services, attempt, services.password_places.take(account, origin)).await
}

/// Returns the result of examining an attempt's password. If too many passwords are being examined,
/// uncounts the attempt: nothing was guessed.
pub(super) async fn unless_busy<T>(
    services: &Services,
    attempt: &CountedAttempt,
    result: Result<T, impl Into<ServiceError>>,
) -> Result<T, ServiceError> {
    let result = result.map_err(Into::into);
    if result.as_ref().is_err_and(ServiceError::is_busy) {
        let mut connection = services.database.read().await?;
        refund_to(&attempt.refundable, &mut connection).await?;
        refund_to(attempt.passwords.as_slice(), &mut connection).await?;
    }
    result
}

/// Counts a mail with a code or a link to an address. Codes and links are counted separately: a stranger,
/// who can request links, cannot use up the owner's codes. Mails requested from a network that the owner
/// has signed in from are counted separately too.
///
/// # Errors
/// Returns [`ServiceError::RateLimited`] if the client's network has caused too many mails, or
/// the address has received too many.
pub(super) async fn count_mail(
    services: &Services,
    db: &mut Connection,
    limit: Limit,
    email: &str,
    origin: &ClientOrigin,
) -> Result<(), ServiceError> {
    let (name, network, email) = (limit.name(), network(origin), canonical(email));
    let known = session::knows_network(db, email.as_str(), origin).await?;
    let mut key = vec!["mail", name, email.as_str()];
    if known {
        key.push("known address");
    }
    let mut buckets = vec![bucket(&["mail", name, "from", &network], PER_NETWORK)];
    if let Some(site) = origin.site() {
        buckets.push(bucket(&["mail", name, "from site", &site.to_string()], PER_SITE));
    }
    buckets.push(bucket(&key, MAILS_PER_RECIPIENT));
    add_to(&buckets, services, db).await
}

/// What an account's owner does at most so often within an hour.
#[derive(Clone, Copy)]
pub(super) enum OwnAction {
    /// Signing in with a password alone.
    SignIn,
    /// Replacing the recovery codes.
    RecoveryCodes,
    /// Changing the password or the second factors. The events are kept for ever.
    SecurityChange,
}

/// Counts what the owner of an account does. Call this in the transaction that does it.
///
/// # Errors
/// Returns [`ServiceError::RateLimited`] if it was done too often.
pub(super) async fn count_own(
    services: &Services,
    db: &mut Connection,
    action: OwnAction,
    account: AccountId,
) -> Result<(), ServiceError> {
    let (name, limit) = match action {
        OwnAction::SignIn => ("sign-ins", SIGN_INS),
        OwnAction::RecoveryCodes => ("recovery codes", RECOVERY_CODES),
        OwnAction::SecurityChange => ("security changes", SECURITY_CHANGES),
    };
    add_to(&[bucket(&[name, &account.0.to_string()], limit)], services, db).await
}

/// Counts a security notice about one kind of change, and returns whether it is mailed. Beyond the
/// limit, the audit trail alone has the change.
pub(super) async fn may_notify(
    db: &mut Connection,
    owner: &Account,
    change: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let email = owner.email.canonical();
    let notices = ["mail", "notice", change, &owner.id.0.to_string(), email.as_str()];
    Ok(rate_limit::take(db, &bucket(&notices, MAILS_PER_RECIPIENT), now).await?.is_ok())
}

/// Counts a call that invites somebody to a ticket. Call this before its transaction, so that
/// failed calls count too.
///
/// # Errors
/// Returns [`ServiceError::RateLimited`] if the account has invited too many people.
pub(super) async fn count_invitation(
    services: &Services,
    actor: &Actor,
    inviter: AccountId,
) -> Result<(), ServiceError> {
    let limit = if actor.is_staff() { INVITATIONS_BY_STAFF } else { INVITATIONS_BY_CUSTOMER };
    let buckets = [bucket(&["invitations by", &inviter.0.to_string()], limit)];
    add_to(&buckets, services, &mut *services.database.read().await?).await
}

/// Counts an invitation of an address, with its mail. Call this in the transaction that creates it,
/// so that only what is created counts.
///
/// # Errors
/// Returns [`ServiceError::RateLimited`] if the address was invited too often.
pub(super) async fn count_invitation_of(
    services: &Services,
    db: &mut Connection,
    inviter: AccountId,
    email: &EmailAddress,
) -> Result<(), ServiceError> {
    let (inviter, email) = (inviter.0.to_string(), email.canonical());
    let email = email.as_str();
    let buckets = [
        bucket(&["mail", "invitation", email], MAILS_PER_RECIPIENT),
        bucket(&["mail", "invitation", email, "by", &inviter], INVITATIONS_OF_ADDRESS_BY_ONE),
    ];
    add_to(&buckets, services, db).await
}

/// Empties an account's bucket of passwords and codes, after its owner has proven who they are
/// in another way.
pub(super) async fn clear(
    services: &Services,
    db: &mut Connection,
    email: &str,
) -> Result<(), DbError> {
    let email = canonical(email);
    let whole = [Limit::Password.shared_name(), "of account", email.as_str()];
    rate_limit::empty(db, &bucket(&whole, per_account(services))).await
}

/// Returns the spelling of an address to count by: accounts of earlier versions have others than
/// those that are typed.
fn canonical(email: &str) -> EmailAddress {
    EmailAddress::from_stored(email.to_owned()).canonical()
}

/// Returns the network of a client, or an empty text if it is unknown.
fn network(origin: &ClientOrigin) -> String {
    origin.network().map(|network| network.to_string()).unwrap_or_default()
}

async fn add_to(
    buckets: &[Bucket],
    services: &Services,
    connection: &mut Connection,
) -> Result<(), ServiceError> {
    let now = services.ambient.now();
    for bucket in buckets {
        rate_limit::take(connection, bucket, now).await?.map_err(|retry_after| {
            services.metrics.refused(metrics::Limit::Guesses);
            ServiceError::RateLimited { retry_after }
        })?;
    }
    Ok(())
}

async fn refund_to(buckets: &[Bucket], connection: &mut Connection) -> Result<(), DbError> {
    for bucket in buckets {
        rate_limit::refund(connection, bucket).await?;
    }
    Ok(())
}

fn bucket(parts: &[&str], (attempts, within): (i32, TimeDelta)) -> Bucket {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps different parts from producing the same bytes.
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    Bucket { id: hash.finalize().into(), attempts, within }
}
