//! The limit on the file descriptors of this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// How many descriptors the server uses other than for connections of clients and of the database:
/// its sockets, logs, timers and the files of uploads and downloads.
const OTHERS: u64 = 256;

/// Raises the soft limit to the hard one: the usual soft limit of 1,024 is less than a server of
/// websockets needs.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "raising the limit on file descriptors failed");
    }
}

/// Checks that the configured connections fit into the hard limit. Returns the state in words.
///
/// # Errors
/// They do not fit; the text says what to change.
pub fn check(config: &Config) -> Result<String, String> {
    let Some(limit) = getrlimit(Resource::Nofile).maximum else { return Ok("unlimited".into()) };
    let connections = config.limits.connections;
    let required = connections as u64 + config.database.pool_size as u64 + OTHERS;
    if required <= limit {
        return Ok(format!("{limit} allowed, at most {required} required"));
    }
    Err(format!(
        "{limit} allowed, but {connections} connections (limits.connections) require {required}: \
         raise the limit (`LimitNOFILE=` of systemd, `ulimit -Hn`), or lower limits.connections"
    ))
}
