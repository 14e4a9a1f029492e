//! Which subscriptions fan out: a message for many subscribers is executed once, and its
//! encoded bytes go to all who sent the same document and may see the same.
//!
//! Fan-out needs every selected field on the list below. The value of a listed field
//! depends on the message and on the subscriber's role and language, and on nothing else. A
//! document with any other field is executed for each subscriber.

use std::sync::Arc;

use async_graphql::{
    Positioned,
    parser::types::{
        ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
    },
};
use parking_lot::Mutex;

use crate::{
    domain::event::TicketEventKind,
    events::{Item, Subscription},
    service::ServiceError,
};

/// The subscriptions that can fan out.
const STREAMS: [&str; 3] = ["ticketEvents", "inboxEvents", "queueEvents"];

/// Fields, each with the name of its object type, or an empty name for a scalar.
type Fields = &'static [(&'static str, &'static str)];

/// The listed fields of every event, and of the interface `TicketEvent`.
const EVENT: Fields =
    &[("id", ""), ("cursor", ""), ("occurredAt", ""), ("actor", "Account"), ("ticket", "Ticket")];

/// The GraphQL type of an event of this kind, and its listed fields in addition to [`EVENT`].
fn event_fields(kind: TicketEventKind) -> (&'static str, Fields) {
    match kind {
        TicketEventKind::TicketCreated => ("TicketCreated", &[]),
        TicketEventKind::CommentAdded => ("CommentAdded", &[("comment", "Comment")]),
        TicketEventKind::CommentEdited => ("CommentEdited", &[("comment", "Comment")]),
        TicketEventKind::ContentRedacted => {
            ("ContentRedacted", &[("content", ""), ("comment", "Comment"), ("attachmentId", "")])
        }
        TicketEventKind::StatusChanged => {
            ("StatusChanged", &[("fromStatus", ""), ("toStatus", "")])
        }
        TicketEventKind::PriorityChanged => {
            ("PriorityChanged", &[("fromPriority", ""), ("toPriority", "")])
        }
        TicketEventKind::AssigneeChanged => {
            ("AssigneeChanged", &[("fromAssignee", "Account"), ("toAssignee", "Account")])
        }
        TicketEventKind::CategoryChanged => {
            ("CategoryChanged", &[("fromCategory", "Category"), ("toCategory", "Category")])
        }
        TicketEventKind::SummaryChanged => ("SummaryChanged", &[]),
        TicketEventKind::ParticipantInvited => ("ParticipantInvited", &[("invitationId", "")]),
        TicketEventKind::InvitationDeclined => ("InvitationDeclined", &[("invitationId", "")]),
        TicketEventKind::InvitationWithdrawn => ("InvitationWithdrawn", &[("invitationId", "")]),
        TicketEventKind::ParticipantAdded => ("ParticipantAdded", &[("participant", "Account")]),
        TicketEventKind::ParticipantRemoved => {
            ("ParticipantRemoved", &[("participant", "Account")])
        }
        TicketEventKind::TicketMerged => {
            ("TicketMerged", &[("from", "Ticket"), ("into", "Ticket")])
        }
        TicketEventKind::TicketUnmerged => {
            ("TicketUnmerged", &[("from", "Ticket"), ("into", "Ticket")])
        }
        TicketEventKind::Unknown => ("UnreadableEvent", &[]),
    }
}

/// The listed fields of the types that are not events.
const OTHER_TYPES: &[(&str, Fields)] = &[
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
            ("editedAt", ""),
            ("redactedAt", ""),
        ],
    ),
    ("Account", &[("id", ""), ("name", ""), ("isErased", ""), ("isStaff", "")]),
    ("Category", &[("id", ""), ("slug", ""), ("name", ""), ("isRetired", "")]),
];

/// Whether the messages of an operation can fan out to those who sent the same document in
/// the same role and language: it is a stream of events, selects listed fields only, and
/// its variables say only where the stream begins.
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
        && only_listed_fields(document, "StreamMessage", &root.selection_set.node)
}

