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

const FORMAT: u8 = 1;

impl Cursor {
    /// Encodes the cursor as opaque text: the format version, epoch and position in base64url.
    pub fn encode(self) -> String {
        let mut bytes = [FORMAT; 13];
        bytes[1..5].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[5..].copy_from_slice(&self.pos.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes text from [`encode`](Self::encode).
    ///
    /// # Errors
    /// The text is not a cursor.
    pub fn decode(text: &str) -> Result<Self, MalformedCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedCursor)?;
        let [FORMAT, e0, e1, e2, e3, pos @ ..] = bytes.as_slice() else {
            return Err(MalformedCursor);
        };
        let pos = i64::from_be_bytes(pos.try_into().map_err(|_| MalformedCursor)?);
        if pos < 0 {
            return Err(MalformedCursor);
        }
        Ok(Self { epoch: i32::from_be_bytes([*e0, *e1, *e2, *e3]), pos })
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
    fn malformed_text_is_rejected() {
        let negative = Cursor { epoch: 1, pos: -1 }.encode();
        for text in ["", "garbage", "ÿ", "AAAAAAAAAAAAAAAAAA", &negative, &"A".repeat(100_000)] {
            assert_eq!(Cursor::decode(text), Err(MalformedCursor), "{text:.40}");
        }
    }
}
