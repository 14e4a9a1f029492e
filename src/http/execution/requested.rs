//! The part of a valid document that is executed.
//!
//! async-graphql limits the depth and the complexity of all operations of a document, and resolves
//! each field at the root that is selected, also those with the same name in the response. By the
//! GraphQL specification only the requested operation counts (§6.1), and fields with the same name
//! are one field (§6.3.2). So what is executed is a document with one operation, whose root has
//! plain fields with different names.

use std::{borrow::Cow, collections::HashSet};

use async_graphql::{
    Name, Positioned, Request, Value as ConstValue, Variables,
    parser::types::{
        Directive, DocumentOperations, ExecutableDocument, Field, OperationDefinition, Selection,
        SelectionSet,
    },
};
use async_graphql_value::Value;

use super::variables;
use crate::graphql::{add_field, requested_operation, with_document};

/// Reduces the document of a request, which was validated, and completes its variables.
pub fn reduce(request: &mut Request) {
    if let Ok(Some(reduced)) = with_document(request, reduced) {
        request.set_parsed_query(reduced);
    }
}

/// Returns what is executed of a document, or `None` if that is all of it. Gives variables without a
/// value their default.
pub fn reduced(
    document: &ExecutableDocument,
    name: Option<&str>,
    variables: &mut Variables,
) -> Option<ExecutableDocument> {
    let operation = requested_operation(document, name)?;
    let absent = variables::apply_defaults(operation, variables);
    if absent.is_empty() && is_reduced(document) {
        return None;
    }
    let root = root_selection(document, operation, variables);
    let reached = reached_fragments(document, &root);
    let mut reduced = document.clone();
    reduced.fragments.retain(|name, _| reached.contains(name));
    if let (DocumentOperations::Multiple(operations), Some(name)) = (&mut reduced.operations, name)
    {
        operations.retain(|own, _| own == name);
    }
    let operation = match &mut reduced.operations {
        DocumentOperations::Single(operation) => operation,
        DocumentOperations::Multiple(operations) => operations.values_mut().next()?,
    };
    operation.node.selection_set.node = root;
    variables::remove(&absent, &mut operation.node, &mut reduced.fragments);
    Some(reduced)
}

/// Whether a document has one operation with plain fields at its root, whose names differ.
fn is_reduced(document: &ExecutableDocument) -> bool {
    let mut operations = document.operations.iter();
    let (Some((_, operation)), None) = (operations.next(), operations.next()) else { return false };
    let mut names = Vec::new();
    operation.node.selection_set.node.items.iter().all(|selection| match &selection.node {
        Selection::Field(field) if field.node.directives.is_empty() => {
            let name = &field.node.response_key().node;
            let is_new = !names.contains(&name);
            names.push(name);
            is_new
        }
        _ => false,
    })
}

/// The fields at the root of an operation.
struct Root<'d> {
    document: &'d ExecutableDocument,
    variables: &'d Variables,
    fields: Vec<Cow<'d, Positioned<Field>>>,
    spread: HashSet<&'d Name>,
}

