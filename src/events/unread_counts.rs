//! How much people have not read yet.

use super::{keyed::Keyed, shared_read::SharedRead};
use crate::{
    db::{Database, DbError, notification, unread},
    domain::{
        policy::TicketScope,
        unread::{TicketCounts, TicketReader},
    },
};

/// How much a person has not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadCounts {
    /// The number of unread notifications.
    pub notifications: i64,
    /// The person's open and unread tickets.
    pub tickets: TicketCounts,
}

/// The counts that streams are about to deliver. The streams of a person share them.
#[derive(Default)]
pub(super) struct SharedCounts(Keyed<TicketReader, SharedRead<UnreadCounts>>);

impl SharedCounts {
    /// Returns a person's counts, read after this call. `scope` is that of the person.
    pub(super) async fn read(
        &self,
        database: &Database,
        reader: TicketReader,
        scope: TicketScope,
    ) -> Result<UnreadCounts, DbError> {
        let read = async {
            let mut connection = database.read().await?;
            Ok(UnreadCounts {
                notifications: notification::unread(&mut connection, reader.account, scope).await?,
                tickets: unread::counts(&mut connection, reader).await?,
            })
        };
        self.0.get(reader).get(read).await
    }
}
