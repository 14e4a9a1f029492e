//! The documents that a node has parsed and measured. Clients send few documents over and over.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_graphql::{
    Request, Value,
    parser::types::{BaseType, ExecutableDocument, OperationDefinition, Type},
};
use moka::sync::Cache;

use crate::graphql::{requested_operation, selects_objects_twice};

/// The longest document that is kept, in bytes.
const MAX_LENGTH: usize = 16_384;
/// How much memory all documents may take, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// How many bytes a parsed document takes for each byte of its text, about.
const BYTES_PER_BYTE: usize = 32;

/// Documents by their text. Clones share them.
#[derive(Clone)]
pub struct Documents(Cache<Arc<str>, Arc<Document>>);

/// A document that the [guard](super::guard) has accepted.
pub struct Document {
    /// The parsed document.
    pub parsed: ExecutableDocument,
    /// Whether the response can be written field by field, since nothing in it is merged.
    pub is_written_at_once: bool,
    is_valid: AtomicBool,
}

impl Default for Documents {
    fn default() -> Self {
        let weight = |text: &Arc<str>, _: &Arc<Document>| {
            u32::try_from(text.len() * BYTES_PER_BYTE).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(MAX_BYTES).weigher(weight).build())
    }
}

impl Documents {
    /// Returns the document with this text, if it was added.
    pub fn get(&self, text: &str) -> Option<Arc<Document>> {
        self.0.get(text)
    }

    /// Adds a document that the [guard](super::guard) has accepted, unless it is long.
    pub fn add(&self, text: &str, parsed: &ExecutableDocument) {
        if text.len() <= MAX_LENGTH {
            let document = Document {
                parsed: parsed.clone(),
                is_written_at_once: !selects_objects_twice(parsed),
                is_valid: AtomicBool::new(false),
            };
            self.0.insert(text.into(), Arc::new(document));
        }
    }
}

impl Document {
    /// Whether the schema would accept a request with this document, apart from its complexity: it
    /// has validated the document, and the variables have values of their types.
    pub fn is_valid_for(&self, request: &Request) -> bool {
        self.is_valid.load(Ordering::Relaxed)
            && self.operation(request).is_some_and(|operation| {
                operation.variable_definitions.iter().all(|definition| {
                    let value = request.variables.get(&definition.node.name.node);
                    value.is_none_or(|value| fits(value, &definition.node.var_type.node))
                })
            })
    }

    /// Whether the schema validates all of this document in a request: it has one operation, and each
    /// variable has a value. Values that depend on other variables are not validated.
    pub fn is_complete_in(&self, request: &Request) -> bool {
        let operation =
            self.operation(request).filter(|_| self.parsed.operations.iter().count() == 1);
        operation.is_some_and(|operation| {
            let mut declared = operation.variable_definitions.iter();
            declared.all(|definition| request.variables.contains_key(&definition.node.name.node))
        })
    }

    /// Records that the schema has validated all of this document.
    pub fn set_valid(&self) {
        self.is_valid.store(true, Ordering::Relaxed);
    }

    fn operation(&self, request: &Request) -> Option<&OperationDefinition> {
        requested_operation(&self.parsed, request.operation_name.as_deref())
    }
}

/// Whether a value is certainly of a type. The schema decides on input objects and enums.
fn fits(value: &Value, expected: &Type) -> bool {
    match (&expected.base, value) {
        (_, Value::Null) => expected.nullable,
        (BaseType::List(item), Value::List(values)) => values.iter().all(|it| fits(it, item)),
        (BaseType::Named(name), Value::String(_)) => matches!(name.as_str(), "ID" | "String"),
        (BaseType::Named(name), Value::Boolean(_)) => name == "Boolean",
        (BaseType::Named(name), Value::Number(number)) => {
            name == "Int" && number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Variables, parser::parse_query};
    use serde_json::json;

    use super::*;

    const QUERY: &str = "query A($a: ID!, $b: [Int!], $c: Status) { a } query B { b }";

    fn request(name: &str, variables: serde_json::Value) -> Request {
        Request::new(QUERY).operation_name(name).variables(Variables::from_json(variables))
    }

    #[test]
    fn a_document_is_valid_for_values_that_are_certainly_of_their_types() {
        let documents = Documents::default();
        documents.add(QUERY, &parse_query(QUERY).unwrap());
        let document = documents.get(QUERY).unwrap();
        let valid = [
            ("A", json!({ "a": "x", "b": [1, 2] })),
            ("A", json!({ "a": "x", "b": null, "c": null })),
            ("B", json!({})),
        ];
        let uncertain = [
            ("A", json!({ "a": 1 })),
            ("A", json!({ "a": null })),
            ("A", json!({ "a": "x", "b": [null] })),
            ("A", json!({ "a": "x", "b": 1 })),
            ("A", json!({ "a": "x", "b": [2_147_483_648_i64] })),
            ("A", json!({ "a": "x", "c": "OPEN" })),
            ("C", json!({})),
        ];
        for (name, variables) in valid.iter().chain(&uncertain) {
            assert!(!document.is_valid_for(&request(name, variables.clone())), "{variables}");
        }
        document.set_valid();
        for (name, variables) in valid {
            assert!(document.is_valid_for(&request(name, variables.clone())), "{variables}");
        }
        for (name, variables) in uncertain {
            assert!(!document.is_valid_for(&request(name, variables.clone())), "{variables}");
        }
    }

    #[test]
    fn a_document_is_complete_with_one_operation_and_all_variables() {
        let documents = Documents::default();
        let one = "query A($a: ID!, $b: Int) { a }";
        for text in [one, QUERY] {
            documents.add(text, &parse_query(text).unwrap());
        }
        let (alone, among) = (documents.get(one).unwrap(), documents.get(QUERY).unwrap());
        let all = json!({ "a": "x", "b": null, "c": null });
        assert!(alone.is_complete_in(&request("A", all.clone())));
        assert!(!alone.is_complete_in(&request("A", json!({ "a": "x" }))));
        assert!(!among.is_complete_in(&request("A", all)));
    }

    #[test]
    fn a_long_document_is_not_kept() {
        let documents = Documents::default();
        let query = format!("{{ {} }}", "a ".repeat(MAX_LENGTH / 2));
        documents.add(&query, &parse_query(&query).unwrap());
        assert!(documents.get(&query).is_none());
    }
}
