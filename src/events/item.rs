//! The items that a stream of events delivers.

use std::{sync::Arc, time::Duration};

use crate::domain::{cursor::Cursor, event::FeedEvent, ids::TicketId};

/// How often a quiet stream delivers a checkpoint.
pub(super) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(30);

/// An item of a stream.
#[derive(Clone, Debug)]
pub enum Item {
    /// Something happened.
    Event(Arc<FeedEvent>),
    /// Everything up to this position was delivered.
    Checkpoint(Cursor),
    /// The caller can no longer see a ticket.
    AccessRevoked {
        /// The ticket.
        ticket: TicketId,
        /// The position of the event that removed the caller from the ticket.
        cursor: Cursor,
    },
    /// The stream cannot continue without a gap, and ends here.
    Resync(ResyncReason),
    /// The stream ends here and is incomplete.
    Ended(StreamEnd),
}

impl Item {
    /// Returns the cursor after which the stream can be resumed, or `None` if the stream ends
    /// with this item.
    pub fn cursor(&self) -> Option<Cursor> {
        match self {
            Self::Event(event) => Some(event.cursor),
            Self::Checkpoint(cursor) | Self::AccessRevoked { cursor, .. } => Some(*cursor),
            Self::Resync(_) | Self::Ended(_) => None,
        }
    }
}

/// Why a stream ended although it is incomplete and its caller did not end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The session ended or its role changed.
    SessionEnded,
    /// The caller reads so slowly that the events it missed are no longer in memory.
    ClientTooSlow,
    /// The server failed.
    Failed,
}

/// Why a stream cannot continue without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResyncReason {
    /// The database was restored to a state before the cursor.
    HistoryRewound,
    /// More happened since the cursor than a stream replays.
    TooFarBehind,
}

impl ResyncReason {
    /// Returns the name of the reason in the metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::HistoryRewound => "history_rewound",
            Self::TooFarBehind => "too_far_behind",
        }
    }
}
