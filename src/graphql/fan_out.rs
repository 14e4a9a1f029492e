//! Which subscriptions may share their responses: a message to many subscribers is
//! executed once, and its encoded bytes go to all who asked for the same and may see
//! the same.
//!
//! Only fields are shared that are named here: their value depends on the message, the
//! reader's role and language, and on nothing else. What is not named is executed for
//! each subscriber.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{
    Positioned,
    parser::types::{
        ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
    },
};

use crate::{
    events::{Item, Subscription},
    service::ServiceError,
};

/// The streams whose messages may be shared.
const STREAMS: [&str; 3] = ["ticketEvents", "inboxEvents", "queueEvents"];

/// What all events have.
const EVENT: &[(&str, &str)] =
    &[("id", ""), ("cursor", ""), ("occurredAt", ""), ("actor", "Account"), ("ticket", "Ticket")];

/// A type's fields besides those that all events have, each with its type where it has
/// fields of its own.
const FIELDS: &[(&str, &[(&str, &str)])] = &[
    ("TicketEvent", &[]),
    ("TicketCreated", &[]),
    ("CommentAdded", &[("comment", "Comment")]),
    ("StatusChanged", &[("fromStatus", ""), ("toStatus", "")]),
    ("PriorityChanged", &[("fromPriority", ""), ("toPriority", "")]),
    ("AssigneeChanged", &[("fromAssignee", "Account"), ("toAssignee", "Account")]),
    ("CategoryChanged", &[("fromCategory", "Category"), ("toCategory", "Category")]),
    ("SummaryChanged", &[]),
    ("ParticipantAdded", &[("participant", "Account")]),
    ("ParticipantRemoved", &[("participant", "Account")]),
    ("StreamMessage", &[]),
    ("Checkpoint", &[("cursor", "")]),
    ("AccessRevoked", &[("ticketId", ""), ("cursor", "")]),
    ("ResyncRequired", &[("reason", "")]),
    (
        "Ticket",
        &[
            ("id", ""),
            ("number", ""),
            ("summary", ""),
            ("description", ""),
            ("status", ""),
            ("statusName", ""),
            ("priority", ""),
            ("category", "Category"),
            ("reporter", "Account"),
            ("assignee", "Account"),
            ("version", ""),
            ("createdAt", ""),
            ("updatedAt", ""),
            ("waitingSince", ""),
        ],
    ),
    (
        "Comment",
        &[
            ("id", ""),
            ("ticket", "Ticket"),
            ("author", "Account"),
            ("visibility", ""),
            ("body", ""),
            ("createdAt", ""),
        ],
    ),
    ("Account", &[("id", ""), ("name", ""), ("isStaff", "")]),
    ("Category", &[("id", ""), ("slug", ""), ("name", ""), ("isRetired", "")]),
];

/// Types that have no field of all events.
const NO_EVENTS: [&str; 8] = [
    "StreamMessage",
    "Checkpoint",
    "AccessRevoked",
    "ResyncRequired",
    "Ticket",
    "Comment",
    "Account",
    "Category",
];

/// Whether the messages of an operation may be shared between those who ask for the
/// same in the same role and language: it is a stream of events that asks for nothing
/// else than what is named here, and whose variables only say from where it starts.
pub fn can_fan_out(document: &ExecutableDocument, operation: &OperationDefinition) -> bool {
    if operation.ty != OperationType::Subscription || !operation.directives.is_empty() {
        return false;
    }
    let [Positioned { node: Selection::Field(root), .. }] =
        operation.selection_set.node.items.as_slice()
    else {
        return false;
    };
    let root = &root.node;
    STREAMS.contains(&root.name.node.as_str())
        && root.directives.is_empty()
        && only_shared_fields(document, "StreamMessage", &root.selection_set.node)
}

fn only_shared_fields(document: &ExecutableDocument, parent: &str, set: &SelectionSet) -> bool {
    set.items.iter().all(|selection| match &selection.node {
        Selection::Field(field) => {
            let field = &field.node;
            let name = field.name.node.as_str();
            let plain = field.directives.is_empty()
                && field
                    .arguments
                    .iter()
                    .all(|(_, value)| value.node.clone().into_const().is_some());
            let empty = field.selection_set.node.items.is_empty();
            plain
                && match field_type(parent, name) {
                    Some("") => empty,
                    Some(ty) => only_shared_fields(document, ty, &field.selection_set.node),
                    None => false,
                }
        }
        Selection::InlineFragment(fragment) => {
            let fragment = &fragment.node;
            let on = fragment.type_condition.as_ref();
            let ty = on.map_or(parent, |condition| condition.node.on.node.as_str());
            fragment.directives.is_empty()
                && only_shared_fields(document, ty, &fragment.selection_set.node)
        }
        Selection::FragmentSpread(spread) => {
            let found = document.fragments.get(&spread.node.fragment_name.node);
            spread.node.directives.is_empty()
                && found.is_some_and(|fragment| {
                    let fragment = &fragment.node;
                    let ty = fragment.type_condition.node.on.node.as_str();
                    fragment.directives.is_empty()
                        && only_shared_fields(document, ty, &fragment.selection_set.node)
                })
        }
    })
}

