//! An operation, run for a transport that gives out its responses one after the other:
//! a websocket, or a stream of server-sent events.

use async_graphql::{Request, parser::types::OperationType};

mod direct;
mod fan_out;

use super::Api;
use crate::domain::{actor::Actor, session::Origin};
pub use direct::{Operation, Output};
pub use fan_out::FanOutGroups;

/// Starts a request that the [guard](super::guard) has admitted as an operation of
/// this type; resolves when it is known what it gives.
pub async fn start(
    api: Api,
    actor: Actor,
    origin: Origin,
    mut request: Request,
    operation: Option<OperationType>,
) -> Operation {
    let group = match operation {
        Some(OperationType::Subscription) => api.fan_out.of(&mut request, &actor),
        _ => None,
    };
    match group {
        Some(group) => fan_out::start(api, actor, origin, request, group).await,
        None => direct::execute(&api, actor, origin, request, operation),
    }
}
