//! Figures of the support.

use std::sync::Arc;

use async_graphql::{Context, Description, Enum, Object};

use super::{
    account::Account, category::Category, context::ContextExt as _, date::Date, error::Failure,
    executor::List, text::Text,
};
use crate::{
    domain::support_figures::{self, FigureRow, Period, Subject},
    service,
};

/// What each row of figures is about.
#[derive(Enum, Copy, Clone, PartialEq, Eq)]
#[graphql(remote = "support_figures::FigureGroup")]
pub enum FigureGroup {
    /// A category.
    Category,
    /// A member of staff.
    Agent,
    /// A day.
    Day,
}

/// Figures of the support in a period, computed from the event log. They depend on nothing that
/// happened after the period, so those of a past period do not change.
///
/// A ticket is open unless it is `RESOLVED` or `CLOSED`. Its first response is the first public
/// comment by staff. Its resolution is its move from an open status to `RESOLVED` or `CLOSED`, if it
/// was not reopened before the end of the period; of several, the last one. A response or
/// resolution counts in the period in which it happened, whenever the ticket was opened, and its
/// time runs from the opening. Who opened a ticket and its participants are customers; all others
/// who comment are staff, also if they have left since.
///
/// By category, opened and open tickets count for the category at the end of the period, responses
/// and resolutions for the category at that time. By agent, opened and open tickets count for the
/// assignee at the end of the period, a response for its author, and a resolution for the assignee
/// at that time or else for the member of staff who made it.
#[derive(Description)]
pub struct SupportFigures {
    figures: support_figures::SupportFigures,
    group: support_figures::FigureGroup,
}

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl SupportFigures {
    /// One row for each category or member of staff with any figures, in the order of categories or
    /// names, retired and former ones included; or one for each day of the period, oldest first. At
    /// most 500.
    #[graphql(complexity = "1 + 500 * child_complexity")]
    async fn rows(&self) -> List<SupportFiguresRow> {
        self.figures.rows.iter().cloned().map(SupportFiguresRow::new).collect()
    }

    /// The figures of all tickets together.
    async fn total(&self) -> SupportFiguresRow {
        SupportFiguresRow::new(self.figures.total.clone())
    }

    /// The rows and the total as CSV (RFC 4180), with a header in English and names in your account's
    /// language. A name that a spreadsheet would run as a formula begins with an apostrophe.
    async fn csv(&self, ctx: &Context<'_>) -> Result<Text<String>, Failure> {
        let locale = ctx.locale(None)?;
        Ok(Text(service::support_figures::csv(&self.figures, self.group, locale)))
    }
}

/// Figures of a category, a member of staff, a day, or all tickets.
#[derive(Description)]
pub struct SupportFiguresRow(Arc<FigureRow>);

impl SupportFiguresRow {
    fn new(row: FigureRow) -> Self {
        Self(Arc::new(row))
    }
}

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl SupportFiguresRow {
    /// The day, in UTC. Null in rows about something else.
    async fn day(&self) -> Option<Date> {
        match self.0.subject {
            Subject::Day(day) => Some(Date(day)),
            _ => None,
        }
    }

    /// The category. Null in rows about something else.
    async fn category(&self, ctx: &Context<'_>) -> Result<Option<Category>, Failure> {
        match self.0.subject {
            Subject::Category { id, .. } => Ok(ctx.loaders()?.get(id).await?.map(Category)),
            _ => Ok(None),
        }
    }

    /// The member of staff, also if they have left since or their account was erased. Null in rows
    /// about something else, and in the one of tickets without an agent.
    async fn agent(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.0.subject {
            Subject::Agent { id, .. } => Ok(ctx.loaders()?.get(id).await?.map(Account::new)),
            _ => Ok(None),
        }
    }

    /// The number of tickets that were opened.
    async fn opened(&self) -> i64 {
        self.0.opened
    }

    /// The number of tickets that were resolved. Those that were closed by `mergeTicket` do not count:
    /// they continue in another one.
    async fn resolved(&self) -> i64 {
        self.0.resolved
    }

    /// The number of tickets that were open at the end of the period, or of the day.
    async fn open(&self) -> i64 {
        self.0.open
    }

    /// The number of the tickets in `open` that were `WAITING_FOR_SUPPORT`.
    async fn waiting(&self) -> i64 {
        self.0.waiting
    }

    /// The median time until the first response, in seconds. Null without responses.
    async fn first_response_median_seconds(&self) -> Option<i64> {
        self.0.first_response.median
    }

    /// The time within which 90 % of the first responses came, in seconds. Null without responses.
    async fn first_response_p90_seconds(&self) -> Option<i64> {
        self.0.first_response.p90
    }

    /// The median time until the resolution, in seconds. Null without resolutions.
    async fn resolution_median_seconds(&self) -> Option<i64> {
        self.0.resolution.median
    }

    /// The time within which 90 % of the resolutions came, in seconds. Null without resolutions.
    async fn resolution_p90_seconds(&self) -> Option<i64> {
        self.0.resolution.p90
    }
}

#[derive(Default)]
pub struct SupportFiguresQuery;

#[Object]
impl SupportFiguresQuery {
    /// Figures of the support in a period of at most 366 days. Staff only. A longer or reversed
    /// period, and one whose figures take longer than 10 seconds, fails with `BAD_REQUEST`.
    async fn support_figures(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first day of the period. Days begin and end at midnight in UTC.")]
        from: Date,
        #[graphql(desc = "The last day of the period, which belongs to it.")] to: Date,
        #[graphql(desc = "What each row is about.")] group_by: FigureGroup,
    ) -> Result<Option<SupportFigures>, Failure> {
        service::ticket::require_staff(ctx.actor()?)?;
        let period = Period::new(from.0, to.0)
            .map_err(|error| Failure::bad_request(format!("The period {error}.")))?;
        let (actor, services, group) = (ctx.actor()?, ctx.services()?, group_by.into());
        let figures = service::support_figures::of_period(actor, services, period, group).await?;
        Ok(Some(SupportFigures { figures, group }))
    }
}
