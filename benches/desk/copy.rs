//! Loads rows by `COPY … FROM STDIN`, in its text format.

use std::{fmt, io::Cursor, io::Write as _};

use futures_util::SinkExt as _;
use tokio::{sync::mpsc, task};
use tokio_postgres::Client;

/// How many bytes are sent at a time.
const CHUNK: usize = 256 * 1024;
/// How many chunks may wait for Postgres.
const WAITING: usize = 4;
/// An absent value.
pub const NULL: &str = "\\N";

/// Writes the rows of a table.
pub struct Rows {
    chunk: Vec<u8>,
    sender: mpsc::Sender<Cursor<Vec<u8>>>,
}

impl Rows {
    /// Writes a row, whose values are separated by tabs. They must not need to be escaped.
    pub fn write(&mut self, row: fmt::Arguments<'_>) {
        self.chunk.write_fmt(row).expect("memory");
        self.chunk.push(b'\n');
        if self.chunk.len() >= CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK + 4096));
        // Fails if Postgres has refused the rows. That is reported by the receiver.
        let _ = self.sender.blocking_send(Cursor::new(chunk));
    }
}

/// Loads the rows that `produce` writes, in a thread of its own, into the named columns of a table.
pub async fn copy(client: &Client, into: &str, produce: impl FnOnce(&mut Rows) + Send + 'static) {
    let (sender, mut chunks) = mpsc::channel(WAITING);
    let producing = task::spawn_blocking(move || {
        let mut rows = Rows { chunk: vec![], sender };
        produce(&mut rows);
        rows.flush();
    });
    let sink = client.copy_in(&format!("COPY {into} FROM STDIN")).await;
    let mut sink = Box::pin(sink.unwrap_or_else(|error| panic!("{into}: {error:?}")));
    while let Some(chunk) = chunks.recv().await {
        sink.send(chunk).await.unwrap_or_else(|error| panic!("{into}: {error:?}"));
    }
    sink.as_mut().finish().await.unwrap_or_else(|error| panic!("{into}: {error:?}"));
    producing.await.expect("the rows");
}
