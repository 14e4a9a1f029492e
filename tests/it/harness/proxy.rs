//! A TCP proxy that fails on demand: it cuts connections in the middle of what the server sends, or
//! stops reading from the server.

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

/// Small, so that the server soon notices that nobody reads.
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
    commands: watch::Sender<Commands>,
    open: AtomicUsize,
    cuts: watch::Sender<usize>,
}

/// What the connections must do.
#[derive(Clone, Copy, Default)]
struct Commands {
    /// How many cuts were requested. Each applies to the connections that were open at that time.
    cuts: usize,
    /// How many bytes are forwarded before the cut.
    after: usize,
    stalled: bool,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts a proxy in front of an address.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            upstream: Mutex::new(upstream.to_owned()),
            commands: watch::Sender::default(),
            open: AtomicUsize::new(0),
            cuts: watch::Sender::default(),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // Its connections end with this task.
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
    pub fn set_upstream(&self, upstream: &str) {
        upstream.clone_into(&mut self.state.upstream.lock().unwrap());
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Cuts every open connection: forwards at most `after` bytes of what the server sends next,
    /// and never all of it. Returns when the first connection is cut.
    pub async fn cut(&self, after: usize) {
        let mut cuts = self.state.cuts.subscribe();
        let before = *cuts.borrow_and_update();
        self.cut_next(after);
        cuts.wait_for(|cuts| *cuts > before).await.unwrap();
    }

    /// Like [`cut`](Self::cut), but returns at once.
    pub fn cut_next(&self, after: usize) {
        self.state.commands.send_modify(|commands| {
            commands.cuts += 1;
            commands.after = after;
        });
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        *self.state.cuts.borrow()
    }

    /// Stops or resumes reading from the server.
    pub fn stall(&self, stalled: bool) {
        self.state.commands.send_modify(|commands| commands.stalled = stalled);
    }
}

impl State {
    async fn forward(&self, client: TcpStream) -> io::Result<()> {
        let commands = self.commands.subscribe();
        let upstream = self.upstream.lock().unwrap().parse().unwrap();
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let (mut from_client, to_client) = client.into_split();
        let (from_server, mut to_server) = socket.connect(upstream).await?.into_split();
        // When one side ends, the other is dropped too.
        tokio::select! {
            sent = io::copy(&mut from_client, &mut to_server) => sent.map(drop),
            received = self.forward_responses(commands, from_server, to_client) => received,
        }
    }

    async fn forward_responses(
        &self,
        mut commands: watch::Receiver<Commands>,
        mut server: OwnedReadHalf,
        mut client: OwnedWriteHalf,
    ) -> io::Result<()> {
        let cuts_before = commands.borrow().cuts;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let _ = commands.wait_for(|commands| !commands.stalled).await;
            let length = tokio::select! {
                length = server.read(&mut buffer) => length?,
                _ = commands.changed() => continue,
            };
            if length == 0 {
                return Ok(());
            }
            let Commands { cuts, after, .. } = *commands.borrow();
            if cuts > cuts_before {
                client.write_all(&buffer[..after.min(length - 1)]).await?;
                self.cuts.send_modify(|cuts| *cuts += 1);
                return Ok(());
            }
            client.write_all(&buffer[..length]).await?;
        }
    }
}
