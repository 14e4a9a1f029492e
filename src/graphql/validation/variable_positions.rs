//! The types of variables where they are used (GraphQL specification, §5.8.5). async-graphql has a
//! rule for them, but does not run it.

use async_graphql::{
    Name, Pos, Positioned, ServerError, ServerResult, Value as ConstValue, Variables,
    parser::types::{BaseType, ExecutableDocument, OperationDefinition, Type, VariableDefinition},
    registry::{MetaInputValue, MetaType, Registry},
};
use async_graphql_value::Value;

use super::arguments;

/// Rejects a document that uses a variable where its type does not fit.
pub(super) fn check(registry: &Registry, document: &ExecutableDocument) -> ServerResult<()> {
    for (_, operation) in document.operations.iter() {
        let usages = Usages { registry, variables: &operation.node.variable_definitions };
        for argument in arguments::of_operation(registry, document, &operation.node) {
            usages.value(argument.place, &argument.value.node, argument.value.pos)?;
        }
    }
    Ok(())
}

/// Checks that no variable is null where null is not allowed. It may be used there because the place
/// has a default, which null does not stand for.
///
/// # Errors
/// A variable is null where a value is required.
pub fn check_nulls(
    registry: &Registry,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> ServerResult<()> {
    let is_null = |name: &Name| variables.get(name) == Some(&ConstValue::Null);
    let definitions = || operation.variable_definitions.iter();
    if !definitions().any(|known| is_null(&known.node.name.node)) {
        return Ok(());
    }
    for argument in arguments::of_operation(registry, document, operation) {
        if let (Value::Variable(name), Some(place)) =
            (&argument.value.node, Type::new(&argument.place.ty))
            && !place.nullable
            && is_null(name)
        {
            let message = format!("The variable `${name}` is null where `{place}` is expected.");
            return Err(ServerError::new(message, Some(argument.value.pos)));
        }
    }
    Ok(())
}

/// The places in which an operation uses its variables.
struct Usages<'d> {
    registry: &'d Registry,
    variables: &'d [Positioned<VariableDefinition>],
}

impl Usages<'_> {
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
