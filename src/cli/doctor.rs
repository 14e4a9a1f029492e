//! `doctor`: checks the parts of the installation, reports what is wrong, and says what to do.

mod check;
mod database;
mod machine;
mod network;
mod nodes;

use std::time::Duration;

use self::check::{LIMIT, Report};
use super::output::CliResult;
use crate::{app::ServerDatabase, config::Config};

/// How long the mail server may take.
const MAIL_LIMIT: Duration = Duration::from_secs(20);

/// Runs every check, even after one has failed. Prints the results, as JSON if `json`.
///
/// # Errors
/// A check failed.
pub(super) async fn run(config: &Config, json: bool) -> CliResult {
    let mut report = Report::new(json);
    let mut nodes = 0;
    match ServerDatabase::open_for_command(config).await {
        Err(error) => report.add("database", Err(database::unreachable(error)))?,
        Ok(database) => {
            let checked = async {
                database::check(config, &database, &mut report).await?;
                nodes = nodes::check(config, &database, &mut report).await?;
                Ok(())
            };
            let checked: CliResult = checked.await;
            database.close().await;
            checked?;
        }
    }
    report.add("descriptors", machine::check_descriptors(config))?;
    report.run("certificate", LIMIT, machine::check_certificate(config)).await?;
    report.add("disk", machine::check_disks(config))?;
    report.run("attachments", LIMIT, machine::check_storage(config)).await?;
    report.run("mail", MAIL_LIMIT, network::check_mail_server(config)).await?;
    report.run("sender domain", LIMIT, network::check_sender(config)).await?;
    report.run("base url", LIMIT, network::check_base_url(config, nodes)).await?;
    report.finish()
}
