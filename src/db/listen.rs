//! Notifications between nodes, sent with NOTIFY: hints that the feed has grown, and announcements
//! who has a ticket open. One can be lost, repeated or late. A node that receives a hint reads the
//! feed.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time;
use tokio_postgres::{AsyncMessage, Client};

use super::{Database, presence};
use crate::domain::causes::with_causes;

/// The channel of the hints that the feed has grown.
pub(super) const CHANNEL: &str = "ticketwire_feed";
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// How often the database is asked whether it is still there, and how long it may take to answer. A
/// connection that only receives would not notice.
const ASK_EVERY: Duration = Duration::from_secs(15);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A hint that the feed has grown. It is sent after the events are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedHint {
    /// The position up to which it has grown.
    pub head: i64,
    /// The node that announces them.
    pub node: i64,
}

impl FeedHint {
    /// Reads the payload of a notification. Returns `None` for that of an earlier version.
    fn parse(payload: &str) -> Option<Self> {
        let (head, node) = payload.split_once(' ')?;
        Some(Self { head: head.parse().ok()?, node: node.parse().ok()? })
    }
}

/// A notification that was received.
pub enum Heard<'n> {
    /// The feed may have grown, as the hint says or up to an unknown position.
    Feed(Option<FeedHint>),
    /// An announcement of who has a ticket open, still encoded.
    Presence(&'n str),
}

/// Calls `on_heard` for each notification. After each connection it is called as if the feed had
/// grown, because notifications may have been missed before it. Uses a connection outside the pool. Runs
/// until it is dropped.
pub async fn listen(database: &Database, on_heard: impl Fn(Heard<'_>)) {
    loop {
        match AssertUnwindSafe(listen_once(database, &on_heard)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(
                error,
                "listening for notifications of other nodes failed, reconnecting"
            ),
            Err(_) => {
                tracing::error!("a notification of another node caused a panic, reconnecting");
            }
        }
        time::sleep(RECONNECT_AFTER).await;
    }
}

async fn listen_once(database: &Database, on_heard: &impl Fn(Heard<'_>)) -> Result<(), String> {
    let (client, mut connection) = database.connector().raw().await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let subscribe = async {
        let presence = presence::CHANNEL;
        answer(&client, &format!("LISTEN {CHANNEL}; LISTEN {presence}")).await?;
        on_heard(Heard::Feed(None));
        loop {
            time::sleep(ASK_EVERY).await;
            answer(&client, "").await?;
        }
    };
    let receive = async {
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| with_causes(&error))?;
            if let AsyncMessage::Notification(notification) = message {
                let payload = notification.payload();
                on_heard(match notification.channel() {
                    presence::CHANNEL => Heard::Presence(payload),
                    _ => Heard::Feed(FeedHint::parse(payload)),
                });
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = subscribe => ended,
        ended = receive => ended,
    }
}

async fn answer(client: &Client, statement: &str) -> Result<(), String> {
    match time::timeout(ANSWER_WITHIN, client.batch_execute(statement)).await {
        Ok(answered) => answered.map_err(|error| with_causes(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_of_earlier_versions_name_no_node() {
        assert_eq!(FeedHint::parse("12 -7"), Some(FeedHint { head: 12, node: -7 }));
        assert_eq!(FeedHint::parse("12"), None);
        assert_eq!(FeedHint::parse(""), None);
    }
}
