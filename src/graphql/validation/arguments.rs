//! The arguments in a document, with the places in the schema that they fill.

use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
};

use async_graphql::{
    Name, Positioned,
    parser::types::{
        Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
    },
    registry::{MetaInputValue, MetaTypeName, Registry},
};
use async_graphql_value::Value;

use crate::graphql::operation::root_type;

/// An argument in a document.
pub(super) struct Argument<'d> {
    /// What it is an argument of.
    pub owner: Owner<'d>,
    /// The argument's definition.
    pub place: &'d MetaInputValue,
    /// The argument's value.
    pub value: &'d Positioned<Value>,
}

/// The field or directive that an argument belongs to.
#[derive(Clone, Copy)]
pub(super) enum Owner<'d> {
    Field(&'d Name),
    Directive(&'d Name),
}

impl Display for Owner<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(formatter, "`{name}`"),
            Self::Directive(name) => write!(formatter, "`@{name}`"),
        }
    }
}

/// Returns the arguments of all operations, those of each fragment once.
pub(super) fn of_document<'d>(
    registry: &'d Registry,
    document: &'d ExecutableDocument,
) -> Vec<Argument<'d>> {
    let mut walk = Walk::new(registry, document);
    document.operations.iter().for_each(|(_, operation)| walk.operation(&operation.node));
    walk.found
}

/// Returns the arguments of an operation, those of each fragment once.
pub(super) fn of_operation<'d>(
    registry: &'d Registry,
    document: &'d ExecutableDocument,
    operation: &'d OperationDefinition,
) -> Vec<Argument<'d>> {
    let mut walk = Walk::new(registry, document);
    walk.operation(operation);
    walk.found
}

struct Walk<'d> {
    registry: &'d Registry,
    document: &'d ExecutableDocument,
    /// The fragments that were visited.
    seen: HashSet<&'d Name>,
    found: Vec<Argument<'d>>,
}

impl<'d> Walk<'d> {
    fn new(registry: &'d Registry, document: &'d ExecutableDocument) -> Self {
        Self { registry, document, seen: HashSet::new(), found: Vec::new() }
    }

    fn operation(&mut self, operation: &'d OperationDefinition) {
        self.directives(&operation.directives);
        for definition in &operation.variable_definitions {
            self.directives(&definition.node.directives);
        }
        if let Some(root) = root_type(self.registry, operation.ty) {
            self.selection_set(root, &operation.selection_set.node);
        }
    }

    fn selection_set(&mut self, parent: &'d str, set: &'d SelectionSet) {
        for selection in &set.items {
            self.directives(selection.node.directives());
            match &selection.node {
                Selection::Field(field) => self.field(parent, &field.node),
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = condition.map_or(parent, |condition| &condition.node.on.node);
                    self.selection_set(on, &fragment.node.selection_set.node);
                }
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node);
                }
            }
        }
    }

    fn fragment(&mut self, name: &'d Name) {
        let Some(fragment) = self.document.fragments.get(name) else { return };
        if self.seen.insert(name) {
            self.directives(&fragment.node.directives);
            let on = &fragment.node.type_condition.node.on.node;
            self.selection_set(on, &fragment.node.selection_set.node);
        }
    }

    fn field(&mut self, parent: &str, field: &'d Field) {
        let registry = self.registry;
        let name = &field.name.node;
        let Some(known) = registry.types.get(parent).and_then(|ty| ty.field_by_name(name)) else {
            return;
        };
        for (argument, value) in &field.arguments {
            if let Some(place) = known.args.get(argument.node.as_str()) {
                self.found.push(Argument { owner: Owner::Field(name), place, value });
            }
        }
        self.selection_set(MetaTypeName::concrete_typename(&known.ty), &field.selection_set.node);
    }

    fn directives(&mut self, directives: &'d [Positioned<Directive>]) {
        for Positioned { node: directive, .. } in directives {
            let name = &directive.name.node;
            let Some(known) = self.registry.directives.get(name.as_str()) else { continue };
            for (argument, value) in &directive.arguments {
                if let Some(place) = known.args.get(argument.node.as_str()) {
                    self.found.push(Argument { owner: Owner::Directive(name), place, value });
                }
            }
        }
    }
}
