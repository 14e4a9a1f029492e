//! The conditions of a filter as a person states them. "Assigned to me" and "unread" are relative to
//! the reader, so people can share them. Saved views store them as JSON.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{
    clock::{Timestamp, has_four_digit_year},
    ids::{AccountId, CategoryId},
    search::SearchQuery,
    ticket::{Priority, Status},
    ticket_filter::{TicketFilter, TicketListFilter},
    unread::TicketReader,
};

/// Conditions on tickets. A ticket must meet all of them; `None` matches everything.
///
/// The stored names of fields and values never change. A version that adds a condition adds a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TicketConditions {
    /// Tickets with any of these statuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Vec<Status>>,
    /// Tickets with any of these priorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priorities: Option<Vec<Priority>>,
    /// Tickets in any of these categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<CategoryId>>,
    /// Tickets with this assignee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<AssigneeCondition>,
    /// Tickets that are assigned to the reader, or those that are not if it is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_assigned_to_me: Option<bool>,
    /// Tickets that this account opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reporter: Option<AccountId>,
    /// Tickets that have been waiting for support since this time or longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Timestamp>,
    /// Tickets that match this search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Tickets that are unread for the reader, or those that are not if it is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_unread: Option<bool>,
}

/// A condition on the assignee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssigneeCondition {
    /// The ticket is unassigned.
    Nobody,
    /// The ticket is assigned to this account.
    Account(AccountId),
}

/// An account that does not exist, so that no ticket matches.
const NO_ACCOUNT: AccountId = AccountId(Uuid::nil());

impl TicketConditions {
    /// Reads stored conditions. Those that this version does not know, because a newer one has
    /// stored them, are left out, and so are single values that it does not know, and times that the
    /// database cannot compare.
    pub fn from_json(stored: &Value) -> Self {
        Self {
            statuses: list(stored, "statuses"),
            priorities: list(stored, "priorities"),
            categories: list(stored, "categories"),
            assignee: value(stored, "assignee"),
            is_assigned_to_me: value(stored, "is_assigned_to_me"),
            reporter: value(stored, "reporter"),
            waiting_since: value(stored, "waiting_since").filter(|&time| has_four_digit_year(time)),
            text: value(stored, "text"),
            is_unread: value(stored, "is_unread"),
        }
    }

    /// Returns the same conditions without values that are listed twice. The time grows with the
    /// number of categories squared.
    #[must_use]
    pub fn deduplicated(mut self) -> Self {
        self.statuses = self.statuses.map(unique);
        self.priorities = self.priorities.map(unique);
        self.categories = self.categories.map(unique);
        self
    }

    /// Returns whether the tickets are those of one assignee, which staff need to ask for unread
    /// ones.
    pub fn has_assignee(&self) -> bool {
        self.is_assigned_to_me == Some(true)
            || matches!(self.assignee, Some(AssigneeCondition::Account(_)))
    }

    /// Returns the filter for a reader, for lists and streams. A reader without an account has no
    /// tickets.
    pub fn filter(&self, reader: Option<AccountId>) -> TicketFilter {
        let me = reader.unwrap_or(NO_ACCOUNT);
        let (assignee, unless_assigned_to) = self.assignees(me);
        TicketFilter {
            statuses: self.statuses.clone(),
            priorities: self.priorities.clone(),
            categories: self.categories.clone(),
            assignee,
            unless_assigned_to,
            reporter: self.reporter,
        }
    }

    /// Returns the required assignee, and the account that it must not be.
    fn assignees(&self, me: AccountId) -> (Option<Option<AccountId>>, Option<AccountId>) {
        let assignee = self.assignee.map(|assignee| match assignee {
            AssigneeCondition::Nobody => None,
            AssigneeCondition::Account(id) => Some(id),
        });
        match (assignee, self.is_assigned_to_me) {
            (assignee, None) => (assignee, None),
            (None, Some(true)) => (Some(Some(me)), None),
            (None, Some(false)) => (None, Some(me)),
            (Some(other), Some(mine)) if (other == Some(me)) == mine => (Some(other), None),
            (Some(_), Some(_)) => (Some(Some(NO_ACCOUNT)), None),
        }
    }

    /// Returns the filter of a list for a reader. `search` is the parsed text.
    pub fn list_filter(
        &self,
        reader: TicketReader,
        search: Option<SearchQuery>,
    ) -> TicketListFilter {
        TicketListFilter {
            filter: self.filter(Some(reader.account)),
            waiting_since: self.waiting_since,
            search,
            unread: self.is_unread.map(|is_unread| (reader, is_unread)),
        }
    }
}

