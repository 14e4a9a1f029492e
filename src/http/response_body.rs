//! The body of a response that uses its caller's budget until it was sent.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// How many bytes are passed on at once. The connection buffers a few of them, and asks for more as
/// the client reads.
const CHUNK: usize = 65_536;

/// A body in memory, and what its caller uses until it was sent.
struct HeldBody<H> {
    rest: Bytes,
    held: Option<H>,
}

/// Returns a body that holds a value until it was passed on to the connection, or is dropped.
pub fn holding<H: Send + Unpin + 'static>(text: String, held: H) -> Body {
    Body::new(HeldBody { rest: text.into(), held: Some(held) })
}

impl<H: Unpin> HttpBody for HeldBody<H> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(CHUNK);
        let chunk = self.rest.split_to(length);
        if self.rest.is_empty() {
            self.held = None;
        }
        Poll::Ready((length > 0).then_some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
