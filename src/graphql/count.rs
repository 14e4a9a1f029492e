//! How many tickets there are of which kind.

use std::collections::HashMap;

use async_graphql::{Context, Object, SimpleObject};

use super::{
    category::Category,
    context::ContextExt as _,
    error::Failure,
    ticket::{TicketFilterInput, TicketStatus},
};
use crate::{
    domain::{ids::CategoryId, queue::TicketCount, ticket::Status},
    service,
};

/// How many tickets there are, in all and by category and status.
#[derive(SimpleObject)]
pub struct TicketCounts {
    /// All of them.
    total: i64,
    /// By status, each of them once.
    statuses: Vec<StatusCount>,
    /// By category, in their order: those that have any.
    categories: Vec<CategoryCount>,
}

/// How many tickets have a status.
#[derive(SimpleObject)]
pub struct StatusCount {
    /// The status.
    status: TicketStatus,
    /// How many.
    count: i64,
}

/// How many tickets are in a category.
#[derive(SimpleObject)]
pub struct CategoryCount {
    /// The category.
    category: Category,
    /// All of them.
    total: i64,
    /// By status, each of them once.
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
    /// How many tickets there are, for staff: in all, by status and by category.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn ticket_counts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to count; all by default.")] filter: Option<TicketFilterInput>,
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
            Some(CategoryCount { category: Category(category), total, statuses })
        });
        Ok(TicketCounts {
            total: total(&counts),
            statuses: statuses(&counts),
            categories: categories.collect(),
        })
    }
}
