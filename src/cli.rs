//! The command line: its commands and what they print.

mod arguments;
mod backup;
mod database;
mod doctor;
mod generate;
mod logging;
mod mail;
mod outbox;
mod output;
mod serve;
mod service_token;
mod trace_exporter;
mod user;

use std::{error::Error, path::Path};

pub use arguments::Cli;
pub use output::warn;

use self::{
    arguments::{Command, ConfigCommand},
    output::{CliResult, RefusedConfig, print},
};
use crate::{
    app::{self, StartError},
    config::{self, Config, ConfigError},
    graphql,
};

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// An error with a text for the person at the terminal.
    pub async fn run(self) -> CliResult {
        let flags = self.flags()?;
        let command = self.command.unwrap_or(Command::Serve(self.serve));
        match &command {
            // They print what is in the binary, whatever the configuration is.
            Command::Schema => return print(&graphql::sdl()),
            Command::Config(ConfigCommand::Reference) => return print(&config::reference()),
            Command::Generate(command) => return generate::run(command),
            _ => {}
        }
        let file = config::find_file(self.config.as_deref()).map_err(RefusedConfig)?;
        let config = match Config::load(file.as_deref(), &flags) {
            Err(error @ ConfigError::Secret { .. }) => return Err(error.into()),
            loaded => loaded.map_err(RefusedConfig)?,
        };
        if let Command::Config(ConfigCommand::Show) = &command {
            return print(&config::show(file.as_deref(), &flags).map_err(RefusedConfig)?);
        }
        app::check_config(&config)?;
        let telemetry = logging::start(&config)?;
        let result = run(command, &config, file.as_deref()).await;
        telemetry.finish().await;
        result
    }

    /// Returns the flags that set keys of the configuration, as pairs of key and value.
    fn flags(&self) -> CliResult<Vec<(&'static str, String)>> {
        let mut flags = Vec::new();
        if let Some(folder) = &self.data_dir {
            flags.push(("data_dir", folder.to_str().ok_or("--data-dir is not UTF-8")?.to_owned()));
        }
        // Flags of the server may also stand before its command.
        let before = &self.serve;
        let own = match &self.command {
            None => before,
            Some(Command::Serve(own)) => own,
            Some(_) if before.listen.is_some() || before.no_migrate => {
                return Err("--listen and --no-migrate are flags of `ticketwire serve`".into());
            }
            Some(_) => return Ok(flags),
        };
        if let Some(listen) = own.listen.as_ref().or(before.listen.as_ref()) {
            flags.push(("listen", listen.clone()));
        }
        if own.no_migrate || before.no_migrate {
            flags.push(("database.migrate", "false".to_owned()));
        }
        Ok(flags)
    }
}

/// Runs a command with the configuration that was read from a file, if any, and the environment.
async fn run(command: Command, config: &Config, file: Option<&Path>) -> CliResult {
    match command {
        Command::Serve(_) => serve::run(config, file).await,
        Command::Migrate => database::migrate(config).await,
        Command::Restored => database::restored(config).await,
        Command::AcceptSealingKeys => database::accept_sealing_keys(config).await,
        Command::AcceptStorage => database::accept_storage(config).await,
        Command::Schema | Command::Config(_) | Command::Generate(_) => Ok(()),
        Command::Doctor { json } => doctor::run(config, file, json).await,
        Command::Mail(command) => mail::run(config, command).await,
        Command::Backup { target } => backup::back_up(config, &target).await,
        Command::Restore { source, without_ledger } => {
            backup::restore(config, &source, without_ledger).await
        }
        Command::VerifyBackup { source } => backup::verify(config, &source).await,
        Command::UpgradeDatabase => backup::upgrade_database(config).await,
        Command::Outbox(command) => outbox::run(config, command).await,
        Command::User(command) => user::run(config, command).await,
        Command::ServiceToken(command) => service_token::run(config, command).await,
    }
}

/// Returns whether a command failed because the configuration is refused: trying again does not help.
pub fn is_refused_config(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    error.is::<RefusedConfig>()
        || error.downcast_ref::<StartError>().is_some_and(StartError::is_refused_config)
}
