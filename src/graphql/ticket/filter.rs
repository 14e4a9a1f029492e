//! Filters of ticket lists and streams.

use async_graphql::{ID, InputObject, MaybeUndefined};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::status::{TicketPriority, TicketStatus};
use crate::{
    domain::{
        actor::Actor,
        category::MAX_CATEGORIES,
        ids::{AccountId, CategoryId},
        policy,
        ticket::NumberPrefix,
        ticket_conditions::{AssigneeCondition, TicketConditions},
        ticket_filter::{TicketFilter, TicketListFilter},
    },
    graphql::{error::Failure, id::GlobalId, search::parse_query},
};

/// Selects tickets. A ticket matches if it matches every field that is set. A list field
/// matches any of its values; an empty list matches no ticket.
#[derive(InputObject, Default)]
pub struct TicketFilterInput {
    /// Tickets with one of these statuses.
    status: Option<Vec<TicketStatus>>,
    /// Tickets with one of these priorities.
    priority: Option<Vec<TicketPriority>>,
    /// Tickets in one of the categories with these ids, at most 100.
    category_ids: Option<Vec<ID>>,
    /// Tickets assigned to the account with this id. Null matches unassigned tickets; leave the
    /// field out to match both.
    assignee_id: MaybeUndefined<ID>,
    /// True matches tickets assigned to you, false those that are not. In a saved view, that is the
    /// person who reads it.
    is_assigned_to_me: Option<bool>,
    /// Tickets opened by the account with this id.
    reporter_id: Option<ID>,
    /// Tickets that have been waiting for support since this time or earlier: see
    /// `Ticket.waitingSince`. Not supported in streams.
    waiting_since: Option<DateTime<Utc>>,
    /// Tickets with these words, matched as by `search`: 1 to 255 characters. Not supported in
    /// streams.
    text: Option<String>,
    /// True matches tickets that are unread, false those that are not: see `Ticket.isUnread`.
    /// Staff must also set `isAssignedToMe` to true, or `assigneeId` to an account. Not supported in
    /// streams.
    is_unread: Option<bool>,
}

impl TicketFilterInput {
    /// The selection of a list.
    ///
    /// # Errors
    /// A bad request for too many categories, for a malformed text, and for staff who use `isUnread`
    /// without an assignee.
    pub fn selection(
        self,
        actor: &Actor,
        prefix: &NumberPrefix,
    ) -> Result<TicketListFilter, Failure> {
        let reader = policy::reader(actor);
        let conditions = self.conditions()?;
        let needs_assignee = conditions.is_unread.is_some() && reader.is_some_and(|it| it.is_staff);
        if needs_assignee && !conditions.has_assignee() {
            return Err(Failure::bad_request(
                "`filter`: staff can use `isUnread` only together with `isAssignedToMe: true` or \
                 `assigneeId`. Pass the id of your own account or of another one.",
            ));
        }
        let unread = reader.zip(conditions.is_unread);
        let text = conditions.text.as_deref();
        let search = text.map(|text| parse_query(text, prefix)).transpose()?;
        let filter = conditions.filter(actor.account_id());
        Ok(TicketListFilter { filter, waiting_since: conditions.waiting_since, search, unread })
    }

    /// The filter of a stream, which decides on each event alone.
    ///
    /// # Errors
    /// A bad request for too many categories, and for fields that events do not carry.
    pub fn for_stream(self, actor: &Actor) -> Result<TicketFilter, Failure> {
        if self.text.is_some() || self.waiting_since.is_some() || self.is_unread.is_some() {
            return Err(Failure::bad_request(
                "`filter`: streams do not support `text`, `waitingSince` and `isUnread`. Leave them \
                 out, and query `tickets` again when an event arrives.",
            ));
        }
        Ok(self.conditions()?.filter(actor.account_id()))
    }

    fn conditions(self) -> Result<TicketConditions, Failure> {
        let categories = self.category_ids.as_ref().map_or(0, Vec::len);
        if categories > MAX_CATEGORIES {
            return Err(Failure::bad_request(format!(
                "`filter`: `categoryIds` has {categories} ids, but at most {MAX_CATEGORIES} are \
                 allowed. Leave it out to match all categories."
            )));
        }
        Ok(TicketConditions::from(self).deduplicated())
    }
}

impl From<TicketFilterInput> for TicketConditions {
    fn from(input: TicketFilterInput) -> Self {
        // A malformed id matches no ticket, as the nil UUID does.
        let account = |id: &ID| GlobalId::account(id).unwrap_or(AccountId(Uuid::nil()));
        let category = |id: &ID| GlobalId::category(id).unwrap_or(CategoryId(Uuid::nil()));
        Self {
            statuses: input.status.map(|list| list.into_iter().map(Into::into).collect()),
            priorities: input.priority.map(|list| list.into_iter().map(Into::into).collect()),
            categories: input.category_ids.map(|ids| ids.iter().map(category).collect()),
            assignee: match input.assignee_id {
                MaybeUndefined::Undefined => None,
                MaybeUndefined::Null => Some(AssigneeCondition::Nobody),
                MaybeUndefined::Value(id) => Some(AssigneeCondition::Account(account(&id))),
            },
            is_assigned_to_me: input.is_assigned_to_me,
            reporter: input.reporter_id.as_ref().map(account),
            waiting_since: input.waiting_since,
            text: input.text,
            is_unread: input.is_unread,
        }
    }
}
