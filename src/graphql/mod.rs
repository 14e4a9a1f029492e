//! The API's types and operations, by noun. Domain types are wrapped, never
//! exposed; resolvers call services and turn their errors into the API's.

mod account;
mod attachment;
mod audit;
mod bulk;
mod category;
mod comment;
mod context;
mod count;
mod customer;
mod delivery;
mod error;
mod event;
mod fan_out;
mod handoff;
mod id;
mod loader;
mod node;
mod notification;
mod pagination;
mod participant;
mod password;
mod people;
mod preferences;
mod search;
mod second_factor;
mod service_token;
mod session;
mod staff;
mod ticket;
mod unread;

use async_graphql::{ID, MergedObject, MergedSubscription, SDLExportOptions};

pub use attachment::{Uploads, placeholder};
pub use context::{RequestContext, ResumeAt, StreamSignals};
pub use error::code;
pub use fan_out::{InjectedItem, SubscriptionSlot, can_fan_out};

use crate::{events::EventLog, service::Services};

/// The executable schema.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

/// How deep fields may nest; the introspection query of GraphiQL takes 15.
const MAX_DEPTH: usize = 20;
/// What a request may ask for: each field counts 1, and what lies in a list as
/// often as the list is long.
const MAX_COMPLEXITY: usize = 20_000;
/// Directives on one field.
const MAX_DIRECTIVES: usize = 8;

/// What can be asked for. Fields need a signed-in session where nothing else is said.
#[derive(MergedObject, Default)]
pub struct Query(
    account::AccountQuery,
    category::CategoryQuery,
    event::EventQuery,
    node::NodeQuery,
    audit::AuditQuery,
    service_token::ServiceTokenQuery,
    ticket::TicketQuery,
    count::CountQuery,
    search::SearchQuery,
    people::PeopleQuery,
    staff::StaffQuery,
);

/// What can be done. Each mutation takes one `input` and answers with what it
/// changed and with `userErrors`: what the person can mend in their input.
#[derive(MergedObject, Default)]
pub struct Mutation(
    session::SessionMutation,
    second_factor::SecondFactorMutation,
    password::PasswordMutation,
    session::own::OwnSessionMutation,
    handoff::HandoffMutation,
    customer::CustomerMutation,
    service_token::ServiceTokenMutation,
    category::CategoryMutation,
    staff::StaffMutation,
    ticket::TicketMutation,
    bulk::BulkMutation,
    comment::CommentMutation,
    participant::ParticipantMutation,
    unread::UnreadMutation,
    notification::NotificationMutation,
    preferences::PreferencesMutation,
);

/// What can be watched live, over websockets (the graphql-transport-ws protocol) or as
/// server-sent events (graphql-sse).
#[derive(MergedSubscription, Default)]
pub struct Subscription(event::EventSubscription, notification::NotificationSubscription);

/// Builds the schema over the installation's parts.
pub fn build(services: Services, log: EventLog, introspection: bool) -> Schema {
    let mut builder = builder().data(services).data(log);
    if !introspection {
        builder = builder.disable_introspection();
    }
    builder.finish()
}

/// The schema in the schema definition language, as `schema.graphql` has it.
pub fn sdl() -> String {
    let options = SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items();
    builder().finish().sdl_with_options(options.include_specified_by())
}

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, Subscription> {
    Schema::build(Query::default(), Mutation::default(), Subscription::default())
        .limit_depth(MAX_DEPTH)
        .limit_complexity(MAX_COMPLEXITY)
        .limit_directives(MAX_DIRECTIVES)
        .override_output_type_description::<ID>(
            "What tells things of one kind apart: opaque, to be kept and given back as it is.",
        )
        .register_output_type::<node::Node>()
        .register_output_type::<event::TicketEvent>()
}