/// Reads a stored value, if this version knows it.
fn value<T: DeserializeOwned>(stored: &Value, field: &str) -> Option<T> {
    serde_json::from_value(stored.get(field)?.clone()).ok()
}

/// Reads the stored values of a list that this version knows.
fn list<T: DeserializeOwned>(stored: &Value, field: &str) -> Option<Vec<T>> {
    let values = stored.get(field)?.as_array()?.iter();
    Some(values.filter_map(|value| serde_json::from_value(value.clone()).ok()).collect())
}

fn unique<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    values.into_iter().fold(Vec::new(), |mut unique, value| {
        if !unique.contains(&value) {
            unique.push(value);
        }
        unique
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MARTA: AccountId = AccountId(Uuid::from_u128(1));
    const OLEG: AccountId = AccountId(Uuid::from_u128(2));

    #[test]
    fn conditions_are_read_as_they_were_stored() {
        let all = TicketConditions {
            statuses: Some(vec![Status::WaitingForSupport]),
            priorities: Some(vec![]),
            categories: Some(vec![CategoryId(Uuid::from_u128(3))]),
            assignee: Some(AssigneeCondition::Account(OLEG)),
            is_assigned_to_me: Some(false),
            reporter: Some(MARTA),
            waiting_since: Some(Timestamp::default()),
            text: Some("a".into()),
            is_unread: Some(true),
        };
        let stored = serde_json::to_value(&all).unwrap();
        assert_eq!(
            stored,
            json!({
                "statuses": ["waiting_for_support"],
                "priorities": [],
                "categories": ["00000000-0000-0000-0000-000000000003"],
                "assignee": { "account": "00000000-0000-0000-0000-000000000002" },
                "is_assigned_to_me": false,
                "reporter": "00000000-0000-0000-0000-000000000001",
                "waiting_since": "1970-01-01T00:00:00Z",
                "text": "a",
                "is_unread": true,
            })
        );
        assert_eq!(TicketConditions::from_json(&stored), all);
        let nobody = json!({ "assignee": "nobody" });
        let read = TicketConditions::from_json(&nobody);
        assert_eq!(read.assignee, Some(AssigneeCondition::Nobody));
        assert_eq!(serde_json::to_value(read).unwrap(), nobody);
        assert_eq!(serde_json::to_value(TicketConditions::default()).unwrap(), json!({}));
    }

    #[test]
    fn what_a_newer_version_has_stored_is_left_out() {
        let stored = json!({
            "statuses": ["waiting_for_support", "on_hold"],
            "priorities": "all",
            "assignee": { "team": 7 },
            "language": ["en"],
            "is_unread": true,
        });
        let known = TicketConditions {
            statuses: Some(vec![Status::WaitingForSupport]),
            is_unread: Some(true),
            ..TicketConditions::default()
        };
        assert_eq!(TicketConditions::from_json(&stored), known);
        assert_eq!(TicketConditions::from_json(&json!(7)), TicketConditions::default());
    }

    #[test]
    fn a_stored_time_that_the_database_cannot_compare_is_left_out() {
        let since = |time: &str| {
            TicketConditions::from_json(&json!({ "waiting_since": time })).waiting_since
        };
        assert!(since("9999-12-31T23:59:59Z").is_some());
        for time in
            ["+262000-01-01T00:00:00Z", "-4713-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00"]
        {
            assert_eq!(since(time), None, "{time}");
        }
    }

    #[test]
    fn the_readers_own_tickets_are_those_assigned_to_them_and_meet_the_other_condition_too() {
        let nothing = (Some(Some(NO_ACCOUNT)), None);
        let nobody = Some(AssigneeCondition::Nobody);
        let of = |id| Some(AssigneeCondition::Account(id));
        for (assignee, mine, expected) in [
            (None, None, (None, None)),
            (nobody, None, (Some(None), None)),
            (None, Some(true), (Some(Some(MARTA)), None)),
            (None, Some(false), (None, Some(MARTA))),
            (of(MARTA), Some(true), (Some(Some(MARTA)), None)),
            (of(OLEG), Some(true), nothing),
            (nobody, Some(true), nothing),
            (of(MARTA), Some(false), nothing),
            (of(OLEG), Some(false), (Some(Some(OLEG)), None)),
            (nobody, Some(false), (Some(None), None)),
        ] {
            let conditions = TicketConditions {
                assignee,
                is_assigned_to_me: mine,
                ..TicketConditions::default()
            };
            let filter = conditions.filter(Some(MARTA));
            let found = (filter.assignee, filter.unless_assigned_to);
            assert_eq!(found, expected, "{assignee:?} {mine:?}");
        }
    }
}
