//! LISTEN and NOTIFY: hints between nodes that the feed has grown. A hint may be
//! lost, repeated or late; whoever gets one reads the feed.

use std::{future, time::Duration};

use diesel_async::SimpleAsyncConnection as _;
use futures_util::{StreamExt as _, stream};
use tokio::time;
use tokio_postgres::AsyncMessage;

use super::{Connection, Database, DbError, pool::chain};

const CHANNEL: &str = "ticketwire_feed";
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Tells every node that the feed has grown. A statement of its own, after the
/// commit: inside a transaction it would serialise all commits on one lock.
pub async fn notify(db: &mut Connection) -> Result<(), DbError> {
    db.batch_execute(&format!("NOTIFY {CHANNEL}")).await?;
    Ok(())
}

/// Calls `hint` for each notification, and after each reconnection, since what
/// came in between was missed. Runs until it is dropped; has a connection of its
/// own, outside the pool.
pub async fn listen(database: &Database, hint: impl Fn()) {
    loop {
        if let Err(error) = listen_once(database, &hint).await {
            tracing::warn!(error = chain(&error), "the connection that listens was lost");
        }
        time::sleep(RECONNECT_AFTER).await;
    }
}

async fn listen_once(database: &Database, hint: &impl Fn()) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = database.connector().raw().await?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let subscribe = async {
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
        hint();
        future::pending().await
    };
    let receive = async {
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(_) = message? {
                hint();
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = subscribe => ended,
        ended = receive => ended,
    }
}
