//! The parts of a multipart body. multer bounds neither what comes before a part nor the part's headers,
//! and collects all that a fast sender has sent before it looks for either.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
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
    gauge: Arc<Gauge>,
}

/// What may be read before the content of a part.
struct Gauge {
    /// The number of bytes, or `usize::MAX` while content is read.
    left: AtomicUsize,
    /// Whether a chunk may be read before the next search in what has arrived.
    may_read: AtomicBool,
}

impl<'b> Parts<'b> {
    /// Creates a reader of a body with a boundary.
    pub fn new(body: &'b mut BodyDataStream, boundary: String) -> Self {
        let gauge = Gauge { left: AtomicUsize::new(usize::MAX), may_read: AtomicBool::new(false) };
        let gauge = Arc::new(gauge);
        let chunks = Chunks { body, gauge: Arc::clone(&gauge) };
        Self { parts: Multipart::new(chunks, boundary), gauge }
    }

    /// Reads up to the content of the next part. Returns `None` at the end of the last one. The content of
    /// the part before must have been read.
    ///
    /// # Errors
    /// The body is malformed, incomplete or too slow, or its error is [`NoContent`].
    pub async fn next(&mut self) -> multer::Result<Option<Field<'b>>> {
        self.gauge.left.store(MAX_BEFORE_CONTENT, Relaxed);
        let part = poll_fn(|context| {
            self.gauge.may_read.store(true, Relaxed);
            self.parts.poll_next_field(context)
        });
        let part = part.await;
        self.gauge.left.store(usize::MAX, Relaxed);
        part
    }
}

/// The chunks of a body.
struct Chunks<'b> {
    body: &'b mut BodyDataStream,
    gauge: Arc<Gauge>,
}

impl Stream for Chunks<'_> {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let left = self.gauge.left.load(Relaxed);
        let is_bounded = left != usize::MAX;
        if is_bounded && !self.gauge.may_read.swap(false, Relaxed) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if left == 0 {
            return Poll::Ready(Some(Err(NoContent.into())));
        }
        let Some(chunk) = ready!(self.body.poll_next_unpin(context)) else {
            return Poll::Ready(None);
        };
        if let Ok(chunk) = &chunk
            && is_bounded
        {
            self.gauge.left.store(left.saturating_sub(chunk.len()), Relaxed);
        }
        Poll::Ready(Some(chunk.map_err(BoxError::from)))
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_part_is_found_however_its_chunks_are_cut() {
        let head = "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n";
        let body = format!("{head}{}\r\n{head}last\r\n--b--\r\n", "x".repeat(100_000));
        for cut in (0..80).chain(100_000..100_090) {
            let (first, rest) = body.split_at(cut);
            let chunks = [first, rest].map(|chunk| Ok::<_, BoxError>(chunk.to_owned()));
            let mut chunks = Body::from_stream(stream::iter(chunks)).into_data_stream();
            let mut parts = Parts::new(&mut chunks, "b".into());
            for expected in [100_000, 4] {
                let content = parts.next().await.unwrap().unwrap().bytes().await.unwrap();
                assert_eq!(content.len(), expected, "{cut}");
            }
            assert!(parts.next().await.unwrap().is_none(), "{cut}");
        }
    }
}
