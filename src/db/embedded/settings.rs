//! How to run the embedded database, and what is the same for every one.

use std::path::PathBuf;

/// The server's only role.
pub(super) const SUPERUSER: &str = "ticketwire";

/// How to run the embedded database.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// The folder of everything that the database stores; created if it does not exist. When
    /// running as root, the user `postgres` must be able to reach it.
    pub data_dir: PathBuf,
    /// The folder of the programs `initdb` and `postgres`, or `None` to search for them.
    pub bin_dir: Option<PathBuf>,
    /// The folder of fetched programs. `None` stands for `/var/cache/ticketwire` when running as
    /// root, else for `ticketwire` in `$XDG_CACHE_HOME` or `~/.cache`.
    pub cache_dir: Option<PathBuf>,
    /// Whether committed transactions survive a crash of the machine. Only tests can do without.
    pub durable: bool,
    /// The largest number of connections at the same time, at least 4.
    pub max_connections: u16,
}
