//! The checks of this machine: the certificate, disks, and the storage of attachments.

use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::spawn_blocking;

use super::check::{Check, Problem};
use crate::{
    app::{self, TrustedCertificate, storage},
    config::Config,
    domain::ids::AttachmentId,
};

/// How long before its end a certificate is renewed at the latest.
const RENEW_BEFORE: TimeDelta = TimeDelta::days(14);
/// How many bytes must be free on each disk.
const MIN_FREE: u64 = 1 << 30;

/// Checks the certificate of the server.
pub(super) async fn check_certificate(config: &Config) -> Check {
    let now = app::ambient().now();
    let chain = app::check_certificate(config, now).await.map_err(|error| {
        let fix = "renew the certificate, or correct `tls.certificate_file` and `tls.key_file`";
        Problem::new(error, fix)
    })?;
    let Some(chain) = chain else { return Ok("none: the server speaks plain HTTP".into()) };
    let at = chain.expiry.at;
    let (state, renewal) = match chain.expiry.issuer {
        None if at - now < RENEW_BEFORE => (
            format!("expires at {at}"),
            Some("renew the certificate; see why the program that renews it has not"),
        ),
        Some(issuer) if at - now < RENEW_BEFORE => (
            format!("{issuer} expires at {at}"),
            Some(
                "renew the certificate, or put the current certificate of that issuer into \
                 `tls.certificate_file`",
            ),
        ),
        None => (format!("valid until {at}"), None),
        Some(issuer) => (format!("valid until {at}, when {issuer} expires"), None),
    };
    let order = (!chain.doubts.is_empty()).then(|| {
        let advice = chain.advice.join("; ");
        format!("correct `tls.certificate_file`, since some clients may refuse it: {advice}")
    });
    let fixes = renewal.map(str::to_owned).into_iter().chain(order).collect::<Vec<_>>();
    if fixes.is_empty() {
        return Ok(state);
    }
    let details = [vec![state], chain.doubts].concat().join("; ");
    Err(Problem::new(details, fixes.join("; ")).warning())
}

/// Checks the certificates that are trusted for the mail server.
pub(super) async fn check_mail_certificates(config: &Config) -> Check {
    let trusted = app::mail_certificates(config)
        .await
        .map_err(|error| Problem::new(error, "correct `mail.ca_file`"))?;
    let Some(trusted) = trusted else { return Ok("none: mail.ca_file is not set".into()) };
    let now = app::ambient().now();
    let unusable = trusted.iter().filter(|it| !(it.from..=it.until).contains(&now));
    let unusable = unusable.map(|it| in_words(it, now)).collect::<Vec<_>>();
    if !unusable.is_empty() {
        let problem = Problem::new(
            unusable.join("; "),
            "put the current certificate of the mail server's issuer into `mail.ca_file`, and remove \
             those that have expired",
        );
        return Err(if unusable.len() == trusted.len() { problem } else { problem.warning() });
    }
    let words = trusted.iter().map(|it| in_words(it, now)).collect::<Vec<_>>().join("; ");
    if trusted.iter().all(|it| it.until - now >= RENEW_BEFORE) {
        return Ok(words);
    }
    Err(Problem::new(
        words,
        "add the next certificate of the mail server's issuer to `mail.ca_file`, before the mail server \
         uses it",
    )
    .warning())
}

fn in_words(certificate: &TrustedCertificate, now: DateTime<Utc>) -> String {
    let TrustedCertificate { subject, from, until } = certificate;
    if now < *from {
        format!("the certificate of {subject} is not valid before {from}")
    } else if now > *until {
        format!("the certificate of {subject} expired at {until}")
    } else {
        format!("the certificate of {subject} is valid until {until}")
    }
}

/// Checks that a probe can be written, read and deleted.
pub(super) async fn check_storage(config: &Config) -> Check {
    let unusable = |error| Problem::new(error, "correct the setting that the message names");
    let storage = storage::set_up(config).map_err(unusable)?;
    let Some(storage) = storage else {
        return Ok("not accepted: neither storage.folder nor storage.s3.bucket is set".into());
    };
    let checked = storage.check(AttachmentId(app::ambient().uuid())).await;
    checked
        .map(|()| "can be stored".into())
        .map_err(|error| Problem::new(error, storage_fix(config)))
}

/// Returns what to do about a storage of attachments that fails.
pub(super) fn storage_fix(config: &Config) -> &'static str {
    if config.storage.s3.bucket.is_some() {
        "correct the settings of `storage.s3`, or see why its server does not serve this machine"
    } else {
        "make room on the disk of `storage.folder`, correct its permissions, or mount it again"
    }
}

/// Checks the disks of the folders that this node writes to: that it may write to the ledger of
/// erasures, and the room.
pub(super) async fn check_disks(config: &Config) -> Check {
    match (check_ledger(config).await, check_room(config).await) {
        (Ok(()), room) => room,
        (Err(problem), Ok(_)) => Err(problem),
        (Err(problem), Err(another)) => Err(problem.and(another)),
    }
}

async fn check_ledger(config: &Config) -> Result<(), Problem> {
    let folders = app::erasure_ledger_folders(config);
    let check = move || folders.iter().try_for_each(|folder| storage::check_writable(folder));
    spawn_blocking(check).await.unwrap_or(Ok(())).map_err(|(folder, error)| {
        Problem::new(
            format!("{} cannot be written: {error}", folder.display()),
            "make the user of the server its owner, or set `storage.erasure_ledger` to another folder",
        )
    })
}

async fn check_room(config: &Config) -> Check {
    let mut folders = Vec::new();
    if let Ok(Some(storage)) = storage::set_up(config)
        && let Some(folder) = storage.folder()
    {
        folders.push(folder.to_path_buf());
    }
    // The database of the embedded server.
    folders.push(config.data_dir.clone());
    folders.extend(config.storage.erasure_ledger.clone());
    folders.dedup();
    let ask = move || {
        let rooms = folders.into_iter().map(|folder| match storage::free_bytes(&folder) {
            Some(free) => Ok((folder, free)),
            None => Err(folder),
        });
        rooms.partition::<Vec<_>, _>(Result::is_ok)
    };
    let (rooms, silent) = spawn_blocking(ask).await.unwrap_or_default();
    let silent = silent.into_iter().filter_map(Result::err);
    let silent = silent.map(|folder| folder.display().to_string()).collect::<Vec<_>>();
    let silent = (!silent.is_empty()).then(|| {
        Problem::new(
            format!("the disk of {} does not answer", silent.join(", ")),
            "mount the folder again, or let the user of the server enter it",
        )
    });
    let rooms = rooms.into_iter().filter_map(Result::ok).collect::<Vec<_>>();
    let low = rooms.iter().filter(|(_, free)| *free < MIN_FREE).map(|(f, free)| room(f, *free));
    let low = low.collect::<Vec<_>>();
    let low = (!low.is_empty()).then(|| {
        Problem::new(
            format!("less than 1 GiB is free: {}", low.join(", ")),
            "delete what is not needed there, or enlarge the disk",
        )
    });
    if let Some(problem) = silent.into_iter().chain(low).reduce(Problem::and) {
        return Err(problem);
    }
    let rooms = rooms.iter().map(|(folder, free)| room(folder, *free));
    Ok(rooms.collect::<Vec<_>>().join(", "))
}

fn room(folder: &Path, free: u64) -> String {
    format!("{} MiB free at {}", free >> 20, folder.display())
}