fn only_listed_fields(document: &ExecutableDocument, parent: &str, set: &SelectionSet) -> bool {
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
                    Some(ty) => only_listed_fields(document, ty, &field.selection_set.node),
                    None => false,
                }
        }
        Selection::InlineFragment(fragment) => {
            let fragment = &fragment.node;
            let on = fragment.type_condition.as_ref();
            let ty = on.map_or(parent, |condition| condition.node.on.node.as_str());
            fragment.directives.is_empty()
                && only_listed_fields(document, ty, &fragment.selection_set.node)
        }
        Selection::FragmentSpread(spread) => {
            let found = document.fragments.get(&spread.node.fragment_name.node);
            spread.node.directives.is_empty()
                && found.is_some_and(|fragment| {
                    let fragment = &fragment.node;
                    let ty = fragment.type_condition.node.on.node.as_str();
                    fragment.directives.is_empty()
                        && only_listed_fields(document, ty, &fragment.selection_set.node)
                })
        }
    })
}

/// The type of a listed field, empty for a scalar. `None` for a field that is not listed.
fn field_type(parent: &str, name: &str) -> Option<&'static str> {
    let fields = listed_fields(parent)?;
    if name == "__typename" {
        return Some("");
    }
    fields.into_iter().flatten().find(|(field, _)| *field == name).map(|(_, ty)| *ty)
}

/// The listed fields of a type. `None` for a type that is not listed.
fn listed_fields(ty: &str) -> Option<[Fields; 2]> {
    if ty == "TicketEvent" {
        return Some([EVENT, &[]]);
    }
    let event =
        TicketEventKind::ALL.iter().copied().map(event_fields).find(|(name, _)| *name == ty);
    let other = || OTHER_TYPES.iter().find(|(name, _)| *name == ty);
    event.map(|(_, own)| [EVENT, own]).or_else(|| other().map(|(_, own)| [*own, &[]]))
}

/// The slot in which the execution of a request leaves its subscription, so that the transport
/// can run it. The execution itself yields nothing.
#[derive(Clone, Default)]
pub struct SubscriptionSlot(Arc<Mutex<Option<Subscription>>>);

impl SubscriptionSlot {
    /// Takes the subscription out. `None` if the request was refused.
    pub fn take(&self) -> Option<Subscription> {
        self.0.lock().take()
    }

    pub(super) fn put(&self, subscription: Subscription) {
        *self.0.lock() = Some(subscription);
    }
}

/// An item that the stream of a request yields in place of new events.
pub struct InjectedItem(Mutex<Option<Result<Item, ServiceError>>>);

impl InjectedItem {
    /// Wraps one item.
    pub fn new(item: Result<Item, ServiceError>) -> Self {
        Self(Mutex::new(Some(item)))
    }

    pub(super) fn take(&self) -> Option<Result<Item, ServiceError>> {
        self.0.lock().take()
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
    fn only_documents_of_listed_fields_fan_out() {
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

    /// A field that was renamed in the schema would silently lose its fan-out.
    #[test]
    fn every_listed_field_exists_in_the_schema_with_its_type() {
        let sdl = super::super::sdl();
        let events = TicketEventKind::ALL.iter().map(|&kind| event_fields(kind).0);
        let others = OTHER_TYPES.iter().map(|(ty, _)| *ty);
        for ty in events.chain(others).chain(["TicketEvent"]) {
            let body = definition(&sdl, ty);
            for (field, field_ty) in listed_fields(ty).unwrap().into_iter().flatten() {
                let line = body.lines().map(str::trim).find(|line| {
                    line.strip_prefix(field).is_some_and(|rest| rest.starts_with([':', '(']))
                });
                let line = line.unwrap_or_else(|| panic!("no {ty}.{field}"));
                let returned = line.rsplit(": ").next().unwrap().trim_end_matches('!');
                assert!(field_ty.is_empty() || returned == *field_ty, "{ty}.{field}: {line}");
            }
        }
    }

    #[test]
    fn every_event_of_the_schema_is_listed() {
        let sdl = super::super::sdl();
        let events = sdl.lines().filter_map(|line| {
            line.strip_prefix("type ")?.strip_suffix(" implements TicketEvent {")
        });
        let listed = TicketEventKind::ALL.iter().map(|&kind| event_fields(kind).0);
        let listed = listed.collect::<Vec<_>>();
        assert_eq!(events.clone().count(), listed.len());
        assert!(events.into_iter().all(|event| listed.contains(&event)));
    }

    fn definition<'s>(sdl: &'s str, ty: &str) -> &'s str {
        let start = ["type", "interface", "union"]
            .iter()
            .find_map(|kind| Some(sdl.find(&format!("\n{kind} {ty} "))? + 1))
            .unwrap_or_else(|| panic!("no {ty}"));
        let body = &sdl[start..];
        &body[..body.find("\n}").unwrap_or(body.len())]
    }
}
