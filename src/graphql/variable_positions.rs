//! The types of variables where they are used (GraphQL specification, §5.8.5). async-graphql has a
//! rule for them, but does not run it.

use std::{collections::HashSet, sync::Arc};

use async_graphql::{
    CacheControl, Name, Pos, Positioned, Response, ServerError, ServerResult, ValidationResult,
    Value as ConstValue, Variables,
    async_trait::async_trait,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery, NextValidation,
    },
    parser::types::{
        BaseType, Directive, ExecutableDocument, Field, OperationDefinition, OperationType,
        Selection, SelectionSet, Type, VariableDefinition,
    },
    registry::{MetaInputValue, MetaType, Registry},
};
use async_graphql_value::Value;

use super::input_types::item_name;

/// Has a schema validate documents without executing them. Adds the rule of this module.
pub struct Validation;

impl ExtensionFactory for Validation {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for Validation {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        check(&ctx.schema_env.registry, &document)?;
        Ok(document)
    }

    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let mut errors = match next.run(ctx).await {
            Err(errors) => errors,
            valid => return valid,
        };
        errors.retain(|error| !is_of_measure(error));
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(ValidationResult { cache_control: CacheControl::default(), complexity: 0, depth: 0 })
    }

    async fn execute(
        &self,
        _: &ExtensionContext<'_>,
        _: Option<&str>,
        _: NextExecute<'_>,
    ) -> Response {
        Response::default()
    }
}

/// Whether an error comes from measuring the complexity of a document, for which async-graphql wants
/// the value of each variable. A document is measured when it is executed.
fn is_of_measure(error: &ServerError) -> bool {
    let name = error.message.strip_prefix("Variable ");
    let name = name.and_then(|rest| rest.strip_suffix(" is not defined."));
    error.locations.is_empty()
        || error.message.starts_with("Expected input type ")
        || name.is_some_and(|name| !name.contains(['"', '$']))
}

fn check(registry: &Registry, document: &ExecutableDocument) -> ServerResult<()> {
    for (_, operation) in document.operations.iter() {
        let OperationDefinition { ty, variable_definitions, directives, selection_set } =
            &operation.node;
        let mut usages =
            Usages { registry, document, variables: variable_definitions, seen: HashSet::new() };
        usages.directives(directives)?;
        if let Some(root) = root_type(registry, *ty) {
            usages.selection_set(root, &selection_set.node)?;
        }
    }
    Ok(())
}

fn root_type(registry: &Registry, operation: OperationType) -> Option<&str> {
    match operation {
        OperationType::Query => Some(&registry.query_type),
        OperationType::Mutation => registry.mutation_type.as_deref(),
        OperationType::Subscription => registry.subscription_type.as_deref(),
    }
}

/// The places in which an operation uses its variables. What the schema does not know is skipped:
/// other rules report it.
struct Usages<'d> {
    registry: &'d Registry,
    document: &'d ExecutableDocument,
    variables: &'d [Positioned<VariableDefinition>],
    /// The fragments that were visited.
    seen: HashSet<&'d Name>,
}

impl<'d> Usages<'d> {
    fn selection_set(&mut self, parent: &str, set: &'d SelectionSet) -> ServerResult<()> {
        for selection in &set.items {
            self.directives(selection.node.directives())?;
            match &selection.node {
                Selection::Field(field) => self.field(parent, field)?,
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = condition.map_or(parent, |condition| &condition.node.on.node);
                    self.selection_set(on, &fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    self.fragment(&spread.node.fragment_name.node)?;
                }
            }
        }
        Ok(())
    }

