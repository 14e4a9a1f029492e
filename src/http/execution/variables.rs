//! Variables without a value.
//!
//! By the GraphQL specification (§6.4.1 and §3.10), an argument or input field whose variable has
//! no value is left out, so that its default applies. async-graphql passes null instead, and
//! ignores the default of a variable in `@skip` and `@include`. So documents are rewritten before
//! they are executed, but after it was decided whether a subscription fans out: that depends on
//! the document as it was sent.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use async_graphql::{
    Name, Positioned, Request, Variables,
    parser::types::{
        Directive, DocumentOperations, ExecutableDocument, FragmentDefinition, OperationDefinition,
        Selection, SelectionSet,
    },
};
use async_graphql_value::Value;

use crate::graphql::requested_operation;

/// The fragments of a document.
type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

/// Applies [`resolve_absent`] to a request whose document the [guard](super::super::guard) has
/// validated.
pub fn complete(request: &mut Request) {
    let name = request.operation_name.clone();
    let mut variables = mem::take(&mut request.variables);
    if let Ok(document) = request.parsed_query()
        && has_absent(document, name.as_deref(), &variables)
    {
        let mut document = document.clone();
        resolve_absent(&mut document, name.as_deref(), &mut variables);
        request.set_parsed_query(document);
    }
    request.variables = variables;
}

fn has_absent(document: &ExecutableDocument, name: Option<&str>, variables: &Variables) -> bool {
    requested_operation(document, name).is_some_and(|operation| {
        let mut declared = operation.variable_definitions.iter();
        declared.any(|definition| !variables.contains_key(&definition.node.name.node))
    })
}

/// Gives the variables that the named operation declares, and that have no value, their default.
/// Those without a default are removed from the document, with each argument and input field whose
/// value they are. In a list they become null.
pub fn resolve_absent(
    document: &mut ExecutableDocument,
    name: Option<&str>,
    variables: &mut Variables,
) {
    let Some(operation) = requested_operation(document, name) else { return };
    let absent = apply_defaults(operation, variables);
    let ExecutableDocument { operations, fragments } = document;
    let mut removed = HashSet::new();
    for (own, operation) in operations_mut(operations) {
        if name.is_none() || own.as_deref() == name {
            retain_values(operation, fragments, &mut |variable| {
                let keep = !absent.contains(variable);
                if !keep {
                    removed.insert(variable.clone());
                }
                keep
            });
        }
    }
    // Validation rejects a variable that is not used. Another operation may have used it in a
    // shared fragment.
    for (_, operation) in operations_mut(operations) {
        let mut used = HashSet::new();
        retain_values(operation, fragments, &mut |variable| {
            used.insert(variable.clone());
            true
        });
        operation.variable_definitions.retain(|definition| {
            let variable = &definition.node.name.node;
            used.contains(variable) || !removed.contains(variable)
        });
    }
}

/// Gives the variables that have no value their default, and returns those that have none.
fn apply_defaults(operation: &OperationDefinition, variables: &mut Variables) -> HashSet<Name> {
    let mut absent = HashSet::new();
    for definition in &operation.variable_definitions {
        let name = &definition.node.name.node;
        match &definition.node.default_value {
            _ if variables.contains_key(name) => {}
            Some(default) => drop(variables.insert(name.clone(), default.node.clone())),
            None => drop(absent.insert(name.clone())),
        }
    }
    absent
}

fn operations_mut(
    operations: &mut DocumentOperations,
) -> Vec<(Option<Name>, &mut OperationDefinition)> {
    match operations {
        DocumentOperations::Single(operation) => vec![(None, &mut operation.node)],
        DocumentOperations::Multiple(named) => {
            let named = named.iter_mut();
            named.map(|(name, operation)| (Some(name.clone()), &mut operation.node)).collect()
        }
    }
}

/// Removes the variables for which `keep` returns false from an operation and from the fragments
/// that it spreads.
fn retain_values(
    operation: &mut OperationDefinition,
    fragments: &mut Fragments,
    keep: &mut impl FnMut(&Name) -> bool,
) {
    let (mut spread, mut visited) = (Vec::new(), HashSet::new());
    retain_in_directives(&mut operation.directives, keep);
    retain_in_set(&mut operation.selection_set.node, &mut spread, keep);
    while let Some(name) = spread.pop() {
        // Validation reports unknown fragments.
        if let Some(fragment) = fragments.get_mut(&name)
            && visited.insert(name)
        {
            retain_in_directives(&mut fragment.node.directives, keep);
            retain_in_set(&mut fragment.node.selection_set.node, &mut spread, keep);
        }
    }
}

/// Appends the fragments that are spread here to `spread`.
fn retain_in_set(
    set: &mut SelectionSet,
    spread: &mut Vec<Name>,
    keep: &mut impl FnMut(&Name) -> bool,
) {
    for selection in &mut set.items {
        retain_in_directives(selection.node.directives_mut(), keep);
        match &mut selection.node {
            Selection::Field(field) => {
                retain_in_arguments(&mut field.node.arguments, keep);
                retain_in_set(&mut field.node.selection_set.node, spread, keep);
            }
            Selection::InlineFragment(fragment) => {
                retain_in_set(&mut fragment.node.selection_set.node, spread, keep);
            }
            Selection::FragmentSpread(fragment) => {
                spread.push(fragment.node.fragment_name.node.clone());
            }
        }
    }
}

fn retain_in_directives(
    directives: &mut [Positioned<Directive>],
    keep: &mut impl FnMut(&Name) -> bool,
) {
    for directive in directives {
        retain_in_arguments(&mut directive.node.arguments, keep);
    }
}

fn retain_in_arguments(
    arguments: &mut Vec<(Positioned<Name>, Positioned<Value>)>,
    keep: &mut impl FnMut(&Name) -> bool,
) {
    arguments.retain_mut(|(_, value)| retain_in_value(&mut value.node, keep));
}

/// Returns false if the value itself is a variable to remove.
fn retain_in_value(value: &mut Value, keep: &mut impl FnMut(&Name) -> bool) -> bool {
    match value {
        Value::Variable(name) => return keep(name),
        Value::List(items) => {
            for item in items {
                if !retain_in_value(item, keep) {
                    *item = Value::Null;
                }
            }
        }
        Value::Object(fields) => fields.retain(|_, value| retain_in_value(value, keep)),
        _ => {}
    }
    true
}
