//! Directives at variables, which async-graphql's rules skip (GraphQL specification, §5.7).

use async_graphql::{
    ServerError, ServerResult,
    parser::types::ExecutableDocument,
    registry::{__DirectiveLocation as Location, Registry},
};

/// Checks that no variable has a directive that is unknown or has its place elsewhere.
pub(super) fn check(registry: &Registry, document: &ExecutableDocument) -> ServerResult<()> {
    let operations = document.operations.iter();
    let variables = operations.flat_map(|(_, operation)| &operation.node.variable_definitions);
    for variable in variables {
        for directive in &variable.node.directives {
            let (name, variable) = (&directive.node.name.node, &variable.node.name.node);
            let message = match registry.directives.get(name.as_str()) {
                Some(known) if known.locations.contains(&Location::VARIABLE_DEFINITION) => continue,
                Some(_) => format!(
                    "The directive `@{name}` cannot be at a variable, but is at `${variable}`. \
                     Remove it."
                ),
                None => format!("There is no directive `@{name}`. Remove it from `${variable}`."),
            };
            return Err(ServerError::new(message, Some(directive.pos)));
        }
    }
    Ok(())
}
