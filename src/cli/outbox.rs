//! `outbox`: lists the events that were set aside, and has them tried again.

use chrono::SecondsFormat;
use uuid::Uuid;

use super::{
    arguments::OutboxCommand,
    database::{with_services, with_services_to_read},
    output::{CliResult, explain, print, warn},
};
use crate::{
    config::Config,
    domain::{actor::Actor, ids::SetAsideId, set_aside::SetAsideEvent},
    service::set_aside,
};

/// Runs one of the `outbox` commands.
pub(super) async fn run(config: &Config, command: OutboxCommand) -> CliResult {
    match command {
        OutboxCommand::List => list(config).await,
        OutboxCommand::Retry { all: true, .. } => retry_all(config).await,
        OutboxCommand::Retry { ids, .. } => retry(config, &ids).await,
    }
}

async fn list(config: &Config) -> CliResult {
    let (events, count) = with_services_to_read(config, async |services| {
        let events = set_aside::list(&Actor::System, services).await.map_err(explain)?;
        let count = set_aside::count(&Actor::System, services).await.map_err(explain)?;
        Ok((events, count))
    })
    .await?;
    if events.is_empty() {
        return print("No events are set aside.\n");
    }
    print(&events.iter().map(line).collect::<String>())?;
    let more = usize::try_from(count).unwrap_or_default().saturating_sub(events.len());
    if more > 0 {
        warn(&format!("{more} more are set aside."));
    }
    Ok(())
}

async fn retry(config: &Config, ids: &[Uuid]) -> CliResult {
    let ids = ids.iter().copied().map(SetAsideId).collect::<Vec<_>>();
    let requested = with_services(config, async |services| {
        set_aside::retry(&Actor::System, services, &ids).await.map_err(explain)
    })
    .await?;
    report(requested.len())
}

async fn retry_all(config: &Config) -> CliResult {
    let count = with_services(config, async |services| {
        set_aside::retry_all(&Actor::System, services).await.map_err(explain)
    })
    .await?;
    report(count)
}

fn report(count: usize) -> CliResult {
    match count {
        0 => print("No events are set aside.\n"),
        1 => print("1 event will be tried again by a running server.\n"),
        _ => print(&format!("{count} events will be tried again by a running server.\n")),
    }
}

fn line(event: &SetAsideEvent) -> String {
    let at = event.set_aside_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let state = if event.retry_requested_at.is_some() { "  (to be tried again)" } else { "" };
    format!(
        "{}  {:>3}  {}  {:>8}  {at}  {}{state}\n",
        event.id.0, event.attempts, event.consumer, event.pos, event.error
    )
}
