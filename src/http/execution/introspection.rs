//! Introspection, where async-graphql does not follow the GraphQL specification (§4.1): for an
//! interface, `interfaces` is null instead of a list, and the schema's description says what a schema is.
//!
//! Such fields are selected under names that no document can have, and put right in the response.

use std::mem;

use async_graphql::{
    Name, Pos, Positioned, Request, ServerError, ServerResult, Value,
    indexmap::IndexMap,
    parser::types::{DocumentOperations, ExecutableDocument, Field, Selection, SelectionSet},
};

use crate::graphql::{SchemaShape, requested_operation};

const DESCRIPTION: &str = "The API of Ticketwire, a support desk.";
/// What the name of the schema's description begins with.
const DESCRIPTION_AS: &str = "description as ";
/// What the name of a type's kind begins with, which is selected beside its interfaces.
const KIND_BESIDE: &str = "kind beside ";

/// Prepares a request with an operation that has plain fields at its root. Returns whether it asks for
/// the schema. `shape` is `None` if the server does not show it.
///
/// # Errors
/// It asks for a schema that is not shown, or for more of it than an answer may have.
pub fn prepare(shape: Option<&SchemaShape>, request: &mut Request) -> ServerResult<bool> {
    let name = request.operation_name.clone();
    let Ok(document) = request.parsed_query() else { return Ok(false) };
    let operation = requested_operation(document, name.as_deref());
    let Some(asked) = operation.and_then(|it| field_about_schema(&it.selection_set.node)) else {
        return Ok(false);
    };
    let Some(shape) = shape else {
        let message = "Introspection is switched off on this server. The schema is in the file \
                       schema.graphql of Ticketwire's source.";
        return Err(ServerError::new(message, Some(asked)));
    };
    let mut document = document.clone();
    shape.check(&document, name.as_deref(), &request.variables)?;
    prepare_document(&mut document);
    request.set_parsed_query(document);
    Ok(true)
}

/// Returns where the first field is that asks for the schema.
fn field_about_schema(root: &SelectionSet) -> Option<Pos> {
    root.items.iter().find_map(|selection| match &selection.node {
        Selection::Field(field) if field.node.name.node.starts_with("__") => {
            (field.node.name.node != "__typename").then_some(field.pos)
        }
        _ => None,
    })
}

fn prepare_document(document: &mut ExecutableDocument) {
    match &mut document.operations {
        DocumentOperations::Single(operation) => {
            prepare_set(&mut operation.node.selection_set.node, false);
        }
        DocumentOperations::Multiple(operations) => {
            for operation in operations.values_mut() {
                prepare_set(&mut operation.node.selection_set.node, false);
            }
        }
    }
    for fragment in document.fragments.values_mut() {
        let is_on_schema = fragment.node.type_condition.node.on.node == "__Schema";
        prepare_set(&mut fragment.node.selection_set.node, is_on_schema);
    }
}

/// Prepares a selection set, which is the schema's or another one's.
fn prepare_set(set: &mut SelectionSet, is_on_schema: bool) {
    let mut kinds = Vec::new();
    for selection in &mut set.items {
        match &mut selection.node {
            Selection::Field(field) => {
                match field.node.name.node.as_str() {
                    "description" if is_on_schema => rename(&mut field.node, DESCRIPTION_AS),
                    "interfaces" => kinds.push(kind_beside(field)),
                    _ => {}
                }
                let is_schema = field.node.name.node == "__schema";
                prepare_set(&mut field.node.selection_set.node, is_schema);
            }
            Selection::InlineFragment(fragment) => {
                let condition = fragment.node.type_condition.as_ref();
                let is_on_schema = condition
                    .map_or(is_on_schema, |condition| condition.node.on.node == "__Schema");
                prepare_set(&mut fragment.node.selection_set.node, is_on_schema);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
    set.items.extend(kinds);
}

fn rename(field: &mut Field, prefix: &str) {
    let key = field.response_key();
    field.alias = Some(key.position_node(Name::new(format!("{prefix}{}", key.node))));
}

fn kind_beside(interfaces: &Positioned<Field>) -> Positioned<Selection> {
    let mut kind = interfaces.clone();
    rename(&mut kind.node, KIND_BESIDE);
    kind.node.name.node = Name::new("kind");
    kind.node.selection_set.node.items.clear();
    let pos = kind.pos;
    Positioned::new(Selection::Field(kind), pos)
}

/// Puts the response to a prepared request right.
pub fn complete(value: &mut Value) {
    match value {
        Value::List(items) => items.iter_mut().for_each(complete),
        Value::Object(fields) => {
            complete_object(fields);
            fields.values_mut().for_each(complete);
        }
        _ => {}
    }
}

fn complete_object(fields: &mut IndexMap<Name, Value>) {
    let mut interfaces = Vec::new();
    fields.retain(|name, kind| match name.strip_prefix(KIND_BESIDE) {
        Some(beside) => {
            if *kind == Value::Enum(Name::new("INTERFACE")) {
                interfaces.push(beside.to_owned());
            }
            false
        }
        None => true,
    });
    for name in interfaces {
        if let Some(interfaces) = fields.get_mut(name.as_str()).filter(|it| **it == Value::Null) {
            *interfaces = Value::List(Vec::new());
        }
    }
    let renamed = mem::take(fields).into_iter();
    fields.extend(renamed.map(|(name, value)| match name.strip_prefix(DESCRIPTION_AS) {
        Some(name) => (Name::new(name), Value::from(DESCRIPTION)),
        None => (name, value),
    }));
}
