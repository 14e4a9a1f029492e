//! Request bodies, read within bounds. Files of multipart requests are bounded in `upload.rs` and
//! `service/upload.rs`.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::StreamExt as _;
use tokio::time;
use tower_http::timeout::TimeoutBody;

use super::refusal::Refusal;

/// The largest JSON body or websocket message, in bytes. The longest comment fits with every
/// character escaped.
pub const MAX_BODY: usize = 1024 * 1024;
/// How much of an oversized body is read and discarded, in bytes. A client that is still
/// sending reads the response only afterwards: cut off earlier, it would see a broken
/// connection.
const MAX_DISCARDED: usize = 64 * MAX_BODY;
/// How long an oversized body is read and discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// A body fails if nothing of it arrives for this long.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a body fail when it stalls.
pub fn limit_stalls(body: Body) -> Body {
    Body::new(TimeoutBody::new(STALL_TIMEOUT, body))
}

/// Reads a body of at most [`MAX_BODY`] bytes.
///
/// # Errors
/// The body is larger, incomplete or stalled.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(MAX_BODY));
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Refusal::bad_request("The body is incomplete or stalled."))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            discard(&mut chunks, bytes.len()).await;
            let message = format!("The body is larger than {MAX_BODY} bytes.");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// Reads and discards the rest of a body, up to a bound; `already_read` counts towards it.
pub async fn discard(chunks: &mut BodyDataStream, already_read: usize) {
    let mut read = already_read;
    let discard = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            read += chunk.len();
            if read > MAX_DISCARDED {
                break;
            }
        }
    };
    let _ = time::timeout(DISCARD_TIMEOUT, discard).await;
}
