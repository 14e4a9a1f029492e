//! The public position in the event log.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// A position in the feed: which history (epoch) and how far. One kind for all
/// streams; it gives no access by itself, so it needs no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The tag of the epoch that the position was given out in.
    pub epoch: i32,
    /// The position, from 0 (before the first event).
    pub pos: i64,
}

/// The text is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not an event cursor; pass one from an event, a checkpoint or `eventCursor`, unchanged"
)]
pub struct MalformedCursor;

const FORMAT: u8 = 1;

impl Cursor {
    /// The opaque text: base64url of format, epoch and position.
    pub fn encode(self) -> String {
        let mut bytes = [FORMAT; 13];
        bytes[1..5].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[5..].copy_from_slice(&self.pos.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Anything else.
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
    fn what_was_encoded_is_decoded() {
        for cursor in [Cursor { epoch: -5, pos: 0 }, Cursor { epoch: i32::MAX, pos: i64::MAX }] {
            assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        }
    }

    #[test]
    fn garbage_is_refused() {
        let negative = Cursor { epoch: 1, pos: -1 }.encode();
        for text in ["", "garbage", "ÿ", "AAAAAAAAAAAAAAAAAA", &negative, &"A".repeat(100_000)] {
            assert_eq!(Cursor::decode(text), Err(MalformedCursor), "{text:.40}");
        }
    }
}
