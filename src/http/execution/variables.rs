//! Variables without a value.
//!
//! By the GraphQL specification (§6.4.1 and §3.10), an argument or input field whose variable has
//! no value is left out, so that its default applies. async-graphql passes null instead, and
//! ignores the default of a variable in `@skip` and `@include`. So documents are rewritten before
//! they are executed (`requested.rs`), but after it was decided whether a subscription fans out: that
//! depends on the document as it was sent.

use std::collections::{HashMap, HashSet};

use async_graphql::{
    Name, Positioned, Variables,
    parser::types::{Directive, FragmentDefinition, OperationDefinition, Selection, SelectionSet},
};
use async_graphql_value::Value;

/// The fragments of a document.
type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

/// Gives the variables that an operation declares, and that have no value, their default. Returns those
/// that have none.
pub fn apply_defaults(operation: &OperationDefinition, variables: &mut Variables) -> HashSet<Name> {
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

/// Removes variables from an operation and its fragments, with each argument and input field whose
/// value they are. In a list they become null.
pub fn remove(
    absent: &HashSet<Name>,
    operation: &mut OperationDefinition,
    fragments: &mut Fragments,
) {
    remove_in_directives(absent, &mut operation.directives);
    remove_in_set(absent, &mut operation.selection_set.node);
    for fragment in fragments.values_mut() {
        remove_in_directives(absent, &mut fragment.node.directives);
        remove_in_set(absent, &mut fragment.node.selection_set.node);
    }
}

fn remove_in_set(absent: &HashSet<Name>, set: &mut SelectionSet) {
    for selection in &mut set.items {
        remove_in_directives(absent, selection.node.directives_mut());
        match &mut selection.node {
            Selection::Field(field) => {
                remove_in_arguments(absent, &mut field.node.arguments);
                remove_in_set(absent, &mut field.node.selection_set.node);
            }
            Selection::InlineFragment(fragment) => {
                remove_in_set(absent, &mut fragment.node.selection_set.node);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn remove_in_directives(absent: &HashSet<Name>, directives: &mut [Positioned<Directive>]) {
    for directive in directives {
        remove_in_arguments(absent, &mut directive.node.arguments);
    }
}

fn remove_in_arguments(
    absent: &HashSet<Name>,
    arguments: &mut Vec<(Positioned<Name>, Positioned<Value>)>,
) {
    arguments.retain_mut(|(_, value)| remove_in_value(absent, &mut value.node));
}

/// Returns false if the value itself is a variable to remove.
fn remove_in_value(absent: &HashSet<Name>, value: &mut Value) -> bool {
    match value {
        Value::Variable(name) => return !absent.contains(name),
        Value::List(items) => {
            for item in items {
                if !remove_in_value(absent, item) {
                    *item = Value::Null;
                }
            }
        }
        Value::Object(fields) => fields.retain(|_, value| remove_in_value(absent, value)),
        _ => {}
    }
    true
}
