//! Connections: how many are accepted, their options and TLS, and how long they may wait for headers.
//!
//! A refused connection receives a response that says why, and is closed; with TLS it is only closed.
//! All limits here apply before anybody is signed in; `budgets.rs` has those of callers.

use std::{
    convert::Infallible,
    io::{self, IoSlice, Write as _},
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderValue, StatusCode, header::CONNECTION},
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
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::{self, Instant},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    budgets::REFUSAL_DELAY,
    limits::ConnectionLimits,
    observe::Rejections,
    slots::{Party, Slot, Slots},
    tls::{Tls, failure},
};
use crate::{
    domain::{poll_again::poll_again, session::network},
    metrics::{Limit, Metrics, Rejection},
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

/// How long a stopping server waits for the first request of a connection. A proxy that has opened
/// one sends its request at once, and reports a failure to its client if the server hangs up first.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(1);

/// The most bytes of a request's head that are kept until it is complete: a URL of the largest size, and
/// its headers.
const MAX_HEADERS: usize = 80 * 1024;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, §5.1).
const HANDSHAKE_RECORD: u8 = 22;
const TLS_REQUIRED: &str = "This port requires TLS: use a URL that starts with https:// or wss://.";

/// Serves the connections of a socket.
pub struct Server {
    /// The routes.
    pub router: Router,
    /// The limits of connections.
    pub limits: ConnectionLimits,
    /// TLS, or `None` for plain connections.
    pub tls: Option<Tls>,
    /// The counters of this server.
    pub metrics: Metrics,
    /// Logs and counts the requests that do not reach the router.
    pub rejections: Rejections,
    /// Cancelled when clients should go to other nodes: each response then ends its connection.
    pub leaving: CancellationToken,
    /// Cancelled when the server must stop.
    pub draining: CancellationToken,
}

impl Server {
    /// Serves until `draining` is cancelled. Then it accepts no more connections, and ends once the
    /// requests under way have been answered.
    pub async fn serve(self, socket: TcpListener) {
        let server = Arc::new(self);
        let (limits, metrics) = (server.limits, server.metrics.clone());
        let door = Door { limits, metrics, open: Slots::default(), handshakes: Slots::default() };
        let connections = TaskTracker::new();
        while let Some(accepted) = server.draining.run_until_cancelled(accept(&socket)).await {
            server.enter(&door, accepted, &connections);
        }
        server.enter_waiting(socket, &door, &connections);
        connections.close();
        connections.wait().await;
    }

    /// Serves the connections that the kernel has accepted, and closes the socket. Their clients may
    /// have sent requests already, which would be reset.
    fn enter_waiting(
        self: &Arc<Self>,
        socket: TcpListener,
        door: &Door,
        connections: &TaskTracker,
    ) {
        // The runtime may not have noticed them yet, so that its own socket would not return them.
        let Ok(socket) = socket.into_std() else { return };
        while let Ok((stream, address)) = socket.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.enter(door, (stream, address), connections);
            }
        }
    }

    /// Serves a connection, or refuses it.
    fn enter(
        self: &Arc<Self>,
        door: &Door,
        (stream, address): (TcpStream, SocketAddr),
        connections: &TaskTracker,
    ) {
        match door.enter(address.ip()) {
            Ok(slots) => {
                prepare(&stream);
                let stream =
                    Stream { tcp: stream, traffic: Traffic::default(), _slots: slots.open };
                let (server, handshake) = (Arc::clone(self), Handshake::new(slots.handshake));
                // hyper wakes its task to read a body, and async-graphql to execute a query.
                connections.spawn(poll_again(async move {
                    if server.serve_one(stream, address, handshake).await.is_err() {
                        server.metrics.refused(Limit::HeaderTime);
                    }
                }));
            }
            Err(_) if self.tls.is_some() => {}
            Err(refused) if refused.open.is_empty() => refused.tell(stream),
            Err(refused) => drop(tokio::spawn(async move {
                time::sleep(REFUSAL_DELAY).await;
                refused.tell(stream);
            })),
        }
    }

    /// Serves a connection. The headers of its first request, and its TLS handshake, must arrive in
    /// time.
    async fn serve_one(
        &self,
        stream: Stream,
        address: SocketAddr,
        handshake: Handshake,
    ) -> Result<(), HeadersLate> {
        let late = Instant::now() + self.limits.header_time;
        let peer = Peer { address, traffic: stream.traffic.clone() };
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, peer, handshake, late).await;
        };
        let accepted = time::timeout_at(late, async {
            match stream.first_byte().await {
                Some(HANDSHAKE_RECORD) => tls.accept(stream).await.map(Some),
                Some(_) => {
                    stream.require_tls();
                    self.rejections.add(Rejection::PlainHttp, None, address.ip());
                    Ok(None)
                }
                // It tried whether the port is open, as a balancer does.
                None => Ok(None),
            }
        });
        match accepted.await {
            Ok(Ok(Some(stream))) => self.serve_http(stream, peer, handshake, late).await,
            Ok(Ok(None)) => Ok(()),
            Ok(Err(error)) => {
                self.rejections.add_handshake(failure(&error), &error, address.ip());
                Ok(())
            }
            Err(_) => Err(HeadersLate),
        }
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Peer { address, traffic }: Peer,
        handshake: Handshake,
        late: Instant,
    ) -> Result<(), HeadersLate> {
        let (router, first) = (TowerToHyperService::new(self.router.clone()), handshake.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            first.complete();
            request.extensions_mut().insert(ConnectInfo(address));
            request.extensions_mut().insert(traffic.clone());
            let response = router.call(request);
            async {
                let mut response = response.await?;
                if self.leaving.is_cancelled()
                    && response.status() != StatusCode::SWITCHING_PROTOCOLS
                {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.idle_time.max(self.limits.header_time))
                .max_buf_size(MAX_HEADERS)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        );
        let mut stop = pin!(async {
            self.draining.cancelled().await;
            let _ = time::timeout(FIRST_REQUEST_TIME, handshake.completed()).await;
        });
        let mut late = pin!(time::sleep_until(late));
        let (mut stops, mut waits) = (false, true);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended
                        && let Some(reason) = rejection(&error)
                    {
                        self.rejections.add(reason, Some(&error), address.ip());
                    }
                    return Ok(());
                }
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
}

