//! Objects and lists of a response.

use async_graphql::{
    ContextSelectionSet, Name, Positioned, Value,
    indexmap::{IndexMap, map::Entry},
    parser::types::Field,
};

use super::super::json;

/// A request whose data has this gets its objects and lists as JSON: binary values, written field
/// by field, instead of values that are written in the end. JSON cannot be merged, so no name may
/// stand for an object twice in the document (`operation::selects_objects_twice`).
pub struct AsJson;

/// About how many bytes a field takes as JSON.
const FIELD_BYTES: usize = 64;

/// The fields of an object, in the order in which they are inserted.
pub(super) enum Object {
    Json(Vec<u8>),
    Values(IndexMap<Name, Value>),
}

impl Object {
    /// Creates an object that gets about this many fields.
    pub fn new(ctx: &ContextSelectionSet<'_>, fields: usize) -> Self {
        if ctx.data_opt::<AsJson>().is_some() {
            Self::Json(Vec::with_capacity(FIELD_BYTES * fields))
        } else {
            Self::Values(IndexMap::with_capacity(fields))
        }
    }

    /// Adds the value of a field. If a value was selected under the same name before, adds the
    /// fields that it lacks.
    pub fn insert(&mut self, field: &Positioned<Field>, value: Value) {
        let name = &field.node.response_key().node;
        match self {
            Self::Json(text) => {
                let Ok(()) = json::write_field(text, text.is_empty(), name, &value);
            }
            Self::Values(values) => merge(values, name.clone(), value),
        }
    }

    pub fn complete(self) -> Value {
        match self {
            Self::Json(text) if text.is_empty() => Value::Binary("{}".into()),
            Self::Json(mut text) => {
                text.push(b'}');
                Value::Binary(text.into())
            }
            Self::Values(values) => Value::Object(values),
        }
    }
}

/// Returns a list of values.
pub(super) fn list(ctx: &ContextSelectionSet<'_>, items: Vec<Value>) -> Value {
    if ctx.data_opt::<AsJson>().is_none() {
        return Value::List(items);
    }
    let bytes = items.iter().map(|item| match item {
        Value::Binary(json) => json.len() + 1,
        _ => FIELD_BYTES,
    });
    let mut text = Vec::with_capacity(2 + bytes.sum::<usize>());
    let Ok(()) = json::write(&mut text, &Value::List(items));
    Value::Binary(text.into())
}

fn merge(values: &mut IndexMap<Name, Value>, name: Name, value: Value) {
    match values.entry(name) {
        Entry::Vacant(free) => {
            free.insert(value);
        }
        Entry::Occupied(mut earlier) => merge_values(earlier.get_mut(), value),
    }
}

fn merge_values(earlier: &mut Value, value: Value) {
    match (earlier, value) {
        (Value::Object(earlier), Value::Object(value)) => {
            value.into_iter().for_each(|(name, value)| merge(earlier, name, value));
        }
        (Value::List(earlier), Value::List(value)) => {
            earlier.iter_mut().zip(value).for_each(|(earlier, value)| merge_values(earlier, value));
        }
        // Null because of an error below one of them.
        (earlier, Value::Null) => *earlier = Value::Null,
        _ => {}
    }
}
