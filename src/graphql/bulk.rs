//! Updates of many tickets at once.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    executor::List,
    id::GlobalId,
    ticket::{Ticket, TicketPriority, TicketStatus, references},
};
use crate::service::{self, ticket::TicketChanges};

/// The input of `updateTickets`. Omitted fields stay unchanged.
#[derive(InputObject)]
pub struct UpdateTicketsInput {
    /// The ids of the tickets: 1 to 100, each once.
    ticket_ids: Vec<ID>,
    /// The new status, with the same rules as in `updateTicket`.
    status: Option<TicketStatus>,
    /// The new priority.
    priority: Option<TicketPriority>,
    /// The id of the new assignee, an active agent or admin, or null to unassign the tickets.
    assignee_id: MaybeUndefined<ID>,
    /// The id of the new category, which must not be retired.
    category_id: Option<ID>,
}

/// The result of `updateTickets` for one ticket.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdateTicketsResult {
    /// The id, as it was sent in `ticketIds`.
    ticket_id: ID,
    /// The ticket after the update, or null if the update of this ticket failed.
    ticket: Option<Ticket>,
    /// Why this ticket was not updated; empty on success.
    user_errors: Vec<UserError>,
}

/// The payload of `updateTickets`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdateTicketsPayload {
    /// The result for each ticket, in the order of `ticketIds`. Empty if the input as a whole
    /// was rejected.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    results: List<UpdateTicketsResult>,
    /// What the caller can correct; empty on success. These errors are about the input as a
    /// whole: if there are any, nothing was changed.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct BulkMutation;

#[Object]
impl BulkMutation {
    /// Makes the same changes to up to 100 tickets. Staff only. Each ticket gets all of the
    /// changes or none, and one that cannot be updated does not stop the others: see `results`.
    async fn update_tickets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tickets and their changes.")] input: UpdateTicketsInput,
    ) -> Result<UpdateTicketsPayload, Failure> {
        let UpdateTicketsInput { ticket_ids, status, priority, assignee_id, category_id } = input;
        service::ticket::require_staff(ctx.actor()?)?;
        let ids = ticket_ids.iter().map(GlobalId::ticket).collect::<Vec<_>>();
        let updated = match references(assignee_id, category_id) {
            Ok((assignee, category)) => {
                let changes = TicketChanges {
                    status: status.map(Into::into),
                    priority: priority.map(Into::into),
                    assignee,
                    category,
                    ..TicketChanges::default()
                };
                service::bulk::update(ctx.actor()?, ctx.services()?, &ids, &changes).await
            }
            Err(error) => Err(error.into()),
        };
        Ok(match Outcome::of(updated)? {
            Outcome::Done(results) => {
                let results = ticket_ids.into_iter().zip(results).map(UpdateTicketsResult::from);
                UpdateTicketsPayload { results: results.collect(), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                UpdateTicketsPayload { results: List(vec![]), user_errors: errors }
            }
        })
    }
}

impl From<(ID, service::bulk::TicketResult)> for UpdateTicketsResult {
    fn from((ticket_id, result): (ID, service::bulk::TicketResult)) -> Self {
        match result {
            Ok(ticket) => {
                Self { ticket_id, ticket: Some(Ticket::new(ticket)), user_errors: vec![] }
            }
            Err(error) => Self { ticket_id, ticket: None, user_errors: vec![error.into()] },
        }
    }
}
