//! Categories.

use async_graphql::{Context, Description, ID, Object};

use super::{account::Locale, context::ContextExt as _, error::Failure, id::GlobalId};
use crate::{domain::category, service};

/// A category that tickets are sorted into.
#[derive(Description)]
pub struct Category(pub category::Category);

#[Object(use_type_description)]
impl Category {
    /// Its global id.
    pub async fn id(&self) -> ID {
        GlobalId::Category(self.0.id).into()
    }

    /// A stable name for scripts and links, like `technical-support`.
    async fn slug(&self) -> &str {
        &self.0.slug
    }

    /// The name that people read.
    async fn name(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The language; your account's by default.")] locale: Option<Locale>,
    ) -> Result<&str, Failure> {
        Ok(self.0.name(ctx.locale(locale.map(Into::into))?))
    }

    /// Whether the category takes no new tickets any more.
    async fn is_retired(&self) -> bool {
        self.0.retired_at.is_some()
    }
}

#[derive(Default)]
pub struct CategoryQuery;

#[Object]
impl CategoryQuery {
    /// The categories that take new tickets, in the installation's order.
    async fn categories(&self, ctx: &Context<'_>) -> Result<Vec<Category>, Failure> {
        let found = service::category::list(ctx.actor()?, ctx.desk()?).await?;
        Ok(found.into_iter().map(Category).collect())
    }
}
