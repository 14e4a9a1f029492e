//! `user`: manages accounts.

use std::io::{self, IsTerminal as _};

use super::{
    arguments::{ConversationsArg, UserCommand},
    database::with_services,
    output::{CliResult, explain, print, role_name, warn},
};
use crate::{
    config::Config,
    crypto::password::Password,
    domain::{account::Role, actor::Actor},
    service::{
        account, erasure, second_factor,
        staff::{self, NewAccount},
    },
};

/// Runs one of the `user` commands.
pub(super) async fn run(config: &Config, command: UserCommand) -> CliResult {
    match command {
        UserCommand::Create { email, name, role, locale, password_stdin } => {
            let password = Some(read_password(password_stdin)?);
            let (role, locale) = (role.into(), locale.into());
            create(config, NewAccount { email, name, role, locale, password }).await
        }
        UserCommand::SetRole { email, role } => set_role(config, &email, role.into()).await,
        UserCommand::ResetSecondFactor { email } => reset_second_factor(config, &email).await,
        UserCommand::Erase { email, conversations } => erase(config, &email, conversations).await,
    }
}

async fn create(config: &Config, new: NewAccount) -> CliResult {
    let account = with_services(config, async |services| {
        staff::create(&Actor::System, services, new).await.map_err(explain)
    })
    .await?;
    print(&format!("Created the account {} ({}).\n", account.email, role_name(account.role)))
}

async fn set_role(config: &Config, email: &str, role: Role) -> CliResult {
    let account = with_services(config, async |services| {
        staff::set_role_by_email(&Actor::System, services, email, role).await.map_err(explain)
    })
    .await?;
    print(&format!(
        "{} now has the role {} and must sign in again.\n",
        account.email,
        role_name(account.role)
    ))
}

async fn reset_second_factor(config: &Config, email: &str) -> CliResult {
    let account = with_services(config, async |services| {
        let account = account::by_email(&Actor::System, services, email).await.map_err(explain)?;
        second_factor::reset(&Actor::System, services, Some(account.id)).await.map_err(explain)
    })
    .await?;
    print(&format!("{} has no second factor now and must sign in again.\n", account.email))
}

async fn erase(config: &Config, email: &str, conversations: ConversationsArg) -> CliResult {
    let redacts = conversations == ConversationsArg::Redact;
    let account = with_services(config, async |services| {
        let account = account::by_email(&Actor::System, services, email).await.map_err(explain)?;
        let id = Some(account.id);
        let erased = erasure::erase(&Actor::System, services, id, redacts).await;
        let erased = erased.map_err(explain)?;
        // From here on it is erased, whatever fails.
        if let Err(error) = erasure::finish(&Actor::System, services).await.map_err(explain) {
            warn(&format!(
                "Something of an erased account is left: {error}. A running server removes it within \
                 a minute."
            ));
        }
        Ok(erased)
    })
    .await?;
    print(&format!("The account is erased. Its address is now {}.\n", account.email))
}

/// Reads the password: never from a flag, which other users of the machine could see.
fn read_password(from_stdin: bool) -> CliResult<Password> {
    if from_stdin {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => "the password on standard input must be UTF-8".to_owned(),
            _ => format!("the password on standard input cannot be read: {error}"),
        })?;
        return Ok(Password::new(line.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if !io::stdin().is_terminal() {
        return Err(
            "there is no terminal to ask for the password: use --password-stdin and write \
                    the password to standard input"
                .into(),
        );
    }
    let password = rpassword::prompt_password("Password: ")?;
    if rpassword::prompt_password("Repeat the password: ")? != password {
        return Err("the passwords differ".into());
    }
    Ok(Password::new(password))
}
