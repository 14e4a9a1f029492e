//! `mail`: tests the mail server, queues failed mails again, and switches mail on or off.

use clap::ValueEnum as _;
use uuid::Uuid;

use super::{
    arguments::{MailCommand, MailStateArg},
    database::{with_services, with_services_to_read},
    output::{CliResult, explain, format_time, print, warn},
};
use crate::{
    app,
    config::Config,
    domain::{
        account::Locale,
        actor::Actor,
        clock::Timestamp,
        delivery::{Delivery, DeliveryState},
        ids::DeliveryId,
    },
    service::delivery,
};

/// Runs one of the `mail` commands.
pub(super) async fn run(config: &Config, command: MailCommand) -> CliResult {
    match command {
        MailCommand::Test { address, locale } => send_test(config, &address, locale.into()).await,
        MailCommand::List { state, limit } => list(config, &states(&state), limit).await,
        MailCommand::Retry { all: true, state, since, .. } => {
            let states = (!state.is_empty()).then(|| states(&state));
            retry_all(config, states, since).await
        }
        MailCommand::Retry { ids, .. } => retry(config, &ids).await,
        MailCommand::Enable => set_enabled(config, true).await,
        MailCommand::Disable => set_enabled(config, false).await,
    }
}

/// Sends a test mail to an address.
async fn send_test(config: &Config, address: &str, locale: Locale) -> CliResult {
    const UNSET: &str = "no mail server is configured: set mail.smtp_url \
                         (TICKETWIRE_MAIL_SMTP_URL), for example to \
                         smtp://user:password@host:587?tls=required";
    if config.mail.smtp_url.is_none() {
        return Err(UNSET.into());
    }
    let ambient = app::ambient();
    let mail = app::mail::set_up_for_command(config, &ambient)?.ok_or(UNSET)?;
    let message =
        mail.parts.composer.compose_test(address, locale, ambient.uuid(), ambient.now())?;
    match mail.parts.transport.send_test(&message).await {
        Ok(()) => print(&format!("The mail server accepted a mail to {address}.\n")),
        Err(error) => Err(format!("the mail was not sent: {error}").into()),
    }
}

/// Returns the states of the flags, by default those in which a mail was not sent.
fn states(flags: &[MailStateArg]) -> Vec<DeliveryState> {
    if flags.is_empty() {
        return DeliveryState::FAILED.into();
    }
    flags.iter().map(|&state| state.into()).collect()
}

async fn list(config: &Config, states: &[DeliveryState], limit: i64) -> CliResult {
    let mails = with_services_to_read(config, async |services| {
        delivery::latest(&Actor::System, services, states, limit).await.map_err(explain)
    })
    .await?;
    if mails.is_empty() {
        return print("There are no such mails.\n");
    }
    print(&mails.iter().map(line).collect::<String>())
}

fn line(mail: &Delivery) -> String {
    let state = state_name(mail.state);
    let created = format_time(mail.created_at);
    // An address is stored as it came, and checked only when the mail is composed.
    let address = mail.address.replace(char::is_control, " ");
    let error = mail.last_error.as_deref().unwrap_or_default();
    let is_erased = mail.ticket_id.is_none() && DeliveryState::FAILED.contains(&mail.state);
    let error = if is_erased { format!("{error}  (content erased)") } else { error.to_owned() };
    let line = format!("{}  {state:<11}  {created}  {address:<32}  {error}", mail.id.0);
    format!("{}\n", line.trim_end())
}

/// Returns the name of a state, as flags spell it.
pub(super) fn state_name(state: DeliveryState) -> String {
    let value = MailStateArg::from(state).to_possible_value();
    value.map(|value| value.get_name().to_owned()).unwrap_or_default()
}

async fn retry(config: &Config, ids: &[Uuid]) -> CliResult {
    let failed = with_services(config, async |services| {
        let mut failed = 0;
        for &id in ids {
            let retried = delivery::retry(&Actor::System, services, Some(DeliveryId(id))).await;
            match retried.map_err(explain) {
                Ok(_) => print(&format!("Queued {id}.\n"))?,
                Err(error) => {
                    failed += 1;
                    warn(&format!("{id}: {error}"));
                }
            }
        }
        Ok(failed)
    })
    .await?;
    match failed {
        0 => Ok(()),
        1 => Err("1 mail was not queued".into()),
        failed => Err(format!("{failed} mails were not queued").into()),
    }
}

async fn retry_all(
    config: &Config,
    states: Option<Vec<DeliveryState>>,
    since: Option<Timestamp>,
) -> CliResult {
    let erased = with_services(config, async |services| {
        let queued = delivery::retry_all(&Actor::System, services, states.clone(), since).await;
        print(&format!("Mails that were queued again: {}.\n", queued.map_err(explain)?))?;
        delivery::count_erased(&Actor::System, services, states, since).await.map_err(explain)
    })
    .await?;
    if erased > 0 {
        print(&format!(
            "Left out: {erased}. They held codes, links or security notices, and their content was erased.\n"
        ))?;
    }
    Ok(())
}

async fn set_enabled(config: &Config, enabled: bool) -> CliResult {
    with_services(config, async |services| {
        delivery::set_enabled(&Actor::System, services, enabled).await.map_err(explain)
    })
    .await?;
    print(if enabled {
        "Mail is switched on. Events from now on are mailed.\n"
    } else {
        "Mail is switched off. Mails that are queued wait, and expire after 72 hours.\n"
    })
}
