//! The operation of a document that a request asks for.

use async_graphql::{
    Name,
    parser::types::{
        ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
    },
    registry::Registry,
};

/// Returns the operation with this name, or the only one if `name` is `None`. Returns `None` if it
/// is unknown or ambiguous.
pub fn requested_operation<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<&'d OperationDefinition> {
    let mut operations = document.operations.iter();
    let (_, operation) = match name {
        Some(name) => operations.find(|(own, _)| own.is_some_and(|own| own == name)),
        None => operations.next().filter(|_| operations.next().is_none()),
    }?;
    Some(&operation.node)
}

/// Returns the name of the operation with this name, or of the only one, or `None` if it has none.
pub fn operation_name<'d>(
    document: &'d ExecutableDocument,
    requested: Option<&'d str>,
) -> Option<&'d str> {
    requested.or_else(|| document.operations.iter().next()?.0.map(Name::as_str))
}

/// Returns the name of the type whose fields an operation selects at its root, or `None` if the
/// schema has no such operations.
pub(super) fn root_type(registry: &Registry, operation: OperationType) -> Option<&str> {
    match operation {
        OperationType::Query => Some(&registry.query_type),
        OperationType::Mutation => registry.mutation_type.as_deref(),
        OperationType::Subscription => registry.subscription_type.as_deref(),
    }
}

/// Returns whether a document may select an object twice under one name, whose fields are merged
/// then. Fragments on different types count as if they applied together.
pub fn selects_objects_twice(document: &ExecutableDocument) -> bool {
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set);
    let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set);
    operations.chain(fragments).any(|set| set_selects_twice(document, &set.node))
}

fn set_selects_twice(document: &ExecutableDocument, set: &SelectionSet) -> bool {
    let mut objects = Vec::new();
    add_objects(document, set, &mut objects);
    let mut names = objects.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
        || objects.iter().any(|(_, set)| set_selects_twice(document, set))
}

/// Adds the objects that a selection set selects, those of fragments included.
fn add_objects<'d>(
    document: &'d ExecutableDocument,
    set: &'d SelectionSet,
    objects: &mut Vec<(&'d Name, &'d SelectionSet)>,
) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                let set = &field.node.selection_set.node;
                if !set.items.is_empty() {
                    objects.push((&field.node.response_key().node, set));
                }
            }
            Selection::InlineFragment(fragment) => {
                add_objects(document, &fragment.node.selection_set.node, objects);
            }
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.node.fragment_name.node);
                if let Some(fragment) = fragment {
                    add_objects(document, &fragment.node.selection_set.node, objects);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    #[test]
    fn objects_that_are_selected_twice_are_found_in_fragments_too() {
        let once = [
            "{ a { b } c: a { b } }",
            "{ a { b b ... on T { b c { d } } ... on U { b } } b }",
            "{ a { ...F } b { ...F } } fragment F on T { c { d } }",
        ];
        let twice = [
            "{ a { b } a { c } }",
            "{ x { a { b } ... { a { c } } } }",
            "{ x { a { b } ...F } } fragment F on T { a { c } }",
            "{ x { y { ...F ...F } } } fragment F on T { a { c } }",
            "query A { a } query B { b { a { b } a { c } } }",
        ];
        for text in once {
            assert!(!selects_objects_twice(&parse_query(text).unwrap()), "{text}");
        }
        for text in twice {
            assert!(selects_objects_twice(&parse_query(text).unwrap()), "{text}");
        }
    }
}
