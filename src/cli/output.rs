//! The result and the output of a command.

use std::{
    error::Error,
    io::{self, Write as _},
};

use chrono::SecondsFormat;

use crate::{
    config::ConfigError,
    domain::{account::Role, clock::Timestamp},
    service::ServiceError,
};

/// The result of a command. The error's text is for the person at the terminal.
pub(super) type CliResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The configuration cannot be read or contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct RefusedConfig(pub(super) ConfigError);

/// Writes to standard output. A reader that has closed the pipe is not an error.
pub(super) fn print(text: &str) -> CliResult {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Writes the result of a long command to standard output. `done` says that the work itself is done.
pub(super) fn print_result(done: &str, text: &str) -> CliResult {
    print(text).map_err(|error| format!("{done}, but {error}").into())
}

/// Writes to standard output what must not be lost.
///
/// # Errors
/// Returns an error unless all of it was written.
pub(super) fn print_whole(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a line to standard error. A terminal or reader that is gone is not an error.
pub fn warn(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Turns the error of a use case into one for the terminal: its messages, a line each.
pub(super) fn explain(error: ServiceError) -> Box<dyn Error + Send + Sync> {
    match error {
        ServiceError::Invalid(errors) => {
            errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("\n").into()
        }
        other => other.into(),
    }
}

/// Returns the name of a role, as flags spell it.
pub(super) fn role_name(role: Role) -> String {
    format!("{role:?}").to_lowercase()
}

/// Returns a time to the second.
pub(super) fn format_time(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
