//! Request bodies, read within bounds. Multipart requests are bounded in `parts.rs`, `upload.rs` and
//! `service/upload.rs`.

use std::{error::Error, time::Duration};

use async_graphql::{Extensions, Request, ServerError, Variables, parser::types::OperationType};
use axum::{
    BoxError,
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header},
};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{self, Instant};

use super::{
    budgets::BODY_BLOCK,
    characters::{HALF_CHARACTER, whole_characters},
    limits::BodyLimits,
    refusal::Refusal,
    sender::Sender,
    slots::Slot,
};
use crate::metrics::{Limit, Metrics};

/// The largest JSON body or websocket message, in bytes. The longest comment fits with every
/// character escaped.
pub const MAX_BODY: usize = 1024 * 1024;
/// The largest request of a subscription, in bytes: its document and variables are in memory for as long
/// as it lasts.
const MAX_SUBSCRIPTION: usize = 64 * 1024;
/// How many values the JSON of a request may have. In memory a value can take two hundred times the bytes of
/// its text.
const MAX_VALUES: usize = 2_000;
/// How much of an oversized body is read and discarded, in bytes. A client that is still
/// sending reads the response only afterwards: cut off earlier, it would see a broken
/// connection.
const MAX_DISCARDED: usize = 64 * MAX_BODY;
/// How long an oversized body is read and discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a body fails that arrives too slowly.
#[derive(Debug, thiserror::Error)]
pub enum TooSlow {
    /// Too little of it arrived within the window.
    #[error(
        "The body arrives too slowly or has stalled: at least {rate} bytes a second are required, \
         as a mean over {window} seconds."
    )]
    Rate {
        /// The required rate.
        rate: u64,
        /// What the mean is calculated over, in seconds.
        window: u64,
    },
    /// It did not end in time.
    #[error("The body did not arrive within {0} seconds. Send smaller files.")]
    Time(u64),
}

/// Returns the cause of this type that an error has, if any.
pub fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

impl From<&TooSlow> for Refusal {
    fn from(slow: &TooSlow) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, slow.to_string())
    }
}

/// Makes a body fail when it arrives too slowly. Time in which the server does not read it does
/// not count towards the rate.
pub fn pace(body: Body, limits: BodyLimits, metrics: Metrics) -> Body {
    let ends_at = Instant::now() + limits.time;
    let chunks = body.into_data_stream();
    let paced = PacedBody { chunks, limits, metrics, ends_at, waited: Duration::ZERO, arrived: 0 };
    let chunks = stream::unfold(Some(paced), |paced| async move {
        let mut paced = paced?;
        match paced.next().await? {
            Ok(chunk) => Some((Ok(chunk), Some(paced))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Body::from_stream(chunks.fuse())
}

struct PacedBody {
    chunks: BodyDataStream,
    limits: BodyLimits,
    metrics: Metrics,
    ends_at: Instant,
    /// How long the server has waited for the body in the current window.
    waited: Duration,
    /// How many bytes have arrived in the current window.
    arrived: u64,
}

impl PacedBody {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        let BodyLimits { rate, window, time } = self.limits;
        let began_at = Instant::now();
        let window_ends_at = began_at + window.saturating_sub(self.waited);
        let until = window_ends_at.min(self.ends_at);
        let Ok(next) = time::timeout_at(until, self.chunks.next()).await else {
            let (limit, slow) = if until == self.ends_at {
                (Limit::UploadTime, TooSlow::Time(time.as_secs()))
            } else {
                (Limit::BodyRate, TooSlow::Rate { rate, window: window.as_secs() })
            };
            self.metrics.refused(limit);
            return Some(Err(slow.into()));
        };
        let chunk = match next? {
            Ok(chunk) => chunk,
            Err(error) => return Some(Err(error.into())),
        };
        self.waited += began_at.elapsed();
        self.arrived += chunk.len() as u64;
        if self.arrived >= rate.saturating_mul(window.as_secs()) {
            (self.waited, self.arrived) = (Duration::ZERO, 0);
        }
        Some(Ok(chunk))
    }
}

/// What a body takes in memory, until its request was executed.
#[derive(Default)]
pub struct BodyInMemory {
    /// Its size in bytes.
    pub size: usize,
    blocks: Vec<Slot>,
}

impl BodyInMemory {
    /// What a request by GET takes, whose bounds are those of its head.
    pub fn of_query(query: Option<&str>) -> Self {
        Self { size: query.map_or(0, str::len), blocks: Vec::new() }
    }

    /// Takes what a body of this size needs.
    async fn grow(&mut self, size: usize, sender: &Sender<'_>) -> Result<(), Refusal> {
        self.size = size;
        while self.blocks.len() < size.saturating_sub(1) / BODY_BLOCK {
            self.blocks.push(sender.take_block().await?);
        }
        Ok(())
    }
}

/// Reads a body of at most [`MAX_BODY`] bytes. Its memory counts towards the budget of its
/// network, or else of its sender.
///
/// # Errors
/// The body is larger, incomplete or too slow, or its sender's bodies take too much.
pub async fn read(
    headers: &HeaderMap,
    body: Body,
    sender: &Sender<'_>,
) -> Result<(Bytes, BodyInMemory), Refusal> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(BODY_BLOCK));
    let mut in_memory = BodyInMemory::default();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| match cause::<TooSlow>(&error) {
            Some(slow) => slow.into(),
            None => Refusal::bad_request("The body is incomplete."),
        })?;
        if bytes.len() + chunk.len() > MAX_BODY {
            discard(&mut chunks, bytes.len()).await;
            let message = format!("The body is larger than {MAX_BODY} bytes.");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        if let Err(refused) = in_memory.grow(bytes.len() + chunk.len(), sender).await {
            drop((bytes, in_memory));
            discard(&mut chunks, 0).await;
            return Err(refused);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.into(), in_memory))
}

