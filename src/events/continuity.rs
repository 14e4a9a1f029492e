//! Decides whether a stream can continue without a gap. If it cannot, it resyncs: it tells its
//! client to read everything again, and ends.
//!
//! A stream resyncs for two reasons:
//!
//! - [`ResyncReason::HistoryRewound`]: the database was restored to a state before the stream's
//!   position. Checked when a stream begins after a cursor, and whenever the feed is rewound.
//! - [`ResyncReason::TooFarBehind`]: the stream begins after a cursor that is further behind than
//!   such a stream replays.

use super::{error::SubscribeError, item::ResyncReason, log::EventLog};
use crate::{
    db::feed::{self, Epoch},
    domain::cursor::Cursor,
    metrics::StreamKind,
};

/// Returns how many positions a stream may lie behind and still replay what it missed, or `None`
/// for any number. The replay of one ticket is cheap: it reads the events of that ticket alone.
fn max_distance(kind: StreamKind) -> Option<i64> {
    match kind {
        StreamKind::Ticket => None,
        StreamKind::Inbox | StreamKind::Queue | StreamKind::Notifications => Some(100_000),
        // It has no cursors.
        StreamKind::Presence => Some(0),
    }
}

/// Returns why a stream must resync instead of beginning after a cursor, or `None` if it can begin.
/// `end` is the position up to which the stream can be read now.
fn resync_at_start(
    kind: StreamKind,
    after: Cursor,
    end: i64,
    epochs: &[Epoch],
) -> Option<ResyncReason> {
    if !is_in_history(after, epochs) {
        Some(ResyncReason::HistoryRewound)
    } else if max_distance(kind).is_some_and(|max| end - after.pos > max) {
        Some(ResyncReason::TooFarBehind)
    } else {
        None
    }
}

/// Returns why a running stream must resync after the feed was rewound, or `None` if it can
/// continue: what it has read is part of the old and of the new history.
pub(super) fn resync_after_rewind(position: i64, rewound_to: i64) -> Option<ResyncReason> {
    (rewound_to < position).then_some(ResyncReason::HistoryRewound)
}

/// Returns whether the history up to a cursor is part of the current history: its epoch is known,
/// and every later epoch begins at or after the cursor.
pub(super) fn is_in_history(cursor: Cursor, epochs: &[Epoch]) -> bool {
    let Some(index) = epochs.iter().position(|epoch| epoch.tag == cursor.epoch) else {
        return false;
    };
    epochs[index + 1..].iter().all(|later| cursor.pos <= later.start_pos)
}

impl EventLog {
    /// Returns why a stream must resync instead of beginning after a cursor, or `None` if it can
    /// begin. `end` is the position up to which this node can read the stream now.
    ///
    /// # Errors
    /// [`SubscribeError::CursorAhead`] if the cursor is beyond the end of the feed; the database
    /// failed.
    pub(super) async fn check_continuity(
        &self,
        kind: StreamKind,
        after: Cursor,
        end: i64,
    ) -> Result<Option<ResyncReason>, SubscribeError> {
        // This node may not have read an epoch yet in which another has issued the cursor.
        let epochs = if self.hub.knows_epoch(after.epoch) {
            self.hub.epochs()
        } else {
            feed::epochs(&mut *self.database.read().await?).await?
        };
        let reason = resync_at_start(kind, after, end, &epochs);
        // Another node may have issued the cursor: this one may not have read that far yet.
        if reason.is_none() && after.pos > end && after.pos > self.feed_head().await? {
            return Err(SubscribeError::CursorAhead);
        }
        Ok(reason)
    }

    async fn feed_head(&self) -> Result<i64, SubscribeError> {
        Ok(feed::head(&mut *self.database.read().await?).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCHS: [Epoch; 2] = [Epoch { tag: 7, start_pos: 0 }, Epoch { tag: 9, start_pos: 40 }];

    fn resync(kind: StreamKind, epoch: i32, pos: i64, end: i64) -> Option<ResyncReason> {
        resync_at_start(kind, Cursor { epoch, pos }, end, &EPOCHS)
    }

    #[test]
    fn a_stream_resyncs_if_its_cursor_was_rewound() {
        let rewound = Some(ResyncReason::HistoryRewound);
        for kind in [StreamKind::Ticket, StreamKind::Inbox, StreamKind::Notifications] {
            assert_eq!(resync(kind, 7, 40, 50), None, "before the restore");
            assert_eq!(resync(kind, 7, 41, 50), rewound, "lost by the restore");
            assert_eq!(resync(kind, 9, 41, 50), None, "after the restore");
            assert_eq!(resync(kind, 8, 1, 50), rewound, "of an unknown epoch");
        }
    }

    #[test]
    fn a_cursor_must_be_in_what_every_later_epoch_kept() {
        let epochs = [EPOCHS[0], EPOCHS[1], Epoch { tag: 11, start_pos: 30 }];
        let is_good = |epoch, pos| is_in_history(Cursor { epoch, pos }, &epochs);
        assert_eq!([7, 9, 11].map(|epoch| is_good(epoch, 30)), [true, true, true]);
        assert_eq!([7, 9, 11].map(|epoch| is_good(epoch, 31)), [false, false, true]);
    }

    #[test]
    fn a_stream_resyncs_if_it_is_too_far_behind() {
        let behind = Some(ResyncReason::TooFarBehind);
        for kind in [StreamKind::Inbox, StreamKind::Queue, StreamKind::Notifications] {
            assert_eq!(resync(kind, 9, 50, 100_050), None);
            assert_eq!(resync(kind, 9, 50, 100_051), behind);
        }
        assert_eq!(resync(StreamKind::Ticket, 9, 50, 1_000_000), None);
    }

    #[test]
    fn a_running_stream_resyncs_if_what_it_read_was_rewound() {
        assert_eq!(resync_after_rewind(50, 50), None);
        assert_eq!(resync_after_rewind(50, 49), Some(ResyncReason::HistoryRewound));
    }
}
