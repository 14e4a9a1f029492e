//! Writes values of responses as JSON (RFC 8259), into a buffer of limited size.
//!
//! Pages are mostly text, so a text is searched for characters to escape by the block, and copied in
//! pieces that are as long as possible.

use std::io;

use async_graphql::Value;

/// How many bytes of a text are searched at once.
const BLOCK: usize = 32;
/// The size of a buffer for which memory is reserved up to the limit.
const LARGE: usize = 1 << 19;

/// Bytes up to a limit. Writing more fails.
pub struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

/// The buffer would be larger than its limit.
#[derive(Debug)]
pub struct TooLarge;

impl Bounded {
    /// Creates an empty buffer.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::with_capacity(BLOCK), limit }
    }

    /// Returns what was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// The buffer would be larger than its limit.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(TooLarge);
        }
        if self.bytes.len() > LARGE && self.limit < usize::MAX {
            // Once, instead of a copy each time that the size has doubled. Unused pages of memory
            // take none.
            self.bytes.reserve_exact(self.limit - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a value.
    ///
    /// # Errors
    /// The buffer would be larger than its limit.
    pub fn push_value(&mut self, value: &Value) -> Result<(), TooLarge> {
        match value {
            Value::Null => self.push(b"null"),
            Value::Boolean(true) => self.push(b"true"),
            Value::Boolean(false) => self.push(b"false"),
            Value::Number(number) => self.push(number.to_string().as_bytes()),
            Value::String(text) => self.push_text(text),
            Value::Enum(name) => self.push_text(name),
            Value::List(items) => {
                self.push_all(b"[]", items, |buffer, item| buffer.push_value(item))
            }
            Value::Object(fields) => self.push_all(b"{}", fields, |buffer, (name, value)| {
                // A name has no characters to escape.
                buffer.push(b"\"")?;
                buffer.push(name.as_bytes())?;
                buffer.push(b"\":")?;
                buffer.push_value(value)
            }),
            // No field has such a value.
            Value::Binary(_) => self.push(b"null"),
        }
    }

    fn push_all<T>(
        &mut self,
        brackets: &[u8; 2],
        items: impl IntoIterator<Item = T>,
        push: impl Fn(&mut Self, T) -> Result<(), TooLarge>,
    ) -> Result<(), TooLarge> {
        self.push(&brackets[..1])?;
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.push(b",")?;
            }
            push(self, item)?;
        }
        self.push(&brackets[1..])
    }

    fn push_text(&mut self, text: &str) -> Result<(), TooLarge> {
        self.push(b"\"")?;
        let mut rest = text.as_bytes();
        while let Some(at) = position_to_escape(rest) {
            self.push(&rest[..at])?;
            self.push_escaped(rest[at])?;
            rest = &rest[at + 1..];
        }
        self.push(rest)?;
        self.push(b"\"")
    }

    fn push_escaped(&mut self, byte: u8) -> Result<(), TooLarge> {
        match byte {
            b'"' => self.push(b"\\\""),
            b'\\' => self.push(b"\\\\"),
            b'\n' => self.push(b"\\n"),
            b'\r' => self.push(b"\\r"),
            b'\t' => self.push(b"\\t"),
            0x08 => self.push(b"\\b"),
            0x0C => self.push(b"\\f"),
            other => self.push(format!("\\u{other:04x}").as_bytes()),
        }
    }
}

/// Returns the position of the first byte that a JSON text has to escape.
fn position_to_escape(text: &[u8]) -> Option<usize> {
    let blocks = text.chunks_exact(BLOCK);
    let last = text.len() - blocks.remainder().len();
    // Without an early exit in a block, the compiler compares all its bytes at once.
    let found = blocks.map(|block| block.iter().fold(false, |any, &byte| any | is_escaped(byte)));
    let from = found.into_iter().position(|any| any).map_or(last, |block| block * BLOCK);
    text[from..].iter().position(|&byte| is_escaped(byte)).map(|at| from + at)
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// For what `serde_json` writes.
impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes).map_err(|TooLarge| io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(value: serde_json::Value) -> String {
        let mut buffer = Bounded::new(usize::MAX);
        buffer.push_value(&Value::from_json(value).unwrap()).unwrap();
        String::from_utf8(buffer.into_bytes()).unwrap()
    }

    #[test]
    fn values_are_written_as_serde_json_writes_them() {
        let long = "ä".repeat(BLOCK);
        let controls = (0..0x80_u8).map(char::from).collect::<String>();
        for value in [
            json!(null),
            json!([true, false, 0, -1, 1.5, i64::MAX, u64::MAX, 1e300]),
            json!({ "a": [], "b": {}, "c": { "d": [{}, [null]] } }),
            json!(["", controls, long, format!("{long}\"{long}\n{long}\\"), "👍\u{2028}\u{7f}"]),
        ] {
            assert_eq!(written(value.clone()), value.to_string());
        }
        for at in 0..2 * BLOCK {
            let text = format!("{}\"{}", "x".repeat(at), "y".repeat(2 * BLOCK - at));
            assert_eq!(written(json!(text)), json!(text).to_string());
        }
    }

    #[test]
    fn a_value_that_is_too_large_is_not_written() {
        let value = Value::from_json(json!({ "a": "0123456789" })).unwrap();
        let length = br#"{"a":"0123456789"}"#.len();
        assert!(Bounded::new(length).push_value(&value).is_ok());
        for limit in 0..length {
            assert!(Bounded::new(limit).push_value(&value).is_err(), "{limit}");
        }
    }
}
