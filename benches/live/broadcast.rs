//! The limit of fan-out: a broadcast of shared frames by bare axum, without a database or
//! GraphQL.

use std::{
    collections::HashMap,
    process::Stdio,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{
        Path, State, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    response::Response,
    routing::{get, post},
};
use futures_util::StreamExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::mpsc,
};

type Topics = Arc<Mutex<HashMap<String, Vec<mpsc::UnboundedSender<Utf8Bytes>>>>>;

/// Prints the address and serves until the process is killed.
pub async fn serve() {
    let router = Router::new()
        .route("/{topic}", get(subscribe))
        .route("/{topic}", post(publish))
        .with_state(Topics::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router).await.expect("a server");
}

async fn publish(State(topics): State<Topics>, Path(topic): Path<String>, text: String) {
    let frame = Utf8Bytes::from(text);
    for subscriber in topics.lock().expect("a lock").get(&topic).into_iter().flatten() {
        let _ = subscriber.send(frame.clone());
    }
}

async fn subscribe(
    State(topics): State<Topics>,
    Path(topic): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.read_buffer_size(4 * 1024).write_buffer_size(0).on_upgrade(
        async move |socket: WebSocket| {
            let (sender, mut frames) = mpsc::unbounded_channel();
            topics.lock().expect("a lock").entry(topic).or_default().push(sender);
            let (mut write, mut read) = socket.split();
            let writing = async {
                use futures_util::SinkExt as _;
                let _ = write.send(Message::text("ready")).await;
                while let Some(frame) = frames.recv().await
                    && write.send(Message::Text(frame)).await.is_ok()
                {}
            };
            let reading = async { while let Some(Ok(_)) = read.next().await {} };
            tokio::select! {
                () = writing => {}
                () = reading => {}
            }
        },
    )
}

/// The broadcast server, in a process of its own.
pub struct Broadcast {
    child: Child,
    /// `127.0.0.1:port`.
    pub address: String,
}

impl Broadcast {
    /// Starts the server.
    pub async fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("broadcast").stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("a broadcast");
        let stdout = child.stdout.take().expect("its output");
        let line = BufReader::new(stdout).lines().next_line().await.expect("a line");
        Self { child, address: line.expect("an address") }
    }

    /// Returns the server's process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running process")
    }
}
