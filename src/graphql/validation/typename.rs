//! `__typename`, which async-graphql's rules skip (GraphQL specification, §5.3.3 and §5.4.1).

use async_graphql::{
    ServerError, ServerResult,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};

/// Checks that no `__typename` has arguments or a selection set.
pub(super) fn check(document: &ExecutableDocument) -> ServerResult<()> {
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set);
    let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set);
    operations.chain(fragments).try_for_each(|set| check_set(&set.node))
}

fn check_set(set: &SelectionSet) -> ServerResult<()> {
    set.items.iter().try_for_each(|selection| match &selection.node {
        Selection::Field(field) => {
            let below = &field.node.selection_set.node;
            let is_bare = field.node.arguments.is_empty() && below.items.is_empty();
            if field.node.name.node == "__typename" && !is_bare {
                let message = "`__typename` is a `String!` without arguments: select it without \
                               parentheses and braces.";
                return Err(ServerError::new(message, Some(field.pos)));
            }
            check_set(below)
        }
        Selection::InlineFragment(fragment) => check_set(&fragment.node.selection_set.node),
        Selection::FragmentSpread(_) => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    #[test]
    fn a_typename_has_no_arguments_and_no_selection_set() {
        let passes = |text: &str| check(&parse_query(text).unwrap()).is_ok();
        assert!(passes("{ __typename a { x: __typename @skip(if: true) } }"));
        for wrong in [
            "{ __typename { x } }",
            "{ __typename(a: 1) }",
            "{ a { ... on T { x: __typename { y } } } }",
            "{ a { ...F } } fragment F on T { __typename(a: 1) }",
            "query A { a } query B { __typename { x } }",
        ] {
            assert!(!passes(wrong), "{wrong}");
        }
    }
}
