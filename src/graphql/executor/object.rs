//! Objects and lists of a response, written as JSON.

use async_graphql::{Name, Value};

use super::super::json;

/// About how many bytes a field takes.
const FIELD_BYTES: usize = 64;

/// An object whose fields are written one after the other.
pub(super) struct Object(Vec<u8>);

impl Object {
    /// Creates an object that gets about this many fields.
    pub fn new(fields: usize) -> Self {
        Self(Vec::with_capacity(FIELD_BYTES * fields))
    }

    /// Writes a field.
    pub fn insert(&mut self, name: &Name, value: &Value) {
        let is_first = self.0.is_empty();
        let Ok(()) = json::write_field(&mut self.0, is_first, name, value);
    }

    pub fn complete(mut self) -> Value {
        if self.0.is_empty() {
            return Value::Binary("{}".into());
        }
        self.0.push(b'}');
        Value::Binary(self.0.into())
    }
}

/// Returns a list of values.
pub(super) fn list(items: Vec<Value>) -> Value {
    let bytes = items.iter().map(|item| match item {
        Value::Binary(json) => json.len() + 1,
        _ => FIELD_BYTES,
    });
    let mut text = Vec::with_capacity(2 + bytes.sum::<usize>());
    let Ok(()) = json::write(&mut text, &Value::List(items));
    Value::Binary(text.into())
}
