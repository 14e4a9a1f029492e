//! Relay's `Node` interface: looking up objects by their global ids.

use async_graphql::{Context, ID, Interface, Object};

use super::{
    account::Account, attachment::Attachment, canned_answer::CannedAnswer, category::Category,
    comment::Comment, context::ContextExt as _, error::Failure, executor::List, id::GlobalId,
    saved_view::SavedView, ticket::Ticket,
};

/// An object that can be looked up by its global id.
#[derive(Interface)]
#[graphql(crate = "crate::graphql::executor")]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "An opaque identifier. Store it and send it back unchanged."
))]
pub enum Node {
    /// A person with an account.
    Account(Account),
    /// A file attached to a ticket or a comment.
    Attachment(Attachment),
    /// A canned answer, for staff.
    CannedAnswer(CannedAnswer),
    /// A category.
    Category(Category),
    /// A comment or an internal note.
    Comment(Comment),
    /// A saved view of the queue, for staff.
    SavedView(SavedView),
    /// A ticket.
    Ticket(Ticket),
}

/// The most ids that `nodes` accepts.
const MAX_NODES: usize = 100;

#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// The object with this global id. Fails with `NOT_FOUND` if it does not exist or you cannot
    /// see it.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global id: the `id` of a type that implements `Node`.")] id: ID,
    ) -> Result<Option<Node>, Failure> {
        ctx.identity()?;
        load(ctx, &id).await?.map(Some).ok_or_else(Failure::not_found)
    }

    /// The objects with these global ids, in the order of `ids`: null for each that does not
    /// exist or that you cannot see.
    #[graphql(complexity = "ids.len() * child_complexity")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global ids: at most 100.")] ids: Vec<ID>,
    ) -> Result<List<Option<Node>>, Failure> {
        ctx.identity()?;
        if ids.len() > MAX_NODES {
            let message = format!(
                "`ids` has {} ids, but at most {MAX_NODES} are allowed. Send several requests.",
                ids.len()
            );
            return Err(Failure::bad_request(message));
        }
        // Concurrently, so that the loaders can batch them.
        futures_util::future::try_join_all(ids.iter().map(|id| load(ctx, id))).await.map(List)
    }
}

async fn load(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>, Failure> {
    let loaders = ctx.loaders()?;
    Ok(match GlobalId::parse(id) {
        // These are reached through the objects that they belong to.
        None
        | Some(
            GlobalId::Delivery(_)
            | GlobalId::Notification(_)
            | GlobalId::ServiceToken(_)
            | GlobalId::SetAsideEvent(_)
            | GlobalId::Session(_)
            | GlobalId::TicketInvitation(_),
        ) => None,
        Some(GlobalId::Account(id)) => {
            loaders.get(id).await?.map(|it| Node::Account(Account::new(it)))
        }
        Some(GlobalId::Attachment(id)) => {
            loaders.get(id).await?.map(|it| Node::Attachment(Attachment(it)))
        }
        Some(GlobalId::CannedAnswer(id)) => {
            loaders.get(id).await?.map(|it| Node::CannedAnswer(CannedAnswer(it)))
        }
        Some(GlobalId::Category(id)) => {
            loaders.get(id).await?.map(|it| Node::Category(Category(it)))
        }
        Some(GlobalId::Comment(id)) => loaders.get(id).await?.map(|it| Node::Comment(Comment(it))),
        Some(GlobalId::SavedView(id)) => {
            loaders.get(id).await?.map(|it| Node::SavedView(SavedView(it)))
        }
        Some(GlobalId::Ticket(id)) => loaders.get(id).await?.map(|it| Node::Ticket(Ticket(it))),
    })
}
