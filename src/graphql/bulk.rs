//! Changes of many tickets at once.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use super::{
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    ticket::{Ticket, TicketPriority, TicketStatus, references},
};
use crate::service::{self, ticket::TicketChanges};

/// What `updateTickets` takes. Fields that are not given stay as they are.
#[derive(InputObject)]
pub struct UpdateTicketsInput {
    /// The tickets: 1 to 100, each once.
    ticket_ids: Vec<ID>,
    /// The new status, as `updateTicket` takes it.
    status: Option<TicketStatus>,
    /// The new priority.
    priority: Option<TicketPriority>,
    /// The new assignee, an agent or admin, such as yourself; null takes the present one off.
    assignee_id: MaybeUndefined<ID>,
    /// The new category.
    category_id: Option<ID>,
}

/// What became of one of the tickets that `updateTickets` was given.
#[derive(SimpleObject)]
pub struct UpdateTicketsResult {
    /// The id, as it was given.
    ticket_id: ID,
    /// The ticket as it stands now; null where it was not changed.
    ticket: Option<Ticket>,
    /// Why it was not changed.
    user_errors: Vec<UserError>,
}

/// What `updateTickets` answers.
#[derive(SimpleObject)]
pub struct UpdateTicketsPayload {
    /// What became of each ticket, in the order of `ticketIds`; empty where the input as a
    /// whole was refused.
    results: Vec<UpdateTicketsResult>,
    /// What is wrong with the input as a whole: nothing was changed then.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct BulkMutation;

#[Object]
impl BulkMutation {
    /// Changes many tickets in the same way, for staff. Each is changed wholly or not at all,
    /// and one that can't be changed, like a closed one, doesn't keep the others from it.
    async fn update_tickets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The tickets, and what changes in them.")] input: UpdateTicketsInput,
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
            Outcome::Refused { errors, .. } => {
                UpdateTicketsPayload { results: vec![], user_errors: errors }
            }
        })
    }
}

impl From<(ID, service::bulk::TicketResult)> for UpdateTicketsResult {
    fn from((ticket_id, result): (ID, service::bulk::TicketResult)) -> Self {
        match result {
            Ok(ticket) => Self { ticket_id, ticket: Some(Ticket(ticket)), user_errors: vec![] },
            Err(error) => Self { ticket_id, ticket: None, user_errors: vec![error.into()] },
        }
    }
}
