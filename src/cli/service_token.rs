//! `ticketwire service-token`: what machines sign in with.

use std::error::Error;

use chrono::SecondsFormat;
use clap::{Subcommand, ValueEnum};
use uuid::Uuid;

use super::{explained, print, with_services};
use crate::{
    config::Config,
    domain::{actor::Actor, clock::Timestamp, ids::ServiceTokenId, service_token::Scope},
    service::service_token,
};

#[derive(Subcommand)]
pub(super) enum ServiceTokenCommand {
    /// Make a service token for a machine, like the control panel. It is shown once.
    Create {
        /// What you call it.
        #[arg(long)]
        name: String,
        /// What it may do; to be given again for each scope.
        #[arg(long, value_enum, required = true)]
        scope: Vec<ScopeArg>,
    },
    /// List the service tokens, newest first, with what they may do and their last use.
    List,
    /// Make a service token worthless, at once.
    Revoke {
        /// Its id, as `list` shows it.
        id: Uuid,
    },
}

/// The names of the scopes at the command line.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum ScopeArg {
    /// Make and update customers' accounts.
    ProvisionCustomers,
    /// Make links with which customers come over signed in.
    CreateHandoffs,
}

impl From<ScopeArg> for Scope {
    fn from(scope: ScopeArg) -> Self {
        match scope {
            ScopeArg::ProvisionCustomers => Self::ProvisionCustomers,
            ScopeArg::CreateHandoffs => Self::CreateHandoffs,
        }
    }
}

pub(super) async fn run(
    config: &Config,
    command: ServiceTokenCommand,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    match command {
        ServiceTokenCommand::Create { name, scope } => {
            let scopes = scope.into_iter().map(Scope::from).collect::<Vec<_>>();
            let issued = with_services(config, async |services| {
                let made = service_token::create(&Actor::System, services, &name, &scopes).await;
                made.map_err(explained)
            })
            .await?;
            print(&format!("{}\n", issued.secret.expose()))?;
            eprintln!(
                "This is the token of {} (id {}): it is not shown again.",
                issued.token.name, issued.token.id.0
            );
            Ok(())
        }
        ServiceTokenCommand::List => {
            let tokens = with_services(config, async |services| {
                service_token::all(&Actor::System, services).await.map_err(explained)
            })
            .await?;
            let lines = tokens.iter().map(|token| {
                let scopes = token.scopes.iter().filter_map(name).collect::<Vec<_>>().join(",");
                let used = token.last_used_at.map_or_else(|| "never".into(), shown);
                let state = match token.revoked_at {
                    Some(at) => format!("revoked {}", shown(at)),
                    None => format!("last used {used}"),
                };
                format!("{}  {:<24}  {scopes:<36}  {state}\n", token.id.0, token.name)
            });
            let lines = lines.collect::<String>();
            print(if lines.is_empty() { "There are no service tokens.\n" } else { &lines })
        }
        ServiceTokenCommand::Revoke { id } => {
            let revoked = with_services(config, async |services| {
                let id = Some(ServiceTokenId(id));
                service_token::revoke(&Actor::System, services, id).await.map_err(explained)
            })
            .await?;
            print(&format!("{} is worth nothing from now on.\n", revoked.name))
        }
    }
}

/// A scope as it is given at the command line.
fn name(scope: Scope) -> Option<String> {
    let arg = match scope {
        Scope::ProvisionCustomers => ScopeArg::ProvisionCustomers,
        Scope::CreateHandoffs => ScopeArg::CreateHandoffs,
    };
    arg.to_possible_value().map(|value| value.get_name().to_owned())
}

fn shown(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
