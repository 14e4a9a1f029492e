//! `serve`: runs the server until a signal stops it.

use std::{
    convert::Infallible,
    future,
    io::{self, IsTerminal as _},
    path::Path,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::{CliResult, print, role_name};
use crate::{
    app::{self, App, Listeners, ServerDatabase, descriptors},
    config::Config,
    crypto::password::PasswordCost,
    service::demo,
};

/// Runs the server until SIGINT or SIGTERM. `file` is the configuration's, if it has one.
///
/// # Errors
/// It could not be started, or its embedded database was lost.
pub(super) async fn run(config: &Config, file: Option<&Path>) -> CliResult {
    // Installed before anything else, so that a signal during the start undoes the start.
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut stopped = std::pin::pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    // A server without a certificate ends when its terminal is closed.
    let reloads = config.speaks_tls() || !io::stdin().is_terminal();
    let mut hangup = reloads.then(|| signal(SignalKind::hangup())).transpose()?;
    descriptors::raise_limit();
    if let Err(problem) = descriptors::check(descriptors::of_this_process(config)) {
        tracing::warn!(problem, "too few file descriptors");
    }
    // Before the database is filled, which takes seconds.
    let listeners = Listeners::reserve(config)?;
    let mut database = tokio::select! {
        database = ServerDatabase::open(config) => database?,
        () = &mut stopped => return Ok(()),
    };
    let served = async {
        let pool = database.connect(config)?;
        let app = tokio::select! {
            app = App::start(config, listeners, pool, app::ambient(), PasswordCost::default()) => app?,
            () = &mut stopped => return Ok(()),
        };
        // Nobody needs it: a unit's standard output may be gone, or a file on a full disk.
        if let Err(error) = print(&welcome(config, file, &app, &database)?) {
            tracing::warn!(%error, "the greeting could not be written to standard output");
        }
        let lost = tokio::select! {
            () = stopped => None,
            error = database.supervise() => Some(error),
            never = reload_certificate(&app, &mut hangup) => match never {},
        };
        match &lost {
            None => tracing::info!("stopping"),
            Some(error) => tracing::error!(%error, "stopping: the database is lost"),
        }
        app.stop().await;
        lost.map_or(Ok(()), |error| Err(error.into()))
    };
    let result = served.await;
    database.close().await;
    result
}

/// Reloads the certificate at each SIGHUP.
async fn reload_certificate(app: &App, hangup: &mut Option<Signal>) -> Infallible {
    while let Some(hangup) = hangup
        && hangup.recv().await.is_some()
    {
        app.reload_certificate().await;
    }
    future::pending().await
}

/// Returns the text that greets the operator: the addresses, the configuration file, and the demo accounts
/// if there are any.
fn welcome(
    config: &Config,
    file: Option<&Path>,
    app: &App,
    database: &ServerDatabase,
) -> CliResult<String> {
    let address = app.address();
    let (http, websocket) = if config.speaks_tls() { ("https", "wss") } else { ("http", "ws") };
    let mut text = String::from("Ticketwire is ready.\n\n");
    if config.portal {
        text += &format!("  Portal       {http}://{address}/\n");
    }
    if config.desk {
        text += &format!("  Desk         {http}://{address}/desk\n");
    }
    if config.playground {
        text += &format!("  Playground   {http}://{address}/playground\n");
    }
    text += &format!("  GraphQL      {http}://{address}/graphql\n");
    text += &format!("  Websocket    {websocket}://{address}/graphql (graphql-transport-ws)\n");
    if let Some(admin) = app.admin_address() {
        text += &format!("  Metrics      http://{admin}/metrics\n");
    }
    if app.has_mailbox() {
        text += &format!("  Mailbox      {http}://{address}/mailbox (mails are not sent)\n");
    }
    if let Some(file) = file {
        text += &format!("  Settings     {}\n", file.display());
    }
    if database.is_demo() {
        text += &format!("\n  Demo accounts, all with the password {}\n", demo::PASSWORD);
        for account in demo::accounts()? {
            let role = role_name(account.role);
            text += &format!("    {role:<10} {:<32} {}\n", account.email, account.name);
        }
    }
    text += "\nStop it with Ctrl-C.\n";
    Ok(text)
}