/// The type of a shared field, empty for a scalar; `None` for one that is not shared.
fn field_type(parent: &str, name: &str) -> Option<&'static str> {
    let (_, own) = FIELDS.iter().find(|(ty, _)| *ty == parent)?;
    if name == "__typename" {
        return Some("");
    }
    let events: &[_] = if NO_EVENTS.contains(&parent) { &[] } else { EVENT };
    own.iter().chain(events).find(|(field, _)| *field == name).map(|(_, ty)| *ty)
}

/// Hands a subscription over to the transport, once the request has been checked: the
/// execution that it is part of then gives nothing.
#[derive(Clone, Default)]
pub struct SubscriptionSlot(Arc<Mutex<Option<Subscription>>>);

impl SubscriptionSlot {
    /// Takes the subscription; `None` where the request was refused.
    pub fn take(&self) -> Option<Subscription> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, subscription: Subscription) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(subscription);
    }
}

/// What the stream that a request asks for is to give, instead of what happens.
pub struct InjectedItem(Mutex<Option<Result<Item, ServiceError>>>);

impl InjectedItem {
    /// One message.
    pub fn new(item: Result<Item, ServiceError>) -> Self {
        Self(Mutex::new(Some(item)))
    }

    pub(super) fn take(&self) -> Option<Result<Item, ServiceError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fans_out(query: &str) -> bool {
        let document = async_graphql::parser::parse_query(query).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        can_fan_out(&document, &operation.node)
    }

    #[test]
    fn only_what_depends_on_the_message_alone_is_shared() {
        assert!(fans_out(
            "subscription($t: ID!, $a: String) { live: ticketEvents(ticketId: $t, after: $a) {
                __typename ... on TicketEvent { id cursor actor { name } ticket { number statusName(locale: RU) } }
                ...c ... on Checkpoint { cursor } } }
             fragment c on CommentAdded { comment { body author { isStaff } ticket { category { name } } } }"
        ));
        for query in [
            "{ viewer { id } }",
            "subscription { notifications { __typename } }",
            "subscription { inboxEvents { ... on TicketEvent { actor { email } } } }",
            "subscription { inboxEvents { ... on TicketEvent { ticket { timeline { nodes { id } } } } } }",
            "subscription { inboxEvents { ... on TicketEvent { ticket { deliveries { id } } } } }",
            "subscription { inboxEvents { ... on Nonsense { id } } }",
            "subscription { inboxEvents { ...unknown } }",
            "subscription { inboxEvents @skip(if: false) { __typename } }",
            "subscription($s: Boolean!) { inboxEvents { __typename @include(if: $s) } }",
            "subscription { inboxEvents { ... @skip(if: true) { __typename } } }",
            "subscription($l: Locale) { inboxEvents { ... on TicketEvent { ticket { statusName(locale: $l) } } } }",
        ] {
            assert!(!fans_out(query), "{query}");
        }
    }

    /// Each name is one of the schema's, with the type that it has there: a renamed field
    /// would be executed for each subscriber without anybody's noticing.
    #[test]
    fn what_is_named_is_in_the_schema() {
        let sdl = super::super::sdl();
        for (ty, own) in FIELDS {
            let start = ["type", "interface", "union"]
                .iter()
                .find_map(|kind| Some(sdl.find(&format!("\n{kind} {ty} "))? + 1))
                .unwrap_or_else(|| panic!("no {ty}"));
            let body = &sdl[start..];
            let body = &body[..body.find("\n}").unwrap_or(body.len())];
            let events: &[_] = if NO_EVENTS.contains(ty) { &[] } else { EVENT };
            for (field, field_ty) in own.iter().chain(events) {
                let line = body.lines().map(str::trim).find(|line| {
                    line.strip_prefix(field).is_some_and(|rest| rest.starts_with([':', '(']))
                });
                let line = line.unwrap_or_else(|| panic!("no {ty}.{field}"));
                let returned = line.rsplit(": ").next().unwrap().trim_end_matches('!');
                assert!(field_ty.is_empty() || returned == *field_ty, "{ty}.{field}: {line}");
            }
        }
    }
}
