//! Categories of tickets.

use std::sync::Arc;

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};

use super::{
    account::Locale,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    executor::List,
    id::GlobalId,
    text::Text,
};
use crate::{
    domain::category,
    service::{self, ServiceError, category::NewCategory},
};

/// A category of tickets. Every signed-in person can see it, even when it is retired.
#[derive(Description)]
pub struct Category(pub Arc<category::Category>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl Category {
    /// An opaque identifier. Store it and send it back unchanged.
    pub async fn id(&self) -> ID {
        GlobalId::Category(self.0.id).into()
    }

    /// A unique name for scripts and links, such as `technical-support`. It never changes.
    async fn slug(&self) -> Text<&str> {
        Text(&self.0.slug)
    }

    /// The display name.
    async fn name(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The language of the name. Your account's language by default.")]
        locale: Option<Locale>,
    ) -> Result<Text<&str>, Failure> {
        Ok(Text(self.0.name(ctx.locale(locale.map(Into::into))?)))
    }

    /// Whether the category is retired: it keeps its tickets and accepts no new ones.
    async fn is_retired(&self) -> bool {
        self.0.retired_at.is_some()
    }
}

impl Category {
    /// Wraps a category.
    pub fn new(category: impl Into<Arc<category::Category>>) -> Self {
        Self(category.into())
    }
}

/// The input of `createCategory`.
#[derive(InputObject)]
pub struct CreateCategoryInput {
    /// A name for scripts and links, such as `technical-support`: lower-case Latin letters and
    /// digits in words joined by hyphens, 1 to 64 characters. It cannot be changed later, and
    /// fails with `TAKEN` if another category has it, retired ones included.
    slug: String,
    /// The name in English: 1 to 80 characters.
    name_en: String,
    /// The name in Russian: 1 to 80 characters.
    name_ru: String,
    /// Makes the call safe to repeat for 24 hours: the same key with the same input returns
    /// the first result. At most 255 characters.
    idempotency_key: Option<String>,
}

/// The payload of `createCategory`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CreateCategoryPayload {
    /// The new category, last in the order of active categories. Null on failure.
    category: Option<Category>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `updateCategory`. Omitted fields stay unchanged.
#[derive(InputObject)]
pub struct UpdateCategoryInput {
    /// The id of the category. An unknown one fails with `NOT_FOUND`.
    id: ID,
    /// The new name in English: 1 to 80 characters.
    name_en: Option<String>,
    /// The new name in Russian: 1 to 80 characters.
    name_ru: Option<String>,
}

/// The payload of `updateCategory`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdateCategoryPayload {
    /// The updated category. Null on failure.
    category: Option<Category>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `orderCategories`.
#[derive(InputObject)]
pub struct OrderCategoriesInput {
    /// The ids of all active categories, each once, in the new order. A missing one fails with
    /// `REQUIRED`.
    ids: Vec<ID>,
}

/// The payload of `orderCategories`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct OrderCategoriesPayload {
    /// The active categories in their new order. Null on failure.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    categories: Option<List<Category>>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `retireCategory`.
#[derive(InputObject)]
pub struct RetireCategoryInput {
    /// The id of the category. An unknown one fails with `NOT_FOUND`.
    id: ID,
}

/// The payload of `retireCategory`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RetireCategoryPayload {
    /// The retired category. Null on failure.
    category: Option<Category>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `restoreCategory`.
#[derive(InputObject)]
pub struct RestoreCategoryInput {
    /// The id of the category. An unknown one fails with `NOT_FOUND`.
    id: ID,
}

/// The payload of `restoreCategory`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RestoreCategoryPayload {
    /// The restored category, last in the order of active categories unless it was active
    /// before. Null on failure.
    category: Option<Category>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct CategoryQuery;

#[Object]
impl CategoryQuery {
    /// The active categories, which accept new tickets, in the order that `orderCategories`
    /// sets.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn categories(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Also return retired categories, after the active ones. Admins only (`FORBIDDEN` otherwise).",
            default = false
        )]
        include_retired: bool,
    ) -> Result<List<Category>, Failure> {
        let found = service::category::list(ctx.actor()?, ctx.services()?, include_retired).await?;
        Ok(found.into_iter().map(Category::new).collect())
    }
}

