//! `service-token`: manages the tokens that other systems authenticate with.

use chrono::TimeDelta;
use clap::ValueEnum as _;
use uuid::Uuid;

use super::{
    arguments::{ScopeArg, ServiceTokenCommand},
    database::{with_services, with_services_to_read},
    output::{CliResult, explain, format_time, print, print_whole, warn},
};
use crate::{
    app::ambient,
    config::Config,
    domain::{
        actor::Actor,
        ids::ServiceTokenId,
        service_token::{Scope, ServiceToken},
    },
    service::service_token::{self, NewServiceToken},
};

/// Runs one of the `service-token` commands.
pub(super) async fn run(config: &Config, command: ServiceTokenCommand) -> CliResult {
    match command {
        ServiceTokenCommand::Create { name, scope, expires_in_days } => {
            let lifetime = expires_in_days.map(|days| TimeDelta::days(days.into()));
            let new = NewServiceToken {
                name,
                scopes: scope.into_iter().map(Scope::from).collect(),
                expires_at: lifetime.map(|lifetime| ambient().now() + lifetime),
                idempotency_key: None,
            };
            create(config, new).await
        }
        ServiceTokenCommand::List => list(config).await,
        ServiceTokenCommand::Revoke { id } => revoke(config, id).await,
    }
}

/// Prints only the token to standard output, so that a script can read it.
async fn create(config: &Config, new: NewServiceToken) -> CliResult {
    let ServiceToken { name, id, .. } = with_services(config, async |services| {
        let issued = service_token::create(&Actor::System, services, new).await;
        let issued = issued.map_err(explain)?;
        let secret = issued.secret.ok_or("the token was created before")?;
        if let Err(error) = print_whole(&format!("{}\n", secret.expose())) {
            // Nobody has it.
            let id = Some(issued.token.id);
            service_token::revoke(&Actor::System, services, id).await.map_err(explain)?;
            return Err(format!("the token cannot be printed ({error}) and was revoked").into());
        }
        Ok(issued.token)
    })
    .await?;
    warn(&format!("Store the token of {name} (id {}) now: it is not shown again.", id.0));
    Ok(())
}

async fn list(config: &Config) -> CliResult {
    let tokens = with_services_to_read(config, async |services| {
        service_token::all(&Actor::System, services).await.map_err(explain)
    })
    .await?;
    if tokens.is_empty() {
        return print("There are no service tokens.\n");
    }
    print(&tokens.iter().map(line).collect::<String>())
}

async fn revoke(config: &Config, id: Uuid) -> CliResult {
    let revoked = with_services(config, async |services| {
        let id = Some(ServiceTokenId(id));
        service_token::revoke(&Actor::System, services, id).await.map_err(explain)
    })
    .await?;
    print(&format!("Revoked the token of {}. It no longer works.\n", revoked.name))
}

fn line(token: &ServiceToken) -> String {
    let scopes = token.scopes.iter().filter_map(scope_name).collect::<Vec<_>>().join(",");
    let state = match (token.revoked_at, token.last_used_at) {
        (Some(at), _) => format!("revoked {}", format_time(at)),
        (None, Some(at)) => format!("last used {}", format_time(at)),
        (None, None) => "never used".to_owned(),
    };
    let expiry = token.expires_at.map(|at| format!(", expires {}", format_time(at)));
    let expiry = expiry.unwrap_or_default();
    format!("{}  {:<24}  {scopes:<36}  {state}{expiry}\n", token.id.0, token.name)
}

/// Returns the name of a scope, as flags spell it.
fn scope_name(scope: Scope) -> Option<String> {
    ScopeArg::from(scope).to_possible_value().map(|value| value.get_name().to_owned())
}
