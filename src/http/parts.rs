//! The parts of a multipart body. multer reads all that has arrived before it looks for the next part,
//! and bounds neither what comes before a part nor the part's headers.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use axum::{
    BoxError,
    body::{BodyDataStream, Bytes},
};
use futures_util::{Stream, StreamExt as _};
use multer::{Field, Multipart};

/// How many bytes may arrive before the content of a part begins: its headers, and before the first
/// part also what is not part of any. A chunk of the body more is read.
pub const MAX_BEFORE_CONTENT: usize = 64 * 1024;

/// More than [`MAX_BEFORE_CONTENT`] bytes have arrived, and no content.
#[derive(Debug, thiserror::Error)]
#[error("no part begins within {MAX_BEFORE_CONTENT} bytes")]
pub struct NoContent;

/// Reads the parts of a body, one after the other.
pub struct Parts<'b> {
    parts: Multipart<'b>,
    left: Arc<AtomicUsize>,
}

impl<'b> Parts<'b> {
    /// Creates a reader of a body with a boundary.
    pub fn new(body: &'b mut BodyDataStream, boundary: String) -> Self {
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let chunks = Chunks { body, left: Arc::clone(&left), pauses: false };
        Self { parts: Multipart::new(chunks, boundary), left }
    }

    /// Reads up to the content of the next part. Returns `None` at the end of the last one. The content of
    /// the part before must have been read.
    ///
    /// # Errors
    /// The body is malformed, incomplete or too slow, or its error is [`NoContent`].
    pub async fn next(&mut self) -> multer::Result<Option<Field<'b>>> {
        self.left.store(MAX_BEFORE_CONTENT, Relaxed);
        let part = self.parts.next_field().await;
        self.left.store(usize::MAX, Relaxed);
        part
    }
}

/// The chunks of a body, at most one each time that the task is woken: multer would otherwise collect all
/// that a fast sender has sent.
struct Chunks<'b> {
    body: &'b mut BodyDataStream,
    /// How many more bytes may arrive.
    left: Arc<AtomicUsize>,
    pauses: bool,
}

impl Stream for Chunks<'_> {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.pauses {
            self.pauses = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = self.left.load(Relaxed);
        if left == 0 {
            return Poll::Ready(Some(Err(NoContent.into())));
        }
        let Some(chunk) = ready!(self.body.poll_next_unpin(context)) else {
            return Poll::Ready(None);
        };
        if let Ok(chunk) = &chunk
            && left != usize::MAX
        {
            self.left.store(left.saturating_sub(chunk.len()), Relaxed);
        }
        self.pauses = true;
        Poll::Ready(Some(chunk.map_err(BoxError::from)))
    }
}