/// Returns the type of an operation whose request has a size that is allowed for it.
///
/// # Errors
/// It is a subscription and too large.
pub fn check_size(
    operation: Option<OperationType>,
    size: usize,
) -> Result<Option<OperationType>, ServerError> {
    if operation != Some(OperationType::Subscription) || size <= MAX_SUBSCRIPTION {
        return Ok(operation);
    }
    let message = format!(
        "A subscription may have {MAX_SUBSCRIPTION} bytes with its variables. Send a shorter one."
    );
    Err(ServerError::new(message, None))
}

/// Checks that the JSON of a request has no more values than any request needs. `name` begins the sentence
/// of the error. Counts what separates values outside of strings, so it is good for broken JSON too.
///
/// # Errors
/// A text that says what is wrong.
pub fn check_values(name: &str, json: &[u8]) -> Result<(), String> {
    let (mut count, mut in_string) = (0_usize, false);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => drop(bytes.next()),
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    if count > MAX_VALUES {
        return Err(format!("{name} has more than {MAX_VALUES} values. Send fewer in a request."));
    }
    Ok(())
}

/// Parses a request. Its `query` may be empty: the parser of documents reports that.
///
/// # Errors
/// The text is not a JSON object with a string `query`.
pub fn parse_request(json: &[u8]) -> serde_json::Result<Request> {
    let RequestBody { query, operation_name, variables, extensions } =
        serde_json::from_slice(json)?;
    let mut request = Request::new(query).variables(variables);
    request.operation_name = operation_name;
    request.extensions = extensions;
    Ok(request)
}

/// Says what is wrong with a request that [`parse_request`] does not accept, as a sentence that begins
/// with its name.
pub fn problem(name: &str, json: &[u8]) -> String {
    let value = match serde_json::from_slice(json) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return format!("{name} must be a JSON object with a string `query`."),
        Err(_) if str::from_utf8(json).is_ok_and(|it| whole_characters(it).is_some()) => {
            return format!("{name} {HALF_CHARACTER}");
        }
        Err(error) => return format!("{name} is not valid JSON: {error}."),
    };
    let is = |member: &str, fits: fn(&Value) -> bool| {
        value.get(member).is_none_or(|value| value.is_null() || fits(value))
    };
    match value.get("query") {
        None => "The `query` is missing.".into(),
        Some(query) if !query.is_string() => "The `query` must be a string.".into(),
        Some(_) if !is("operationName", Value::is_string) => {
            "The `operationName` must be a string.".into()
        }
        Some(_) if !is("variables", Value::is_object) => {
            "The `variables` must be a JSON object.".into()
        }
        Some(_) if !is("extensions", Value::is_object) => {
            "The `extensions` must be a JSON object.".into()
        }
        Some(_) => format!("{name} has a member twice."),
    }
}

/// A request as JSON. async-graphql's own type has an empty `query` if it is missing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestBody {
    query: String,
    operation_name: Option<String>,
    #[serde(default)]
    variables: Variables,
    #[serde(default)]
    extensions: Extensions,
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