    fn fragment(&mut self, name: &Name) -> ServerResult<()> {
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            return Ok(());
        };
        if !self.seen.insert(name) {
            return Ok(());
        }
        self.directives(&fragment.node.directives)?;
        let on = &fragment.node.type_condition.node.on.node;
        self.selection_set(on, &fragment.node.selection_set.node)
    }

    fn field(&mut self, parent: &str, field: &'d Positioned<Field>) -> ServerResult<()> {
        let registry = self.registry;
        let name = &field.node.name.node;
        let Some(known) = registry.types.get(parent).and_then(|ty| ty.field_by_name(name)) else {
            return Ok(());
        };
        for (argument, value) in &field.node.arguments {
            if let Some(place) = known.args.get(argument.node.as_str()) {
                self.value(place, &value.node, value.pos)?;
            }
        }
        let ty = Type::new(&known.ty);
        ty.map_or(Ok(()), |ty| self.selection_set(item_name(&ty), &field.node.selection_set.node))
    }

    fn directives(&self, directives: &[Positioned<Directive>]) -> ServerResult<()> {
        for directive in directives {
            let known = self.registry.directives.get(directive.node.name.node.as_str());
            let Some(known) = known else { continue };
            for (argument, value) in &directive.node.arguments {
                if let Some(place) = known.args.get(argument.node.as_str()) {
                    self.value(place, &value.node, value.pos)?;
                }
            }
        }
        Ok(())
    }

    /// Checks the value of an argument or of an input field.
    fn value(&self, place: &MetaInputValue, value: &Value, pos: Pos) -> ServerResult<()> {
        let Some(ty) = Type::new(&place.ty) else { return Ok(()) };
        self.value_of(&ty, place.default_value.is_some(), value, pos)
    }

    fn value_of(&self, ty: &Type, default: bool, value: &Value, pos: Pos) -> ServerResult<()> {
        match (value, &ty.base) {
            (Value::Variable(name), _) => self.variable(name, ty, default, pos),
            (Value::List(items), BaseType::List(item)) => {
                items.iter().try_for_each(|value| self.value_of(item, false, value, pos))
            }
            // One value in the place of a list is a list of one.
            (Value::Object(_), BaseType::List(item)) => self.value_of(item, false, value, pos),
            (Value::Object(fields), BaseType::Named(name)) => {
                let ty = self.registry.types.get(name.as_str());
                let Some(MetaType::InputObject { input_fields, .. }) = ty else { return Ok(()) };
                fields.iter().try_for_each(|(name, value)| {
                    let known = input_fields.get(name.as_str());
                    known.map_or(Ok(()), |place| self.value(place, value, pos))
                })
            }
            _ => Ok(()),
        }
    }

    fn variable(&self, name: &Name, place: &Type, default: bool, pos: Pos) -> ServerResult<()> {
        let definition = self.variables.iter().find(|known| known.node.name.node == *name);
        let Some(Positioned { node: definition, .. }) = definition else { return Ok(()) };
        if is_allowed(definition, place, default) {
            return Ok(());
        }
        let message = format!(
            "The variable `${name}` of type `{}` is used where `{place}` is expected.",
            definition.var_type
        );
        Err(ServerError::new(message, Some(pos)))
    }
}

/// Returns whether a variable may be used in a place of this type: the specification's
/// `IsVariableUsageAllowed`. `default` is whether the place has a default.
fn is_allowed(variable: &VariableDefinition, place: &Type, default: bool) -> bool {
    let ty = &variable.var_type.node;
    if place.nullable || !ty.nullable {
        return fits(ty, place);
    }
    let own_default = variable.default_value.as_ref();
    let never_null = default || own_default.is_some_and(|default| default.node != ConstValue::Null);
    never_null && fits_base(&ty.base, &place.base)
}

/// The specification's `AreTypesCompatible`.
fn fits(variable: &Type, place: &Type) -> bool {
    (place.nullable || !variable.nullable) && fits_base(&variable.base, &place.base)
}

fn fits_base(variable: &BaseType, place: &BaseType) -> bool {
    match (variable, place) {
        (BaseType::Named(variable), BaseType::Named(place)) => variable == place,
        (BaseType::List(variable), BaseType::List(place)) => fits(variable, place),
        (BaseType::Named(_), BaseType::List(_)) | (BaseType::List(_), BaseType::Named(_)) => false,
    }
}
