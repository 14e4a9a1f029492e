//! The configuration of a server: defaults, a file, the environment and flags, each overriding the
//! ones before.
//!
//! [`Config`] and its sections declare every key once, with its type, default, bounds and
//! description. `docs/CONFIGURATION.md` lists them for operators; [`reference`] prints that list, and
//! [`show`] the values that are in effect.

mod check;
mod error;
mod form;
mod keys;
mod load;
mod reference;
mod secret;
mod settings;
mod show;
#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use load::find_file;
pub use reference::reference;
pub use secret::Secret;
pub use settings::{
    AdminConfig, AttachmentsConfig, Config, DatabaseConfig, EmbeddedConfig, GraphqlConfig,
    LimitsConfig, LinksConfig, LocaleName, LogConfig, LogFormat, MailConfig, RequirementName,
    S3Config, SecondFactorConfig, SecurityConfig, SessionsConfig, StorageConfig, TicketsConfig,
};
pub use show::show;
