//! Notifications between nodes, sent with NOTIFY: hints that the feed has grown, and announcements
//! who has a ticket open. One can be lost, repeated or late. A node that receives a hint reads the
//! feed.

use std::{future, time::Duration};

use diesel_async::SimpleAsyncConnection as _;
use futures_util::{StreamExt as _, stream};
use tokio::time;
use tokio_postgres::AsyncMessage;

use super::{Connection, Database, DbError, pool::chain, presence};

const CHANNEL: &str = "ticketwire_feed";
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Notifies all nodes that the feed has grown to a position. Call it after the commit: NOTIFY in a transaction
/// would serialise all commits on one lock.
pub async fn notify(db: &mut Connection, head: i64) -> Result<(), DbError> {
    db.batch_execute(&format!("NOTIFY {CHANNEL}, '{head}'")).await?;
    Ok(())
}

/// A notification that was received.
pub enum Heard<'n> {
    /// The feed may have grown: up to this position, or up to an unknown one.
    FeedHead(Option<i64>),
    /// An announcement of who has a ticket open, still encoded.
    Presence(&'n str),
}

/// Calls `on_heard` for each notification. After each connection it is called with an unknown head of
/// the feed, because notifications may have been missed before it. Nodes of earlier versions name no
/// position. Uses a connection outside the pool. Runs until it is dropped.
pub async fn listen(database: &Database, on_heard: impl Fn(Heard<'_>)) {
    loop {
        if let Err(error) = listen_once(database, &on_heard).await {
            tracing::warn!(
                error = chain(&error),
                "listening for notifications of other nodes failed, reconnecting"
            );
        }
        time::sleep(RECONNECT_AFTER).await;
    }
}

async fn listen_once(
    database: &Database,
    on_heard: &impl Fn(Heard<'_>),
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = database.connector().raw().await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let subscribe = async {
        let presence = presence::CHANNEL;
        client.batch_execute(&format!("LISTEN {CHANNEL}; LISTEN {presence}")).await?;
        on_heard(Heard::FeedHead(None));
        future::pending().await
    };
    let receive = async {
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message? {
                let payload = notification.payload();
                on_heard(match notification.channel() {
                    presence::CHANNEL => Heard::Presence(payload),
                    _ => Heard::FeedHead(payload.parse().ok()),
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
