//! What connections are set to when they are accepted.

use tokio::net::TcpStream;

/// How long a client may take nothing of what is sent to it, in milliseconds. Longer than
/// a slow websocket is given to take its close frame: this is for all that has no limit of
/// its own, like a response of server-sent events.
#[cfg(target_os = "linux")]
const TAKE_WITHIN: u32 = 45_000;

/// Sets a connection to send what is written at once, and to break when its client takes
/// nothing (`TCP_USER_TIMEOUT`, RFC 5482; Linux only).
pub fn prepare(connection: &mut TcpStream) {
    // Without them it works too.
    let _ = connection.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&*connection, TAKE_WITHIN);
}
