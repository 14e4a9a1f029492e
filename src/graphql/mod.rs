//! The GraphQL API's types and operations, one file per noun. Domain types are wrapped, never
//! exposed; resolvers call services and map their errors to the API's (see `error`).

mod account;
mod attachment;
mod audit;
mod branding;
mod bulk;
mod canned_answer;
mod category;
mod comment;
mod context;
mod count;
mod customer;
mod date;
mod delivery;
mod erasure;
mod error;
mod event;
pub mod executor;
mod fan_out;
mod handoff;
mod id;
mod input_types;
mod introspection;
pub mod json;
mod limits;
mod loader;
mod merge;
mod node;
mod notification;
mod operation;
mod pagination;
mod participant;
mod password;
mod people;
mod preferences;
mod prefetch;
mod presence;
mod redaction;
mod saved_view;
mod search;
mod second_factor;
mod service_token;
mod session;
mod session_cookie;
mod set_aside;
mod staff;
mod support_figures;
mod text;
mod ticket;
mod ticket_invitation;
mod unread;
mod uploaded_file;
mod validation;

use std::sync::OnceLock;

use async_graphql::{
    ID, MergedSubscription, OutputType as _, SDLExportOptions, SubscriptionType as _,
    ValidationMode, parser, registry::Registry,
};
use chrono::{DateTime, Utc};

pub use attachment::{Uploads, placeholder};
pub use context::{RequestContext, ResumeAt, StreamProgress, StreamTurns};
pub use error::{
    FORBIDDEN_MESSAGE, RETRY_AFTER_SECONDS, SECOND_FACTOR_REQUIRED_MESSAGE,
    UNAUTHENTICATED_MESSAGE, UNAVAILABLE_MESSAGE, code, exceeded_response, panicked_error,
    unavailable_error,
};
pub(crate) use executor::add_field;
pub use executor::{MutationProgress, RootFields, complete_root};
pub use fan_out::{InjectedItem, SubscriptionSlot, can_fan_out};
pub use id::GlobalId;
pub use input_types::{InputTypes, is_upload};
pub use introspection::SchemaShape;
pub use limits::explain_limit;
pub use operation::{operation_name, requested_operation, with_document};
pub use session_cookie::{CookieChange, SessionCookie};
pub use validation::{check_nulls, check_variables, write_whole_numbers};

use self::{
    executor::{Root, merged},
    limits::{MAX_COMPLEXITY, MAX_DEPTH},
    validation::Validation,
};

/// The executable schema.
pub type Schema = async_graphql::Schema<Root<Query>, Root<Mutation>, Subscription>;

/// The most directives on a field.
const MAX_DIRECTIVES: usize = 8;

merged! {
    /// The queries. Unless its description says otherwise, a query requires a session (see
    /// `signIn`): it fails with `UNAUTHENTICATED` without one, with `FORBIDDEN` if the caller lacks
    /// the required role, and with `SECOND_FACTOR_REQUIRED` if the account must configure a second
    /// factor first.
    ///
    /// `extensions.code` of an error is one of these, or `NOT_FOUND`; `BAD_REQUEST` for a malformed
    /// request or one beyond a limit; `RATE_LIMITED`, with `extensions.retryAfterSeconds`;
    /// `RESPONSE_TOO_LARGE` or `TOO_MANY_STATEMENTS` for a request that needs more than one request
    /// may: ask for fewer items or fields; `TIMEOUT` for one that takes too long; `UNAVAILABLE`; or
    /// `INTERNAL` for a failure of the server. The last three have `extensions.requestId`, by which the
    /// operator finds the request in the log. After `RESPONSE_TOO_LARGE`, `TOO_MANY_STATEMENTS` and
    /// `TIMEOUT`, `data` is null.
    ///
    /// `UNAVAILABLE` means: the database or the storage of files is away, overloaded or full, others keep the
    /// same data locked, or the server is checking too many passwords: try again after
    /// `extensions.retryAfterSeconds`. The status is 503 if `data` is missing or null.
    pub struct Query(
        account::AccountQuery,
        category::CategoryQuery,
        canned_answer::CannedAnswerQuery,
        saved_view::SavedViewQuery,
        event::EventQuery,
        node::NodeQuery,
        audit::AuditQuery,
        service_token::ServiceTokenQuery,
        set_aside::SetAsideQuery,
        ticket::TicketQuery,
        count::CountQuery,
        support_figures::SupportFiguresQuery,
        search::SearchQuery,
        people::PeopleQuery,
        staff::StaffQuery,
        branding::BrandingQuery,
        attachment::AttachmentQuery,
    );
}

