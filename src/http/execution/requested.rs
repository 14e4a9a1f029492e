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
        Directive, DocumentOperations, ExecutableDocument, Field, OperationDefinition,
        OperationType, Selection, SelectionSet,
    },
};
use async_graphql_value::Value;

use crate::graphql::{merge_field, requested_operation};

/// Reduces the document of a request, which was validated and whose variables are
/// [complete](super::variables::complete).
pub fn reduce(request: &mut Request) {
    let name = request.operation_name.clone();
    let variables = std::mem::take(&mut request.variables);
    if let Ok(document) = request.parsed_query()
        && !is_reduced(document)
    {
        let mut document = document.clone();
        reduce_document(&mut document, name.as_deref(), &variables);
        request.set_parsed_query(document);
    }
    request.variables = variables;
}

/// Reduces a document to an operation with these variables.
pub fn reduce_document(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    variables: &Variables,
) {
    if let (DocumentOperations::Multiple(operations), Some(name)) = (&mut document.operations, name)
    {
        operations.retain(|own, _| own == name);
    }
    let Some(operation) = requested_operation(document, name) else { return };
    let root = root_selection(document, operation, variables);
    let reached = reached_fragments(document, &root);
    document.fragments.retain(|name, _| reached.contains(name));
    let operation = match &mut document.operations {
        DocumentOperations::Single(operation) => Some(operation),
        DocumentOperations::Multiple(operations) => operations.values_mut().next(),
    };
    if let Some(operation) = operation {
        operation.node.selection_set.node = root;
    }
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
    type_name: &'static str,
    fields: Vec<Cow<'d, Positioned<Field>>>,
    spread: HashSet<&'d Name>,
}

fn root_selection(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> SelectionSet {
    let type_name = match operation.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    let (fields, spread) = (Vec::new(), HashSet::new());
    let mut root = Root { document, variables, type_name, fields, spread };
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
    fn add(&mut self, set: &'d SelectionSet) {
        for selection in &set.items {
            if self.is_left_out(selection.node.directives()) {
                continue;
            }
            match &selection.node {
                Selection::Field(field) => self.add_field(field),
                Selection::InlineFragment(fragment) => {
                    let on = fragment.node.type_condition.as_ref();
                    self.add_of(on.map(|on| &on.node.on.node), &fragment.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    if self.spread.insert(name) {
                        let on = &fragment.node.type_condition.node.on.node;
                        self.add_of(Some(on), &fragment.node.selection_set.node);
                    }
                }
            }
        }
    }

    /// Adds the fields of a fragment on a type, if it is that of the root.
    fn add_of(&mut self, on: Option<&Name>, set: &'d SelectionSet) {
        if on.is_none_or(|on| on == self.type_name) {
            self.add(set);
        }
    }

    fn add_field(&mut self, field: &'d Positioned<Field>) {
        let name = &field.node.response_key().node;
        let earlier = self.fields.iter_mut().find(|other| other.node.response_key().node == *name);
        match earlier {
            Some(earlier) => merge_field(earlier, &field.node),
            None => self.fields.push(Cow::Borrowed(field)),
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
        let mut document = parse_query(text).unwrap();
        let variables = Variables::from_json(json!({ "yes": true, "no": false }));
        reduce_document(&mut document, name, &variables);
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
        let mut document = parse_query(text).unwrap();
        reduce_document(&mut document, Some("A"), &Variables::default());
        assert_eq!(document.operations.iter().count(), 1);
        assert_eq!(document.fragments.keys().collect::<Vec<_>>(), ["F"]);
        assert_eq!(root(text, Some("B")), ["b{...G}"]);
    }
}
