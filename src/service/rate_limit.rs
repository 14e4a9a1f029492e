//! Limits on guessable things, kept in the database so that they hold across nodes
//! and restarts. Each try counts for the account from its network address, for the
//! account as a whole, and for the network address as a whole. Whoever tries an
//! account from elsewhere can fill the second; its owner, on an address that they
//! have signed in from before, is not held up by that. Whether there is such an
//! account makes no difference.

use std::net::{IpAddr, Ipv6Addr};

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use super::{ServiceError, Services};
use crate::{
    db::{
        Connection, DbError,
        rate_limit::{self, Bucket},
        session,
    },
    domain::session::Origin,
};

/// A thing that can be guessed, or that costs.
#[derive(Clone, Copy)]
pub(super) enum Limited {
    /// Passwords.
    Password,
    /// One-time codes and recovery codes.
    Code,
    /// Links to set a new password, and to hand over.
    Link,
    /// Which addresses have an account.
    Address,
}

impl Limited {
    fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Code => "code",
            Self::Link => "link",
            Self::Address => "address",
        }
    }
}

const FROM_ADDRESS: (i32, TimeDelta) = (10, TimeDelta::minutes(15));
const OF_ACCOUNT: (i32, TimeDelta) = (100, TimeDelta::hours(1));
const OF_ADDRESS: (i32, TimeDelta) = (100, TimeDelta::minutes(15));
/// Mails with codes or links, for an address that is mailed to.
const MAILS: (i32, TimeDelta) = (10, TimeDelta::hours(1));

/// A try that was counted.
pub(super) struct Counted(Vec<Bucket>);

/// Counts a try before it is looked at, so that tries at once don't slip through.
/// `subject` is the account's e-mail address; none: a guess at no account in
/// particular.
///
/// # Errors
/// Too many.
pub(super) async fn count(
    services: &Services,
    what: Limited,
    subject: Option<&str>,
    origin: &Origin,
) -> Result<Counted, ServiceError> {
    let (name, network) = (what.name(), network(origin));
    let address = origin.address.map(|address| address.to_string()).unwrap_or_default();
    let mut connection = services.database.read().await?;
    let mut buckets = vec![bucket(&[name, "of address", &network], OF_ADDRESS)];
    if let Some(subject) = subject {
        buckets.push(bucket(&[name, "from address", subject, &network], FROM_ADDRESS));
        // Of its own, and not none: what is done is the same for every account.
        let known = session::knows_address(&mut connection, subject, &address).await?;
        let whose = if known { "of account, known address" } else { "of account" };
        buckets.push(bucket(&[name, whose, subject], OF_ACCOUNT));
    }
    take(services, &mut connection, &buckets).await?;
    Ok(Counted(buckets))
}

/// Gives a try back that was right.
pub(super) async fn refund(
    services: &Services,
    Counted(buckets): Counted,
) -> Result<(), ServiceError> {
    let mut connection = services.database.read().await?;
    for bucket in &buckets {
        rate_limit::refund(&mut connection, bucket).await?;
    }
    Ok(())
}

/// Counts a mail with a code or a link that somebody has caused to an address. Each has
/// a bucket of its own: a stranger, who can ask for links, keeps nobody from their codes.
///
/// # Errors
/// Too many.
pub(super) async fn count_mail(
    services: &Services,
    what: Limited,
    email: &str,
    origin: &Origin,
) -> Result<(), ServiceError> {
    let name = what.name();
    let from = network(origin);
    let buckets =
        [bucket(&["mail", name, "from", &from], OF_ADDRESS), bucket(&["mail", name, email], MAILS)];
    take(services, &mut *services.database.read().await?, &buckets).await
}

/// Forgets what was tried at an account's password: its owner has proven themselves
/// by another way.
pub(super) async fn clear(db: &mut Connection, email: &str) -> Result<(), DbError> {
    rate_limit::empty(db, &bucket(&[Limited::Password.name(), "of account", email], OF_ACCOUNT))
        .await
}

/// What one caller has to itself: an IPv4 address, or a network of IPv6 (a /64), in
/// which addresses cost nothing.
fn network(origin: &Origin) -> String {
    match origin.address {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
        Some(address) => address.to_string(),
        None => String::new(),
    }
}

async fn take(
    services: &Services,
    connection: &mut Connection,
    buckets: &[Bucket],
) -> Result<(), ServiceError> {
    let now = services.ambient.now();
    for bucket in buckets {
        rate_limit::take(connection, bucket, now)
            .await?
            .map_err(|retry_after| ServiceError::RateLimited { retry_after })?;
    }
    Ok(())
}

fn bucket(parts: &[&str], (attempts, within): (i32, TimeDelta)) -> Bucket {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that the parts can't run into each other.
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    Bucket { id: hash.finalize().into(), attempts, within }
}
