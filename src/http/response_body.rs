//! The body of a response that is in memory, and counts as such until it was sent.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// How many bytes are passed on at once. The connection buffers a few of them, and asks for more as
/// the client reads.
pub const CHUNK: usize = 65_536;

/// A body in memory.
struct Chunks(Bytes);

/// A text, and what its caller uses until it was sent.
struct Held<H> {
    text: String,
    _held: H,
}

impl<H> AsRef<[u8]> for Held<H> {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

/// Returns the bytes of a text. They hold a value until the last part of them is dropped.
pub fn holding<H: Send + 'static>(text: String, held: H) -> Bytes {
    Bytes::from_owner(Held { text, _held: held })
}

/// Returns a body of bytes, which the connection gets piece by piece.
pub fn in_chunks(bytes: Bytes) -> Body {
    Body::new(Chunks(bytes))
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.len().min(CHUNK);
        let chunk = self.0.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