fn root_selection(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> SelectionSet {
    let (fields, spread) = (Vec::new(), HashSet::new());
    let mut root = Root { document, variables, fields, spread };
    root.add(&operation.selection_set.node);
    let fields = root.fields.into_iter().map(Cow::into_owned);
    let fields = fields.map(|mut field| {
        // They were applied.
        field.node.directives.clear();
        let pos = field.pos;
        Positioned::new(Selection::Field(field), pos)
    });
    SelectionSet { items: fields.collect() }
}

impl<'d> Root<'d> {
    /// Adds the fields of a selection set. A fragment at the root is on the type of the root.
    fn add(&mut self, set: &'d SelectionSet) {
        for selection in &set.items {
            if self.is_left_out(selection.node.directives()) {
                continue;
            }
            match &selection.node {
                Selection::Field(field) => add_field(field, &mut self.fields),
                Selection::InlineFragment(fragment) => {
                    self.add(&fragment.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = self.document.fragments.get(name);
                    let fragment = fragment.filter(|_| self.spread.insert(name));
                    if let Some(fragment) = fragment {
                        self.add(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }

    /// Whether `@skip` or `@include` leaves a selection out.
    fn is_left_out(&self, directives: &[Positioned<Directive>]) -> bool {
        directives.iter().any(|directive| {
            let condition = |Positioned { node, .. }: &Positioned<Value>| match node {
                Value::Boolean(value) => Some(*value),
                Value::Variable(name) => match self.variables.get(name) {
                    Some(ConstValue::Boolean(value)) => Some(*value),
                    _ => None,
                },
                _ => None,
            };
            let condition = directive.node.get_argument("if").and_then(condition);
            match directive.node.name.node.as_str() {
                "skip" => condition == Some(true),
                "include" => condition == Some(false),
                _ => false,
            }
        })
    }
}

/// Returns the fragments that a selection set spreads, those in fragments included.
fn reached_fragments(document: &ExecutableDocument, root: &SelectionSet) -> HashSet<Name> {
    let (mut reached, mut pending) = (HashSet::new(), vec![root]);
    while let Some(set) = pending.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => pending.push(&field.node.selection_set.node),
                Selection::InlineFragment(fragment) => {
                    pending.push(&fragment.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = document.fragments.get(name)
                        && reached.insert(name.clone())
                    {
                        pending.push(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;

    /// The names at the root of an operation of a document, with those below them.
    fn root(text: &str, name: Option<&str>) -> Vec<String> {
        let document = parse_query(text).unwrap();
        let mut variables = Variables::from_json(json!({ "yes": true, "no": false }));
        let document = reduced(&document, name, &mut variables).unwrap();
        assert!(is_reduced(&document), "{text}");
        let operation = requested_operation(&document, name).unwrap();
        names(&operation.selection_set.node)
    }

    fn names(set: &SelectionSet) -> Vec<String> {
        let name = |selection: &Positioned<Selection>| match &selection.node {
            Selection::Field(field) => {
                let below = names(&field.node.selection_set.node).join(" ");
                let name = field.node.response_key();
                if below.is_empty() { name.to_string() } else { format!("{name}{{{below}}}") }
            }
            Selection::InlineFragment(_) => "...".to_owned(),
            Selection::FragmentSpread(spread) => format!("...{}", spread.node.fragment_name),
        };
        set.items.iter().map(name).collect()
    }

    #[test]
    fn fields_with_the_same_name_are_one_field_with_all_selections() {
        assert_eq!(root("{ a { b } x c a { d } }", None), ["a{b d}", "x", "c"]);
        let text = "query { ...F ... on Query { a { c } } ... { d } ...F }
            fragment F on Query { a { b } e ...G } fragment G on Query { e a { ...H } }
            fragment H on T { h } fragment Unused on T { h }";
        assert_eq!(root(text, None), ["a{b ...H c}", "e", "d"]);
        assert_eq!(root("mutation { m: a { b } m: a { b } }", None), ["m{b b}"]);
    }

    #[test]
    fn what_is_left_out_has_no_place() {
        let text = "query($yes: Boolean!, $no: Boolean!) {
            a @skip(if: true) b @include(if: $no) c @skip(if: $no) @include(if: $yes) a
            ... @include(if: false) { d } ...F @skip(if: $yes) } fragment F on Query { e }";
        assert_eq!(root(text, None), ["c", "a"]);
        assert_eq!(root("{ a @skip(if: true) }", None), [] as [&str; 0]);
    }

    #[test]
    fn only_the_requested_operation_and_its_fragments_are_left() {
        let text = "query A { a { ...F } } query B { b { ...G } }
            fragment F on T { f } fragment G on T { g }";
        let document = parse_query(text).unwrap();
        let document = reduced(&document, Some("A"), &mut Variables::default()).unwrap();
        assert_eq!(document.operations.iter().count(), 1);
        assert_eq!(document.fragments.keys().collect::<Vec<_>>(), ["F"]);
        assert_eq!(root(text, Some("B")), ["b{...G}"]);
    }
}
