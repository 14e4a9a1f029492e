//! Builds the limits of requests and transports from the configuration.

use std::time::Duration;

use crate::{
    config::Config,
    domain::budget::RequestLimits,
    http::{BodyLimits, ConnectionLimits, Limits, NetworkLimits, PerCaller},
};

/// Returns the limits of a node.
pub(super) fn limits(config: &Config) -> Limits {
    let (limits, connections) = (&config.limits, config.database.pool_size);
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let network = NetworkLimits {
        connections: limits.connections_per_address,
        handshakes: limits.handshakes_per_address,
    };
    Limits {
        connections: ConnectionLimits {
            total: limits.connections,
            network: (config.trusted_proxies == 0).then_some(network),
            header_time: seconds(limits.header_seconds),
            idle_time: seconds(limits.idle_seconds),
        },
        bodies: BodyLimits {
            rate: limits.body_bytes_per_second,
            window: seconds(limits.body_window_seconds),
            time: seconds(limits.upload_seconds),
        },
        uploads: limits.uploads,
        uploads_per_account: limits.uploads_per_account,
        anonymous_requests: limits.anonymous_requests_per_address,
        requests: PerCaller { customer: limits.customer_requests, staff: limits.staff_requests },
        parallel_requests: PerCaller {
            customer: limits.customer_parallel_requests.unwrap_or((connections / 8).max(2)),
            staff: limits.staff_parallel_requests.unwrap_or((connections / 2).max(2)),
        },
        anonymous_parallel_requests: limits
            .anonymous_parallel_requests_per_address
            .unwrap_or((connections / 2).max(2)),
        customer_rate: limits.customer_bytes_per_second,
        turn_time: seconds(limits.request_seconds),
        anonymous_sockets: limits.anonymous_sockets_per_address,
        anonymous_socket_time: seconds(limits.anonymous_socket_seconds),
        sockets: PerCaller { customer: limits.customer_sockets, staff: limits.staff_sockets },
        streams: PerCaller { customer: limits.customer_streams, staff: limits.staff_streams },
    }
}

/// Returns the limits of one request.
pub(super) fn request_limits(config: &Config) -> RequestLimits {
    let limits = &config.limits;
    RequestLimits {
        response_bytes: limits.response_bytes,
        statements: limits.statements,
        connections: limits.request_connections,
        time: Duration::from_secs(limits.request_seconds.into()),
        aliases: limits.aliases,
    }
}