#[derive(Default)]
pub struct CategoryMutation;

#[Object]
impl CategoryMutation {
    /// Creates a category. Admins only. An installation can have 100 categories, retired ones
    /// included; one more fails with `TOO_MANY`.
    async fn create_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new category.")] input: CreateCategoryInput,
    ) -> Result<CreateCategoryPayload, Failure> {
        let new = NewCategory {
            slug: input.slug,
            name_en: input.name_en,
            name_ru: input.name_ru,
            idempotency_key: input.idempotency_key,
        };
        let created = service::category::create(ctx.actor()?, ctx.services()?, new).await;
        let (category, user_errors) = changed_category(created)?;
        Ok(CreateCategoryPayload { category, user_errors })
    }

    /// Renames a category. Admins only.
    async fn update_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The category and its new names.")] input: UpdateCategoryInput,
    ) -> Result<UpdateCategoryPayload, Failure> {
        let id = GlobalId::category(&input.id);
        let (en, ru) = (input.name_en.as_deref(), input.name_ru.as_deref());
        let renamed = service::category::rename(ctx.actor()?, ctx.services()?, id, en, ru).await;
        let (category, user_errors) = changed_category(renamed)?;
        Ok(UpdateCategoryPayload { category, user_errors })
    }

    /// Sets the order of all active categories. Admins only.
    async fn order_categories(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new order.")] input: OrderCategoriesInput,
    ) -> Result<OrderCategoriesPayload, Failure> {
        let ids = input.ids.iter().map(GlobalId::category).collect::<Vec<_>>();
        let ordered = service::category::order(ctx.actor()?, ctx.services()?, &ids).await;
        Ok(match Outcome::of(ordered)? {
            Outcome::Done(ordered) => OrderCategoriesPayload {
                categories: Some(ordered.into_iter().map(Category::new).collect()),
                user_errors: vec![],
            },
            Outcome::Rejected { errors, .. } => {
                OrderCategoriesPayload { categories: None, user_errors: errors }
            }
        })
    }

    /// Retires a category: it keeps its tickets and accepts no new ones. Admins only. Does
    /// nothing if it is retired already, and fails with `LAST_CATEGORY` if no other one is
    /// active.
    async fn retire_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The category to retire.")] input: RetireCategoryInput,
    ) -> Result<RetireCategoryPayload, Failure> {
        let id = GlobalId::category(&input.id);
        let retired = service::category::retire(ctx.actor()?, ctx.services()?, id).await;
        let (category, user_errors) = changed_category(retired)?;
        Ok(RetireCategoryPayload { category, user_errors })
    }

    /// Restores a retired category, so that it accepts new tickets again. Admins only. Does
    /// nothing if it is active already.
    async fn restore_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The category to restore.")] input: RestoreCategoryInput,
    ) -> Result<RestoreCategoryPayload, Failure> {
        let id = GlobalId::category(&input.id);
        let restored = service::category::restore(ctx.actor()?, ctx.services()?, id).await;
        let (category, user_errors) = changed_category(restored)?;
        Ok(RestoreCategoryPayload { category, user_errors })
    }
}

/// Splits a result into the payload's fields: the changed category, or the user errors.
fn changed_category(
    result: Result<category::Category, ServiceError>,
) -> Result<(Option<Category>, Vec<UserError>), Failure> {
    Ok(match Outcome::of(result)? {
        Outcome::Done(category) => (Some(Category::new(category)), vec![]),
        Outcome::Rejected { errors, .. } => (None, errors),
    })
}
