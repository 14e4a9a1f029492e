//! Announces to all nodes who has which ticket open. Nothing is stored.

use diesel_async::SimpleAsyncConnection as _;

use super::{Connection, DbError};
use crate::domain::presence::Announcement;

/// The channel of the announcements.
pub(super) const CHANNEL: &str = "ticketwire_presence";

/// Sends an announcement to all nodes, this one included. Call it outside of transactions: NOTIFY in
/// one would serialise all commits on one lock.
pub async fn announce(db: &mut Connection, announcement: &Announcement) -> Result<(), DbError> {
    // An announcement has only ids and known words.
    db.batch_execute(&format!("NOTIFY {CHANNEL}, '{}'", announcement.encode())).await?;
    Ok(())
}
