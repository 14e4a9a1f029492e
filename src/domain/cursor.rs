//! Cursors: public positions in the feed of events.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A position in the feed: an epoch and an offset. All streams use the same cursors. A cursor
/// grants no access, so it is not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The tag of the epoch in which the cursor was issued.
    pub epoch: i32,
    /// The position. 0 is before the first event.
    pub pos: i64,
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an event cursor; send one from an event, a checkpoint or `eventCursor` unchanged")]
pub struct MalformedCursor;

/// A cursor with what the streams of a client need that has just read something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartCursor {
    /// The position in the feed before anything was read.
    pub feed: Cursor,
    /// The position up to which notifications were stored then. They are stored a little later than
    /// their events happen, so a list of them may lack those of the last events.
    pub notified_up_to: i64,
}

const FORMAT: u8 = 1;
const FORMAT_WITH_NOTIFIED: u8 = 2;

impl Cursor {
    /// Encodes the cursor as opaque text: the format version, epoch and position in base64url.
    pub fn encode(self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes(FORMAT))
    }

    /// Decodes text from [`encode`](Self::encode) or [`StartCursor::encode`].
    ///
    /// # Errors
    /// The text is not a cursor.
    pub fn decode(text: &str) -> Result<Self, MalformedCursor> {
        StartCursor::decode(text).map(|start| start.feed)
    }

    fn bytes(self, format: u8) -> Vec<u8> {
        [&[format][..], &self.epoch.to_be_bytes(), &self.pos.to_be_bytes()].concat()
    }
}

impl StartCursor {
    /// Encodes the cursor as opaque text: that of the position in the feed, followed by the other
    /// position if it is lower.
    pub fn encode(self) -> String {
        if self.notified_up_to >= self.feed.pos {
            return self.feed.encode();
        }
        let mut bytes = self.feed.bytes(FORMAT_WITH_NOTIFIED);
        bytes.extend(self.notified_up_to.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes text from [`encode`](Self::encode) or [`Cursor::encode`].
    ///
    /// # Errors
    /// The text is not a cursor.
    pub fn decode(text: &str) -> Result<Self, MalformedCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedCursor)?;
        let (format, rest) = bytes.split_first().ok_or(MalformedCursor)?;
        let (epoch, positions) = rest.split_first_chunk::<4>().ok_or(MalformedCursor)?;
        let (positions, []) = positions.as_chunks::<8>() else { return Err(MalformedCursor) };
        let (pos, notified_up_to) = match (*format, positions) {
            (FORMAT, [pos]) => (pos, pos),
            (FORMAT_WITH_NOTIFIED, [pos, notified_up_to]) => (pos, notified_up_to),
            _ => return Err(MalformedCursor),
        };
        let position = |bytes: &[u8; 8]| Some(i64::from_be_bytes(*bytes)).filter(|pos| *pos >= 0);
        let (pos, notified_up_to) =
            position(pos).zip(position(notified_up_to)).ok_or(MalformedCursor)?;
        let feed = Cursor { epoch: i32::from_be_bytes(*epoch), pos };
        Ok(Self { feed, notified_up_to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_encoding_and_decoding() {
        for cursor in [Cursor { epoch: -5, pos: 0 }, Cursor { epoch: i32::MAX, pos: i64::MAX }] {
            assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }
    }

    #[test]
    fn a_start_is_a_cursor_that_remembers_a_lower_position_of_notifications() {
        let feed = Cursor { epoch: 7, pos: 100 };
        let behind = StartCursor { feed, notified_up_to: 90 };
        assert_eq!(StartCursor::decode(&behind.encode()), Ok(behind));
        assert_eq!(Cursor::decode(&behind.encode()), Ok(feed));
        for notified_up_to in [100, 120] {
            assert_eq!(StartCursor { feed, notified_up_to }.encode(), feed.encode());
        }
        let start = StartCursor { feed, notified_up_to: 100 };
        assert_eq!(StartCursor::decode(&feed.encode()), Ok(start));
        let negative = StartCursor { feed, notified_up_to: -1 }.encode();
        assert_eq!(StartCursor::decode(&negative), Err(MalformedCursor));
    }

    #[test]
    fn malformed_text_is_rejected() {
        let negative = Cursor { epoch: 1, pos: -1 }.encode();
        for text in ["", "garbage", "ÿ", "AAAAAAAAAAAAAAAAAA", &negative, &"A".repeat(100_000)] {
            assert_eq!(Cursor::decode(text), Err(MalformedCursor), "{text:.40}");
        }
    }
}
