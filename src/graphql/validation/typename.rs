//! `__typename`, which async-graphql's rules skip (GraphQL specification, §5.3.3 and §5.4.1).

use std::mem;

use async_graphql::{
    Positioned, ServerError, ServerResult,
    parser::types::{
        DocumentOperations, ExecutableDocument, InlineFragment, Selection, SelectionSet,
    },
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

/// Moves the directives of each `__typename` to an inline fragment around it, where the rules for
/// directives and for variables find them.
pub(super) fn move_directives(document: &mut ExecutableDocument) {
    match &mut document.operations {
        DocumentOperations::Single(operation) => {
            move_in_set(&mut operation.node.selection_set.node);
        }
        DocumentOperations::Multiple(operations) => operations
            .values_mut()
            .for_each(|operation| move_in_set(&mut operation.node.selection_set.node)),
    }
    let fragments = document.fragments.values_mut();
    fragments.for_each(|fragment| move_in_set(&mut fragment.node.selection_set.node));
}

fn move_in_set(set: &mut SelectionSet) {
    for selection in &mut set.items {
        match &mut selection.node {
            Selection::Field(field) if field.node.name.node != "__typename" => {
                move_in_set(&mut field.node.selection_set.node);
            }
            Selection::Field(field) if !field.node.directives.is_empty() => {
                let (pos, directives) = (field.pos, mem::take(&mut field.node.directives));
                let bare = Positioned::new(Selection::Field(field.clone()), pos);
                let selection_set = Positioned::new(SelectionSet { items: vec![bare] }, pos);
                let around = InlineFragment { type_condition: None, directives, selection_set };
                selection.node = Selection::InlineFragment(Positioned::new(around, pos));
            }
            Selection::InlineFragment(fragment) => {
                move_in_set(&mut fragment.node.selection_set.node);
            }
            Selection::Field(_) | Selection::FragmentSpread(_) => {}
        }
    }
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
    #[test]
    fn the_directives_of_a_typename_are_moved_around_it() {
        let document = |text: &str| {
            let mut document = parse_query(text).unwrap();
            move_directives(&mut document);
            let sets = document.operations.iter().map(|(_, it)| &it.node.selection_set.node);
            let sets =
                sets.chain(document.fragments.values().map(|it| &it.node.selection_set.node));
            sets.map(described).collect::<String>()
        };
        for (text, expected) in [
            ("{ __typename a @b { c @d } }", "{__typename a{c}}"),
            ("{ x: __typename @b @c(if: true) d }", "{...@b@c{x:__typename} d}"),
            ("{ a { ... @b { __typename @c } } }", "{a{...@b{...@c{__typename}}}}"),
            ("{ ...A } fragment A on B { c { __typename @d } }", "{...A}{c{...@d{__typename}}}"),
            ("query A { __typename @b }", "{...@b{__typename}}"),
        ] {
            assert_eq!(document(text), expected, "{text}");
        }
    }

    fn described(set: &SelectionSet) -> String {
        let items = set.items.iter().map(|item| match &item.node {
            Selection::Field(field) => {
                let field = &field.node;
                let alias = field.alias.as_ref().map(|alias| format!("{alias}:"));
                let below = &field.selection_set.node;
                let below = if below.items.is_empty() { String::new() } else { described(below) };
                format!("{}{}{below}", alias.unwrap_or_default(), field.name)
            }
            Selection::InlineFragment(fragment) => {
                let directives = fragment.node.directives.iter();
                let directives = directives.map(|it| format!("@{}", it.node.name));
                let below = described(&fragment.node.selection_set.node);
                format!("...{}{below}", directives.collect::<String>())
            }
            Selection::FragmentSpread(spread) => format!("...{}", spread.node.fragment_name),
        });
        format!("{{{}}}", items.collect::<Vec<_>>().join(" "))
    }
}
