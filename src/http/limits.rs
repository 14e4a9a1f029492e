//! The limits of what callers may use of a node.

use std::time::Duration;

/// The limits of a node.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Those of connections.
    pub connections: ConnectionLimits,
    /// Those of request bodies.
    pub bodies: BodyLimits,
    /// Requests whose files are being received.
    pub uploads: usize,
    /// The same for one account.
    pub uploads_per_account: usize,
    /// Requests of one network that are processed at the same time without being signed in.
    pub anonymous_requests: usize,
    /// Operations, other than streams, of one caller.
    pub requests: PerCaller,
    /// How many of these are executed at the same time.
    pub parallel_requests: PerCaller,
    /// The same for those of one network that are not signed in.
    pub anonymous_parallel_requests: usize,
    /// How long a request waits for its turn.
    pub turn_time: Duration,
    /// How many bytes of large responses and messages are executed for one customer in a second.
    pub customer_rate: u64,
    /// Websockets of one network that are not signed in.
    pub anonymous_sockets: usize,
    /// How long a websocket may stay open without being signed in.
    pub anonymous_socket_time: Duration,
    /// Websockets of one caller.
    pub sockets: PerCaller,
    /// Streams of one caller.
    pub streams: PerCaller,
}

/// How many of something a signed-in caller may use.
#[derive(Clone, Copy, Debug)]
pub struct PerCaller {
    /// A customer.
    pub customer: usize,
    /// A member of staff, or a program.
    pub staff: usize,
}

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// All open connections.
    pub total: usize,
    /// The limits of one network, or `None` if all connections come from trusted proxies.
    pub network: Option<NetworkLimits>,
    /// The time for the headers of the first request.
    pub header_time: Duration,
    /// The time for the headers of each further request.
    pub idle_time: Duration,
}

/// The limits of the connections of one network.
#[derive(Clone, Copy, Debug)]
pub struct NetworkLimits {
    /// Open connections.
    pub connections: usize,
    /// Connections that have not sent a request yet.
    pub handshakes: usize,
}

/// The limits of request bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The slowest mean rate in bytes a second.
    pub rate: u64,
    /// What the mean is calculated over.
    pub window: Duration,
    /// The time for a whole body.
    pub time: Duration,
}
