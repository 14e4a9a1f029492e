//! The limit on file descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{config::Config, domain::node::Descriptors};

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

/// Returns the hard limit of this process, and how many descriptors a server with this configuration
/// may need.
pub fn of_this_process(config: &Config) -> Descriptors {
    let connections = config.limits.connections;
    Descriptors {
        limit: getrlimit(Resource::Nofile).maximum,
        connections,
        required: connections as u64 + config.database.pool_size as u64 + OTHERS,
    }
}

/// Checks that the configured connections fit into the limit. Returns the state in words.
///
/// # Errors
/// They do not fit; the text says what to change.
pub fn check(descriptors: Descriptors) -> Result<String, String> {
    let Descriptors { limit, connections, required } = descriptors;
    let Some(limit) = limit else { return Ok("unlimited".into()) };
    if required <= limit {
        return Ok(format!("{limit} allowed, at most {required} required"));
    }
    Err(format!(
        "{limit} allowed, but {connections} connections (limits.connections) require {required}: \
         raise the limit (`LimitNOFILE=` of systemd, `ulimit -Hn`), or lower limits.connections"
    ))
}
