//! Logs, which are written to standard error.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::output::CliResult;
use crate::config::{Config, LogFormat};

/// Libraries whose debug logs contain tokens, texts and the values in statements. They log at
/// `info` at most, whatever the filter says.
const LIMITED_LIBRARIES: [&str; 5] =
    ["tungstenite", "tokio_tungstenite", "tokio_postgres", "hyper", "async_graphql"];

/// Starts logging as configured.
pub(super) fn start(config: &Config) -> CliResult {
    let mut filter =
        EnvFilter::try_new(&config.log.filter).map_err(|error| format!("`log.filter`: {error}"))?;
    for library in LIMITED_LIBRARIES {
        filter = filter.add_directive(format!("{library}=info").parse()?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    }
}
