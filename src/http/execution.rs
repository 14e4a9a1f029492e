//! How an operation runs if its caller can receive more than one response: over a websocket, or
//! as a stream of server-sent events.
//!
//! ```text
//!   websocket.rs                    sse.rs                       graphql.rs
//!   up to 100 operations,           one operation,               one response as JSON:
//!   polled by multiplexer.rs        polled as its client reads   runs on the schema directly
//!        │                               │
//!        └──────────────┬────────────────┘
//!                       ▼
//!                     start
//!                       │
//!        ┌──────────────┴────────────────┐
//!        ▼                               ▼
//!    direct.rs                       fan_out.rs
//!    any operation: the schema       a shareable subscription: fan_out.rs reads
//!    executes it, in a task          its events, and executes each message once
//!    of its own                      for a group of subscribers (group.rs)
//!        │                               │
//!        └──────────────┬────────────────┘
//!                       ▼
//!    Operation, a stream of Output (output.rs):
//!    Next*, then Complete, Error or Interrupted
//! ```
//!
//! # Direct execution or fan-out
//!
//! Most subscribers of a busy ticket or queue ask for the same fields. A message is executed
//! once for all of them, and they send the same bytes, if both hold:
//!
//! - The document may be shared: `graphql::can_fan_out` allows only fields whose values depend
//!   on the message and the subscriber's class. Everything else is executed directly.
//! - The subscribers belong to the same group ([`group::FanOutGroups::find`]). Its key is the
//!   document, the operation's name and the subscriber's class: the staff of one role and
//!   language, or one customer with one language. Variables are not part of it, since they only
//!   select which messages a subscriber receives.
//!
//! A group exists as long as it has a subscriber, and its executions end with it. Its responses are
//! cached by cursor (`response_cache.rs`) and shared for at most `MAX_AGE` (750 ms), since a
//! response shows its ticket as of its execution. After that they are removed, whether or not
//! anybody asks for them. The responses of all groups together take at most
//! `limits.shared_response_bytes`; the oldest are removed first. Responses with errors are not
//! cached.
//!
//! Authorisation is never shared: each subscriber reads its own `events::Subscription`, which
//! checks every event for that caller.
//!
//! # How a stream ends
//!
//! | cause | noticed by | websocket | event stream |
//! | --- | --- | --- | --- |
//! | the operation is complete | `Output::Complete` | `complete` | `complete` |
//! | the client cancels | `FromClient::Complete` | operation dropped | connection closed |
//! | the session ends | `StreamEnd::SessionEnded`, `EventLog::watch_session` | closes with 4401 | `UNAUTHENTICATED`, `complete` |
//! | the client is too slow | see below | closes with 1013 | ends without `complete` |
//! | the server fails | `StreamEnd::Failed` | closes with 1013 | ends without `complete` |
//! | the server stops | `Api::draining` | closes with 1012, after the last query or mutation | ends without `complete` |
//!
//! After 1012 and 1013, and after a stream that ends without `complete`, clients reconnect and
//! resume at their last cursor. No event is skipped.
//!
//! # Where a slow client is noticed
//!
//! An event stream's operation is polled only as fast as its client reads. A websocket's are not
//! polled while `QUEUE_FULL` bytes (256 KiB) are queued in `websocket/duplex.rs`. Meanwhile the
//! events wait in the subscription's buffer (`events/buffer.rs`); if that overflows, the
//! subscription reads them again from memory. A client is cut off at one of three places:
//!
//! - **`websocket.rs`, `Connection::on_timer`**: the client has read nothing of what is queued
//!   for it for `WRITE_TIMEOUT` (10 s). The socket is closed with `CloseReason::TOO_SLOW` (1013).
//! - **`websocket.rs`, `Connection::send_output`**: memory no longer has what the client missed
//!   (`StreamEnd::ClientTooSlow`, from `events/subscription.rs`). The socket is closed with the
//!   same reason. `sse.rs` ends its stream in this case.
//! - **`connection.rs`, `USER_TIMEOUT`**: the kernel closes a connection whose client accepts no
//!   data for 45 s (on Linux). Event streams have no other write timeout.
//!
//! # Errors
//!
//! - Nothing was executed (parsing, validation, a failed subscription): `Output::Error`. A
//!   websocket sends `error`; an event stream sends the errors, then `complete`.
//! - A field failed: `Output::Next` with `errors`, like any response.
//! - A query's caller leaves too many answers unread (`Budgets::unsent`): `Output::Next` with the
//!   error `RATE_LIMITED` and no data.
//! - A query or a mutation has exceeded its budget: `Output::Next` with one error and no data. A
//!   message of a subscription that would be too large is replaced by that error.
//! - A subscription's message failed with `INTERNAL`, `UNAVAILABLE` or `TIMEOUT`:
//!   `Output::Interrupted`. If the stream continued, the client would miss the message. It resumes
//!   instead, and reads it again.
//! - A subscription's message failed with any other code, for example with `NOT_FOUND` because the
//!   subscriber lost access before it was executed: `Output::Next` with `errors`, like any response.
//!   `events::Subscription` alone decides which messages a subscriber receives: no message is dropped
//!   because one of its fields failed.

use async_graphql::{Request, parser::types::OperationType};

mod direct;
mod fan_out;
pub mod group;
mod introspection;
mod operation;
mod output;
mod requested;
mod response_cache;
mod variables;

use super::api::Api;
use crate::domain::{actor::Actor, session::ClientOrigin};
pub use direct::execute_once;
pub use operation::OperationLog;
pub use output::{Operation, Output};

/// Starts an operation of this type, whose document the [guard](super::guard) has validated.
/// A subscription that fans out is authorised before this returns.
pub async fn start(
    api: Api,
    actor: Actor,
    origin: ClientOrigin,
    mut request: Request,
    operation: Option<OperationType>,
) -> Operation {
    let group = match operation {
        Some(OperationType::Subscription) => api.fan_out.find(&mut request, &actor),
        _ => None,
    };
    match group {
        Some(group) => fan_out::start(api, actor, origin, request, group).await,
        None => direct::execute(&api, actor, origin, request, operation),
    }
}
