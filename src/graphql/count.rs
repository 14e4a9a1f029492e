//! Numbers of tickets by category and status.

use std::collections::HashMap;

use async_graphql::{Context, Object, SimpleObject};

use super::{
    category::Category,
    context::ContextExt as _,
    error::Failure,
    executor::List,
    ticket::{TicketFilterInput, TicketStatus},
};
use crate::{
    domain::{ids::CategoryId, ticket::Status, ticket_filter::TicketCount},
    service,
};

/// Numbers of tickets: the total, by status and by category.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct TicketCounts {
    /// The number of tickets, whatever their status.
    total: i64,
    /// The number in each status. Every status is listed once, even if it has no
    /// tickets.
    statuses: Vec<StatusCount>,
    /// The numbers in each category that has any of these tickets, in the order of categories,
    /// retired ones included.
    categories: List<CategoryCount>,
}

/// The number of tickets in a status.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct StatusCount {
    /// The status.
    status: TicketStatus,
    /// The number of tickets.
    count: i64,
}

/// Numbers of tickets in a category.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CategoryCount {
    /// The category.
    category: Category,
    /// The number of tickets, whatever their status.
    total: i64,
    /// The number in each status. Every status is listed once, even if it has no
    /// tickets.
    statuses: Vec<StatusCount>,
}

fn total(counts: &[TicketCount]) -> i64 {
    counts.iter().map(|count| count.count).sum()
}

fn statuses(counts: &[TicketCount]) -> Vec<StatusCount> {
    let count = |status: Status| {
        let of_status = counts.iter().filter(|count| count.status == status);
        StatusCount { status: status.into(), count: of_status.map(|count| count.count).sum() }
    };
    Status::ALL.into_iter().map(count).collect()
}

#[derive(Default)]
pub struct CountQuery;

#[Object]
impl CountQuery {
    /// Counts tickets by status and by category. Staff only.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn ticket_counts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Count only these tickets. All of them by default.")] filter: Option<
            TicketFilterInput,
        >,
    ) -> Result<TicketCounts, Failure> {
        service::ticket::require_staff(ctx.actor()?)?;
        let selection =
            filter.unwrap_or_default().selection(ctx.actor()?, ctx.services()?.number_prefix())?;
        let counts = service::ticket::counts(ctx.actor()?, ctx.services()?, &selection).await?;
        let mut by_category = HashMap::<CategoryId, Vec<TicketCount>>::new();
        for count in &counts {
            by_category.entry(count.category).or_default().push(*count);
        }
        let ids = by_category.keys().copied().collect::<Vec<_>>();
        let found = service::category::by_ids(ctx.actor()?, ctx.services()?, &ids).await?;
        let categories = found.into_iter().filter_map(|category| {
            let counts = by_category.remove(&category.id)?;
            let (total, statuses) = (total(&counts), statuses(&counts));
            Some(CategoryCount { category: Category::new(category), total, statuses })
        });
        Ok(TicketCounts {
            total: total(&counts),
            statuses: statuses(&counts),
            categories: categories.collect(),
        })
    }
}