/// The client of a connection.
struct Peer {
    address: SocketAddr,
    traffic: Traffic,
}

/// Returns why a request was rejected that could not be read, or `None` if a connection ended for
/// another reason.
fn rejection(error: &hyper::Error) -> Option<Rejection> {
    if error.is_parse_version_h2() {
        Some(Rejection::Http2)
    } else if error.is_parse_too_large() {
        Some(Rejection::TooLarge)
    } else {
        error.is_parse().then_some(Rejection::Malformed)
    }
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
    /// The slots of a connection that receives its response only later.
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
        let body = format!("{} Try again in 10 seconds.", self.reason);
        if let Ok(mut stream) = stream.into_std() {
            let _ = stream.write(response(self.status, "Retry-After: 10\r\n", &body).as_bytes());
        }
    }
}

/// Returns a response with a line of text, after which the connection is closed.
fn response(status: &str, headers: &str, line: &str) -> String {
    let length = line.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         {headers}Connection: close\r\n\r\n{line}\n"
    )
}

/// A connection that has not sent a request, until it does.
#[derive(Clone)]
struct Handshake(Arc<FirstRequest>);

struct FirstRequest {
    /// `None` once the first request has arrived.
    slot: Mutex<Option<Option<Slot>>>,
    arrived: Notify,
}

impl Handshake {
    fn new(slot: Option<Slot>) -> Self {
        Self(Arc::new(FirstRequest { slot: Mutex::new(Some(slot)), arrived: Notify::new() }))
    }

    /// Records the first request.
    fn complete(&self) {
        let first = self.0.slot.lock().take();
        if first.is_some() {
            self.0.arrived.notify_waiters();
        }
    }

    fn is_complete(&self) -> bool {
        self.0.slot.lock().is_none()
    }

    /// Waits for the first request.
    async fn completed(&self) {
        let arrived = self.0.arrived.notified();
        if !self.is_complete() {
            arrived.await;
        }
    }
}

/// The TLS handshake or the headers of the first request did not arrive in time.
struct HeadersLate;

/// A connection that is counted until it is closed, also as a websocket.
struct Stream {
    tcp: TcpStream,
    traffic: Traffic,
    _slots: Vec<Slot>,
}

/// How many bytes the client of a connection has accepted, and how many have arrived from it. With TLS,
/// both are encrypted. Clones share the counts.
#[derive(Clone, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    arrived: AtomicU64,
}

impl Traffic {
    /// Returns how many bytes the client has accepted.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Returns how many bytes have arrived.
    pub fn arrived(&self) -> u64 {
        self.0.arrived.load(Ordering::Relaxed)
    }

    fn count_written(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.0.accepted.fetch_add(*count as u64, Ordering::Relaxed);
        }
    }
}

impl Stream {
    /// Waits for the first byte. Returns `None` if the client closes the connection instead.
    async fn first_byte(&self) -> Option<u8> {
        let mut first = [0];
        let count = self.tcp.peek(&mut first).await.ok()?;
        (count > 0).then_some(first[0])
    }

    /// Answers a request that was sent without TLS. What does not fit into the kernel's buffer at
    /// once is not sent.
    fn require_tls(&self) {
        // Unread bytes would make the kernel reset the connection, and the answer be lost.
        let _ = self.tcp.try_read(&mut [0; 16 * 1024]);
        let answer = response("400 Bad Request", "", TLS_REQUIRED);
        let _ = self.tcp.try_write(answer.as_bytes());
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        self.traffic.0.arrived.fetch_add(count as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.traffic.count_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.traffic.count_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
