//! `doctor`: checks the parts of the installation, reports what is wrong, and says what to do.

mod check;
mod database;
mod locks;
mod machine;
mod network;
mod nodes;

use std::{path::Path, time::Duration};

use self::check::{LIMIT, Report};
use super::output::CliResult;
use crate::{app::ServerDatabase, config::Config};

// The limits of checks, and what to do if one takes longer.
const FILES: (Duration, &str) =
    (LIMIT, "mount the folders again that do not answer: `df` names them or hangs");
const STORAGE: (Duration, &str) =
    (LIMIT, "mount `storage.folder` again, or see why the server of `storage.s3` does not answer");
const MAIL: (Duration, &str) = (
    Duration::from_secs(20),
    "let a firewall pass the port, or correct `mail.smtp_url`: a port for implicit TLS, such as 465, needs \
     smtps://",
);
const DNS: (Duration, &str) = (LIMIT, network::DNS_FIX);
const BASE_URL: (Duration, &str) =
    (LIMIT, "correct `links.base_url`, or see why the reverse proxy does not answer");

/// Runs every check, even after one has failed. Prints the results, as JSON if `json`. `file` is the
/// configuration's, if it has one.
///
/// # Errors
/// A check failed.
pub(super) async fn run(config: &Config, file: Option<&Path>, json: bool) -> CliResult {
    let mut report = Report::new(json);
    let read = file.map_or_else(
        || "from the environment and the defaults: there is no configuration file".to_owned(),
        |file| format!("from {} and the environment", file.display()),
    );
    report.add("settings", Ok(read))?;
    let mut live = vec![];
    match ServerDatabase::open_for_command(config).await {
        Err(error) => report.add("database", Err(database::unreachable(config, error)))?,
        Ok(database) => {
            let checked = async {
                if let Some(blockers) = database::check(config, &database, &mut report).await? {
                    live = nodes::check(config, &database, &blockers, &mut report).await?;
                }
                Ok(())
            };
            let checked: CliResult = checked.await;
            database.close().await;
            checked?;
        }
    }
    report.add("descriptors", nodes::check_descriptors(config, &live))?;
    report.run("certificate", FILES, machine::check_certificate(config)).await?;
    report.run("disk", FILES, machine::check_disks(config)).await?;
    report.run("attachments", STORAGE, machine::check_storage(config)).await?;
    report.run("mail certificates", FILES, machine::check_mail_certificates(config)).await?;
    report.run("mail", MAIL, network::check_mail_server(config)).await?;
    report.run("sender domain", DNS, network::check_sender(config)).await?;
    report.run("base url", BASE_URL, network::check_base_url(config, live.len())).await?;
    report.finish()
}
