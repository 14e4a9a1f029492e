//! The options of TCP connections.

use tokio::net::TcpStream;

/// How long data may stay unsent or unacknowledged before the kernel closes a connection, in
/// milliseconds. It bounds responses that have no write timeout of their own, such as event
/// streams. It is longer than a slow websocket may take to accept its close frame
/// (`websocket/duplex.rs`).
#[cfg(target_os = "linux")]
const USER_TIMEOUT: u32 = 45_000;

/// Prepares an accepted connection: small writes are sent at once, and a client that stops
/// reading is disconnected (`TCP_USER_TIMEOUT`, RFC 5482; on Linux only).
pub fn prepare(connection: &mut TcpStream) {
    // The server works without these options too.
    let _ = connection.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&*connection, USER_TIMEOUT);
}
