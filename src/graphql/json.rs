//! Writes values of responses as JSON (RFC 8259).
//!
//! Pages are mostly text, so a text is searched for characters to escape by the block, and copied in
//! pieces that are as long as possible.

use std::convert::Infallible;

use async_graphql::Value;

/// How many bytes of a text are searched at once.
const BLOCK: usize = 32;

/// Where JSON is written to.
pub trait Sink {
    /// Why bytes are not accepted.
    type Error;

    /// Appends bytes.
    ///
    /// # Errors
    /// The bytes are not accepted.
    fn push(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl Sink for Vec<u8> {
    type Error = Infallible;

    fn push(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Writes a value. Binary values are JSON already.
///
/// # Errors
/// The sink does not accept it.
pub fn write<S: Sink>(sink: &mut S, value: &Value) -> Result<(), S::Error> {
    match value {
        Value::Null => sink.push(b"null"),
        Value::Boolean(true) => sink.push(b"true"),
        Value::Boolean(false) => sink.push(b"false"),
        Value::Number(number) => sink.push(number.to_string().as_bytes()),
        Value::String(text) => write_text(sink, text),
        Value::Enum(name) => write_text(sink, name),
        Value::Binary(json) => sink.push(json),
        Value::List(items) => {
            let mut before: &[u8] = b"[";
            for item in items {
                sink.push(before)?;
                write(sink, item)?;
                before = b",";
            }
            sink.push(if items.is_empty() { b"[]" } else { b"]" })
        }
        Value::Object(fields) => {
            let mut is_first = true;
            for (name, value) in fields {
                write_field(sink, is_first, name, value)?;
                is_first = false;
            }
            sink.push(if is_first { b"{}" } else { b"}" })
        }
    }
}

/// Writes a field of an object, and what stands before it. A name has no characters to escape.
///
/// # Errors
/// The sink does not accept it.
pub fn write_field<S: Sink>(
    sink: &mut S,
    is_first: bool,
    name: &str,
    value: &Value,
) -> Result<(), S::Error> {
    sink.push(if is_first { b"{\"" } else { b",\"" })?;
    sink.push(name.as_bytes())?;
    sink.push(b"\":")?;
    write(sink, value)
}

fn write_text<S: Sink>(sink: &mut S, text: &str) -> Result<(), S::Error> {
    sink.push(b"\"")?;
    let mut rest = text.as_bytes();
    while let Some(at) = position_to_escape(rest) {
        sink.push(&rest[..at])?;
        write_escaped(sink, rest[at])?;
        rest = &rest[at + 1..];
    }
    sink.push(rest)?;
    sink.push(b"\"")
}

fn write_escaped<S: Sink>(sink: &mut S, byte: u8) -> Result<(), S::Error> {
    match byte {
        b'"' => sink.push(b"\\\""),
        b'\\' => sink.push(b"\\\\"),
        b'\n' => sink.push(b"\\n"),
        b'\r' => sink.push(b"\\r"),
        b'\t' => sink.push(b"\\t"),
        0x08 => sink.push(b"\\b"),
        0x0C => sink.push(b"\\f"),
        other => sink.push(format!("\\u{other:04x}").as_bytes()),
    }
}

/// Returns the position of the first byte that a JSON text has to escape.
fn position_to_escape(text: &[u8]) -> Option<usize> {
    let mut blocks = text.chunks_exact(BLOCK);
    let last = text.len() - blocks.remainder().len();
    // Without an early exit in a block, the compiler compares all its bytes at once.
    let found =
        blocks.position(|block| block.iter().fold(0, |any, &byte| any | escapes(byte)) != 0);
    let from = found.map_or(last, |block| block * BLOCK);
    text[from..].iter().position(|&byte| escapes(byte) != 0).map(|at| from + at)
}

/// Returns 1 if a byte has to be escaped, otherwise 0.
fn escapes(byte: u8) -> u8 {
    u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(value: serde_json::Value) -> String {
        let mut text = Vec::new();
        let Ok(()) = write(&mut text, &Value::from_json(value).unwrap());
        String::from_utf8(text).unwrap()
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
}
