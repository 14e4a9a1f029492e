//! Why a configuration is refused.

use std::path::PathBuf;

/// An error in the configuration. Its text names the key or the file at fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file `{path}`: {cause}")]
    File {
        /// The file's path.
        path: String,
        /// The reason.
        cause: String,
    },
    /// The configuration file in the working directory belongs to another user.
    #[error(
        "the configuration file {path} in the working directory belongs to another user, with the id \
         {owner}, and is not used. If you trust it, pass `--config ticketwire.toml`. If not, run the \
         command in another folder",
        path = .path.display()
    )]
    FileOfAnother {
        /// The file's path.
        path: PathBuf,
        /// The id of its owner.
        owner: u32,
    },
    /// The file of a secret cannot be read: maybe not yet.
    #[error("cannot read the file `{path}` of a secret, which `{variable}` names: {cause}")]
    Secret {
        /// The environment variable that names it.
        variable: String,
        /// The file's path.
        path: String,
        /// The reason.
        cause: String,
    },
    /// A secret that is set twice.
    #[error("`{variable}` and `{file_variable}` are both set: set only one of them")]
    Both {
        /// The environment variable that has the secret.
        variable: String,
        /// The one that names its file.
        file_variable: String,
    },
    /// A key that does not exist.
    #[error(
        "unknown key `{key}` in {place}. `ticketwire config reference` lists all keys of version \
         {version}: correct the key or remove it, or install the version that it was written for",
        version = env!("CARGO_PKG_VERSION")
    )]
    UnknownKey {
        /// The file, or "the environment".
        place: String,
        /// The key, or the environment variable.
        key: String,
    },
    /// A section that is written like a key.
    #[error("`{section}` in {place} is a section: write [{section}], and its keys below that")]
    Section {
        /// The file.
        place: String,
        /// The section.
        section: String,
    },
    /// A value that its key does not accept.
    #[error("`{key}` {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// The problem, as the rest of a sentence that starts with the key.
        problem: String,
    },
    /// A variable that is not text.
    #[error(
        "the environment variable {0} is not valid UTF-8: encode its special characters as %XX"
    )]
    NotText(String),
    /// A value of the wrong type.
    #[error("invalid configuration: {0}")]
    Type(String),
}
