//! Live streams of the event log.
//!
//! Writers append events to the table `events`. From there an event reaches the streams in these
//! steps:
//!
//! 1. The statement that appends it gives it a position in the feed (`db/placing.rs`), or leaves
//!    that to `sequencer.rs`.
//! 2. `tailer.rs` publishes to the hub what its node has placed (`db/feed_hints.rs`), and reads what
//!    others have, once per node.
//!    `announcer.rs` tells other nodes what its node has placed.
//! 3. `hub.rs` adds it to the latest events (`ring.rs`), and to the buffers (`buffer.rs`) of the
//!    streams that are registered (`registration.rs`) under its topics (`topic.rs`).
//! 4. `subscription.rs` replays the events that its caller missed (`replay.rs`), and then delivers
//!    those in its buffer. It authorises every event.
//!
//! `notification.rs` does the same for a person's notifications, which `notified.rs` wakes.
//! `continuity.rs` decides whether a stream can continue after a cursor or must resync.
//! `session.rs` decides which events end the streams of a session.
//!
//! `presence.rs` knows who has a ticket open, and `presence_stream.rs` shows it. It is not in the
//! log.
//!
//! `consumer.rs` runs the consumers of the feed. It sets aside the events that they cannot process.
//! `search_index.rs` is the one that adds new texts to the search.

mod announcer;
mod buffer;
mod consumer;
mod continuity;
mod error;
mod hub;
mod item;
mod keyed;
mod log;
mod notification;
mod notified;
mod presence;
mod presence_stream;
mod registration;
mod replay;
mod replay_turns;
mod ring;
mod scope;
mod search_index;
mod sequencer;
mod session;
mod session_watch;
mod shared_read;
mod subscription;
mod tailer;
mod task;
mod topic;
mod unread_counts;

pub use consumer::{Consumer, ConsumerRunner};
pub use error::SubscribeError;
pub use item::{Item, ResyncReason, StreamEnd};
pub use log::EventLog;
pub use notification::{NotificationItem, NotificationStream};
pub use presence_stream::{PresenceItem, PresenceStream};
pub use scope::StreamScope;
pub use search_index::SearchIndex;
pub use session_watch::SessionWatch;
pub use subscription::Subscription;
pub use task::{run_to_completion, survive_panics};
pub use unread_counts::UnreadCounts;
