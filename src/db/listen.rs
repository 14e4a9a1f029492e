//! Hints between nodes that the feed has grown, sent with LISTEN and NOTIFY. A hint can be lost,
//! repeated or late. A node that receives one reads the feed.

use std::{future, time::Duration};

use diesel_async::SimpleAsyncConnection as _;
use futures_util::{StreamExt as _, stream};
use tokio::time;
use tokio_postgres::AsyncMessage;

use super::{Connection, Database, DbError, pool::chain};

const CHANNEL: &str = "ticketwire_feed";
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Notifies all nodes that the feed has grown to a position. Call it after the commit: NOTIFY in a transaction
/// would serialise all commits on one lock.
pub async fn notify(db: &mut Connection, head: i64) -> Result<(), DbError> {
    db.batch_execute(&format!("NOTIFY {CHANNEL}, '{head}'")).await?;
    Ok(())
}

/// Calls `hint` for each notification, with the position if it has one, and after each connection,
/// because notifications may have been missed before it. Nodes of earlier versions name no position.
/// Uses a connection outside the pool. Runs until it is dropped.
pub async fn listen(database: &Database, hint: impl Fn(Option<i64>)) {
    loop {
        if let Err(error) = listen_once(database, &hint).await {
            tracing::warn!(
                error = chain(&error),
                "listening for feed notifications failed, reconnecting"
            );
        }
        time::sleep(RECONNECT_AFTER).await;
    }
}

async fn listen_once(
    database: &Database,
    hint: &impl Fn(Option<i64>),
) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = database.connector().raw().await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let subscribe = async {
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        hint(None);
        future::pending().await
    };
    let receive = async {
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message? {
                hint(notification.payload().parse().ok());
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = subscribe => ended,
        ended = receive => ended,
    }
}
