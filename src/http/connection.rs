//! TCP connections: how many are accepted, their options, and how long they may wait for headers.
//!
//! A refused connection is told so and closed. All limits here apply before anybody is signed in;
//! `budgets.rs` has those of callers.

use std::{
    io::{self, IoSlice, Write as _},
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    budgets::REFUSAL_DELAY,
    limits::ConnectionLimits,
    slots::{Party, Slot, Slots},
};
use crate::{
    domain::session::network,
    metrics::{Limit, Metrics},
};

/// How long data may stay unsent or unacknowledged before the kernel closes a connection, in
/// milliseconds. It bounds responses that have no write timeout of their own, such as event
/// streams. It is longer than a slow websocket may take to accept its close frame
/// (`websocket/duplex.rs`).
#[cfg(target_os = "linux")]
const USER_TIMEOUT: u32 = 45_000;
/// How long the server waits after it failed to accept a connection, for example because no file
/// descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves the connections of a socket. When `draining` is cancelled, it accepts no more of them,
/// and ends once the requests under way have been answered.
pub async fn serve(
    socket: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    metrics: Metrics,
    draining: CancellationToken,
) {
    let door = Door { limits, metrics, open: Slots::default(), handshakes: Slots::default() };
    let connections = TaskTracker::new();
    while let Some((stream, address)) = draining.run_until_cancelled(accept(&socket)).await {
        match door.enter(address.ip()) {
            Ok(slots) => {
                prepare(&stream);
                let stream = Stream { stream, _slots: slots.open };
                let handshake = Handshake(Arc::new(Mutex::new(Some(slots.handshake))));
                let (router, metrics, stop) =
                    (router.clone(), door.metrics.clone(), draining.clone());
                connections.spawn(async move {
                    let served = serve_one(stream, address, router, limits, handshake, stop).await;
                    if served.is_err() {
                        metrics.refused(Limit::HeaderTime);
                    }
                });
            }
            Err(refused) if refused.open.is_empty() => refused.tell(stream),
            Err(refused) => drop(tokio::spawn(async move {
                time::sleep(REFUSAL_DELAY).await;
                refused.tell(stream);
            })),
        }
    }
    drop(socket);
    connections.close();
    connections.wait().await;
}

async fn accept(socket: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "accepting a connection failed");
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether a client has closed its connection before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Prepares an accepted connection: small writes are sent at once, and a client that stops
/// reading is disconnected (`TCP_USER_TIMEOUT`, RFC 5482; on Linux only).
fn prepare(connection: &TcpStream) {
    // The server works without these options too.
    let _ = connection.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(connection, USER_TIMEOUT);
}

/// Counts connections and refuses those beyond the limits.
struct Door {
    limits: ConnectionLimits,
    metrics: Metrics,
    open: Slots,
    handshakes: Slots,
}

/// The slots of an accepted connection.
struct ConnectionSlots {
    /// In use until the connection is closed.
    open: Vec<Slot>,
    /// In use until the first request. `None` if it is not limited.
    handshake: Option<Slot>,
}

/// Why a connection is refused.
struct Refused {
    status: &'static str,
    reason: String,
    /// The slots of a connection that is told so only later.
    open: Vec<Slot>,
}

impl Door {
    fn enter(&self, address: IpAddr) -> Result<ConnectionSlots, Refused> {
        let total = self.limits.total;
        let Some(open) = self.open.take(Party::Everybody, total) else {
            let reason = format!("The server accepts at most {total} connections.");
            return Err(self.refuse(Limit::Connections, "503 Service Unavailable", reason));
        };
        let Some(limits) = self.limits.network else {
            return Ok(ConnectionSlots { open: vec![open], handshake: None });
        };
        let (party, status) = (Party::Network(Some(network(address))), "429 Too Many Requests");
        let Some(own) = self.open.take(party, limits.connections) else {
            let max = limits.connections;
            let reason =
                format!("The server accepts at most {max} connections from one network address.");
            return Err(self.refuse(Limit::ConnectionsPerAddress, status, reason));
        };
        let Some(handshake) = self.handshakes.take(party, limits.handshakes) else {
            let max = limits.handshakes;
            let reason = format!(
                "The server accepts at most {max} connections without a request from one network \
                 address."
            );
            let refused = self.refuse(Limit::Handshakes, status, reason);
            return Err(Refused { open: vec![open, own], ..refused });
        };
        Ok(ConnectionSlots { open: vec![open, own], handshake: Some(handshake) })
    }

    fn refuse(&self, limit: Limit, status: &'static str, reason: String) -> Refused {
        self.metrics.refused(limit);
        Refused { status, reason, open: vec![] }
    }
}

impl Refused {
    /// Answers a request that was not read, and closes the connection. What does not fit into the
    /// kernel's buffer at once is not sent.
    fn tell(self, stream: TcpStream) {
        let body = format!("{} Try again in 10 seconds.\n", self.reason);
        let response = format!(
            "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Retry-After: 10\r\nConnection: close\r\n\r\n{body}",
            self.status,
            body.len()
        );
        if let Ok(mut stream) = stream.into_std() {
            let _ = stream.write(response.as_bytes());
        }
    }
}

/// A connection that has not sent a request, until it does.
#[derive(Clone)]
struct Handshake(Arc<Mutex<Option<Option<Slot>>>>);

impl Handshake {
    /// Records the first request.
    fn complete(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_complete(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// The headers of the first request did not arrive in time.
struct HeadersLate;

async fn serve_one(
    stream: Stream,
    address: SocketAddr,
    router: Router,
    limits: ConnectionLimits,
    handshake: Handshake,
    draining: CancellationToken,
) -> Result<(), HeadersLate> {
    let (router, first) = (TowerToHyperService::new(router), handshake.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        first.complete();
        request.extensions_mut().insert(ConnectInfo(address));
        router.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.idle_time.max(limits.header_time))
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let mut stop = pin!(draining.cancelled());
    let mut late = pin!(time::sleep(limits.header_time));
    let (mut stops, mut waits) = (false, true);
    loop {
        tokio::select! {
            // The client sees what went wrong, if anything.
            _ = connection.as_mut() => return Ok(()),
            () = &mut stop, if !stops => {
                stops = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut late, if waits => {
                waits = false;
                if !handshake.is_complete() {
                    return Err(HeadersLate);
                }
            }
        }
    }
}

/// A connection that is counted until it is closed, also as a websocket.
struct Stream {
    stream: TcpStream,
    _slots: Vec<Slot>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