merged! {
    /// The mutations. Each returns a payload with the changed objects and with `userErrors`, which
    /// the caller can correct. If the payload's `userErrors` is not empty, nothing was changed,
    /// except that failed attempts count towards rate limits. Access is restricted as for queries,
    /// unless a mutation's description says otherwise.
    pub struct Mutation(
        session::SessionMutation,
        second_factor::SecondFactorMutation,
        password::PasswordMutation,
        session::own::OwnSessionMutation,
        handoff::HandoffMutation,
        customer::CustomerMutation,
        service_token::ServiceTokenMutation,
        set_aside::SetAsideMutation,
        category::CategoryMutation,
        canned_answer::CannedAnswerMutation,
        saved_view::SavedViewMutation,
        staff::StaffMutation,
        erasure::ErasureMutation,
        ticket::TicketMutation,
        ticket_invitation::TicketInvitationMutation,
        bulk::BulkMutation,
        merge::MergeMutation,
        comment::CommentMutation,
        uploaded_file::UploadedFileMutation,
        redaction::RedactionMutation,
        participant::ParticipantMutation,
        presence::PresenceMutation,
        unread::UnreadMutation,
        notification::NotificationMutation,
        preferences::PreferencesMutation,
        delivery::DeliveryMutation,
    );
}

/// The live streams, over a websocket (the graphql-transport-ws protocol) or as server-sent
/// events (the graphql-sse protocol). Access is restricted as for queries.
#[derive(MergedSubscription, Default)]
pub struct Subscription(
    event::EventSubscription,
    notification::NotificationSubscription,
    presence::PresenceSubscription,
);

/// The schema, in two forms.
pub struct Schemas {
    /// Validates documents, and executes nothing.
    pub validating: Schema,
    /// Executes documents that the other form has validated, within the limits of an operation.
    pub executing: Schema,
    /// The types of the API.
    pub types: Registry,
    /// What introspection shows, unless it is off.
    pub shape: Option<&'static SchemaShape>,
}

/// Builds the executable schema, with or without introspection.
pub fn build(introspection: bool) -> Schemas {
    let build = |mode| {
        let builder = builder().validation_mode(mode);
        if introspection { builder } else { builder.disable_introspection() }
    };
    let limited = build(ValidationMode::Fast);
    let executing = limited.limit_depth(MAX_DEPTH).limit_complexity(MAX_COMPLEXITY).finish();
    Schemas {
        validating: build(ValidationMode::Strict).extension(Validation).finish(),
        types: types(),
        shape: introspection.then(|| SchemaShape::of(|query| executing.execute(query))).flatten(),
        executing,
    }
}

/// Returns the types of the API, without those of introspection.
fn types() -> Registry {
    let mut registry = Registry {
        query_type: "Query".into(),
        mutation_type: Some("Mutation".into()),
        subscription_type: Some("Subscription".into()),
        ..Registry::default()
    };
    Query::create_type_info(&mut registry);
    Mutation::create_type_info(&mut registry);
    Subscription::create_type_info(&mut registry);
    node::Node::create_type_info(&mut registry);
    event::TicketEvent::create_type_info(&mut registry);
    registry
}

/// Prints the schema in the schema definition language: the content of `schema.graphql`.
pub fn sdl() -> String {
    let options = SDLExportOptions::new().sorted_fields().sorted_arguments().sorted_enum_items();
    builder().finish().sdl_with_options(options.include_specified_by())
}

/// Returns the types of the schema's inputs. They are read once in a process.
///
/// # Errors
/// The schema cannot be parsed.
pub fn input_types() -> Result<&'static InputTypes, parser::Error> {
    static TYPES: OnceLock<Result<InputTypes, parser::Error>> = OnceLock::new();
    TYPES.get_or_init(|| InputTypes::parse(&sdl())).as_ref().map_err(Clone::clone)
}

fn builder() -> async_graphql::SchemaBuilder<Root<Query>, Root<Mutation>, Subscription> {
    Schema::build(Root::default(), Root::default(), Subscription::default())
        .limit_directives(MAX_DIRECTIVES)
        .override_output_type_description::<ID>(
            "An opaque identifier. Store it and send it back unchanged.",
        )
        .override_output_type_description::<DateTime<Utc>>(
            "An instant: RFC 3339 text in UTC, such as `2026-01-31T12:00:00Z`.",
        )
        .register_output_type::<node::Node>()
        .register_output_type::<event::TicketEvent>()
}
