//! How much of a document the schema does not know. async-graphql's rules compare unknown fields and
//! arguments with all others of the document, and with the names of the schema, and keep each finding
//! until the end.

use async_graphql::{
    Name, Pos, Positioned, ServerError, ServerResult,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
    registry::{MetaTypeName, Registry},
};
use async_graphql_value::Value;

use crate::graphql::operation::root_type;

/// How many unknown fields and arguments a document may have. Those of one with fewer are reported one
/// by one.
const MAX_UNKNOWN: usize = 20;

/// Rejects a document with more unknown fields and arguments than can be reported.
pub(super) fn check(registry: &Registry, document: &ExecutableDocument) -> ServerResult<()> {
    let mut unknown = Unknown { registry, count: 0 };
    for (_, operation) in document.operations.iter() {
        let root = root_type(registry, operation.node.ty);
        unknown.selection_set(root, &operation.node.selection_set.node)?;
    }
    for fragment in document.fragments.values() {
        let on = fragment.node.type_condition.node.on.node.as_str();
        unknown.selection_set(Some(on), &fragment.node.selection_set.node)?;
    }
    Ok(())
}

struct Unknown<'r> {
    registry: &'r Registry,
    count: usize,
}

impl Unknown<'_> {
    fn selection_set(&mut self, parent: Option<&str>, set: &SelectionSet) -> ServerResult<()> {
        set.items.iter().try_for_each(|selection| match &selection.node {
            Selection::Field(field) => self.field(parent, field),
            Selection::InlineFragment(fragment) => {
                let condition = fragment.node.type_condition.as_ref();
                let on = condition.map_or(parent, |condition| Some(&condition.node.on.node));
                self.selection_set(on, &fragment.node.selection_set.node)
            }
            Selection::FragmentSpread(_) => Ok(()),
        })
    }

    fn field(&mut self, parent: Option<&str>, field: &Positioned<Field>) -> ServerResult<()> {
        let Positioned { node: field, pos } = field;
        if field.name.node == "__typename" {
            return Ok(());
        }
        let registry = self.registry;
        let parent = parent.and_then(|parent| registry.types.get(parent));
        let known = parent.and_then(|parent| parent.field_by_name(&field.name.node));
        if known.is_none() {
            self.add("field", &field.name.node, *pos)?;
        }
        for (nth, (argument, _)) in field.arguments.iter().enumerate() {
            let is_known = known.is_some_and(|it| it.args.contains_key(argument.node.as_str()));
            if !is_known || is_repeated(&argument.node, &field.arguments[..nth]) {
                self.add("argument", &argument.node, argument.pos)?;
            }
        }
        let ty = known.map(|known| MetaTypeName::concrete_typename(&known.ty));
        self.selection_set(ty, &field.selection_set.node)
    }

    fn add(&mut self, kind: &str, name: &Name, pos: Pos) -> ServerResult<()> {
        self.count += 1;
        if self.count <= MAX_UNKNOWN {
            return Ok(());
        }
        let message = format!(
            "The document has more than {MAX_UNKNOWN} fields and arguments that do not exist or are \
             repeated, such as the {kind} `{name}`. Compare it with the schema."
        );
        Err(ServerError::new(message, Some(pos)))
    }
}

fn is_repeated(name: &Name, before: &[(Positioned<Name>, Positioned<Value>)]) -> bool {
    before.iter().any(|(other, _)| other.node == *name)
}
