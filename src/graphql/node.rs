//! Relay's `Node`: anything with a global id, by its id.

use async_graphql::{Context, ID, Interface, Object};

use super::{
    account::Account, attachment::Attachment, category::Category, comment::Comment,
    context::ContextExt as _, error::Failure, id::GlobalId, ticket::Ticket,
};

/// Something with a global id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "The global id."))]
pub enum Node {
    /// A person with an account.
    Account(Account),
    /// A file on a ticket or comment.
    Attachment(Attachment),
    /// A category.
    Category(Category),
    /// A comment or internal note.
    Comment(Comment),
    /// A ticket.
    Ticket(Ticket),
}

/// So many ids a call of `nodes`.
const MAX_NODES: usize = 100;

#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// The thing of a global id. `NOT_FOUND` where there is none that you may see.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global id.")] id: ID,
    ) -> Result<Option<Node>, Failure> {
        ctx.identity()?;
        load(ctx, &id).await?.map(Some).ok_or_else(Failure::not_found)
    }

    /// The things of some global ids, in their order; null for each that does not
    /// exist or that you may not see.
    #[graphql(complexity = "ids.len() * child_complexity")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global ids, 100 at most.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>, Failure> {
        ctx.identity()?;
        if ids.len() > MAX_NODES {
            return Err(Failure::bad_request(format!("`ids` takes {MAX_NODES} ids at most.")));
        }
        // At once, so that the loaders gather them.
        futures_util::future::try_join_all(ids.iter().map(|id| load(ctx, id))).await
    }
}

async fn load(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>, Failure> {
    let loaders = ctx.loaders()?;
    Ok(match GlobalId::parse(id) {
        // These are reached from what they belong to.
        None
        | Some(
            GlobalId::Delivery(_)
            | GlobalId::Notification(_)
            | GlobalId::ServiceToken(_)
            | GlobalId::Session(_),
        ) => None,
        Some(GlobalId::Account(id)) => {
            loaders.get(id).await?.map(|it| Node::Account(Account::new(it)))
        }
        Some(GlobalId::Attachment(id)) => {
            loaders.get(id).await?.map(|it| Node::Attachment(Attachment(it)))
        }
        Some(GlobalId::Category(id)) => {
            loaders.get(id).await?.map(|it| Node::Category(Category(it)))
        }
        Some(GlobalId::Comment(id)) => loaders.get(id).await?.map(|it| Node::Comment(Comment(it))),
        Some(GlobalId::Ticket(id)) => loaders.get(id).await?.map(|it| Node::Ticket(Ticket(it))),
    })
}
