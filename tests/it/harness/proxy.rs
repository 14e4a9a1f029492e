//! A TCP proxy that breaks: it cuts its connections in the middle of what the server
//! says, or stops reading from it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Little, so that a server that is not read from soon feels it.
const RECEIVE_BUFFER: u32 = 4 * 1024;

/// A running proxy.
pub struct Proxy {
    /// `127.0.0.1:port`.
    pub address: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    upstream: Mutex<String>,
    orders: watch::Sender<Orders>,
    open: AtomicUsize,
    cuts: watch::Sender<usize>,
}

/// What the connections are to do.
#[derive(Clone, Copy, Default)]
struct Orders {
    /// How many cuts were ordered: a connection that was open then is to be cut.
    cuts: usize,
    /// So many bytes are forwarded before the cut.
    after: usize,
    stalled: bool,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// A proxy before an address.
    pub async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            upstream: Mutex::new(upstream.to_owned()),
            orders: watch::Sender::default(),
            open: AtomicUsize::new(0),
            cuts: watch::Sender::default(),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                connections.spawn(async move {
                    state.open.fetch_add(1, Ordering::SeqCst);
                    let _ = state.forward(client).await;
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, task }
    }

    /// Forwards new connections to another address.
    pub fn lead_to(&self, upstream: &str) {
        upstream.clone_into(&mut self.state.upstream.lock().unwrap());
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Cuts each connection that is open: of what the server says next so many bytes are
    /// forwarded, and never all. Returns when the first was cut.
    pub async fn cut(&self, after: usize) {
        let mut cuts = self.state.cuts.subscribe();
        let before = *cuts.borrow_and_update();
        self.state.orders.send_modify(|orders| {
            orders.cuts += 1;
            orders.after = after;
        });
        cuts.wait_for(|cuts| *cuts > before).await.unwrap();
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        *self.state.cuts.borrow()
    }

    /// Stops reading from the server, or goes on.
    pub fn stall(&self, stalled: bool) {
        self.state.orders.send_modify(|orders| orders.stalled = stalled);
    }
}

impl State {
    async fn forward(&self, client: TcpStream) -> io::Result<()> {
        let orders = self.orders.subscribe();
        let upstream = self.upstream.lock().unwrap().parse().unwrap();
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let (mut from_client, to_client) = client.into_split();
        let (from_server, mut to_server) = socket.connect(upstream).await?.into_split();
        // Whichever side ends, the other is dropped with it.
        tokio::select! {
            asked = io::copy(&mut from_client, &mut to_server) => asked.map(drop),
            said = self.forward_answers(orders, from_server, to_client) => said,
        }
    }

    async fn forward_answers(
        &self,
        mut orders: watch::Receiver<Orders>,
        mut server: OwnedReadHalf,
        mut client: OwnedWriteHalf,
    ) -> io::Result<()> {
        let cuts_before = orders.borrow().cuts;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let _ = orders.wait_for(|orders| !orders.stalled).await;
            let length = tokio::select! {
                length = server.read(&mut buffer) => length?,
                _ = orders.changed() => continue,
            };
            if length == 0 {
                return Ok(());
            }
            let Orders { cuts, after, .. } = *orders.borrow();
            if cuts > cuts_before {
                client.write_all(&buffer[..after.min(length - 1)]).await?;
                self.cuts.send_modify(|cuts| *cuts += 1);
                return Ok(());
            }
            client.write_all(&buffer[..length]).await?;
        }
    }
}
