//! Categories.

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};

use super::{
    account::Locale,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
};
use crate::{
    domain::category,
    service::{self, ServiceError, category::NewCategory},
};

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

/// What `createCategory` takes.
#[derive(InputObject)]
pub struct CreateCategoryInput {
    /// A stable name for scripts and links, like `technical-support`: words of small Latin
    /// letters and digits, joined by hyphens, 1 to 64 characters. It stays.
    slug: String,
    /// The name in English: 1 to 80 characters.
    name_en: String,
    /// The name in Russian: 1 to 80 characters.
    name_ru: String,
    /// Makes repeating the call safe, for 24 hours: the same key and input give the
    /// first call's category. 1 to 255 characters, your own choice; a UUID is good.
    idempotency_key: Option<String>,
}

/// What `createCategory` answers.
#[derive(SimpleObject)]
pub struct CreateCategoryPayload {
    /// The new category, the last of those that take tickets.
    category: Option<Category>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `updateCategory` takes. What is left out stays as it is.
#[derive(InputObject)]
pub struct UpdateCategoryInput {
    /// The category.
    id: ID,
    /// The name in English: 1 to 80 characters.
    name_en: Option<String>,
    /// The name in Russian: 1 to 80 characters.
    name_ru: Option<String>,
}

/// What `updateCategory` answers.
#[derive(SimpleObject)]
pub struct UpdateCategoryPayload {
    /// The category as it is called now.
    category: Option<Category>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `orderCategories` takes.
#[derive(InputObject)]
pub struct OrderCategoriesInput {
    /// All categories that take tickets, each once, in the order that they are to have.
    ids: Vec<ID>,
}

/// What `orderCategories` answers.
#[derive(SimpleObject)]
pub struct OrderCategoriesPayload {
    /// The categories that take tickets, in their new order.
    categories: Option<Vec<Category>>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `retireCategory` takes.
#[derive(InputObject)]
pub struct RetireCategoryInput {
    /// The category.
    id: ID,
}

/// What `retireCategory` answers.
#[derive(SimpleObject)]
pub struct RetireCategoryPayload {
    /// The category, which takes no new tickets from now on.
    category: Option<Category>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

/// What `restoreCategory` takes.
#[derive(InputObject)]
pub struct RestoreCategoryInput {
    /// The category.
    id: ID,
}

/// What `restoreCategory` answers.
#[derive(SimpleObject)]
pub struct RestoreCategoryPayload {
    /// The category, the last of those that take tickets.
    category: Option<Category>,
    /// What is wrong with the input.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct CategoryQuery;

#[Object]
impl CategoryQuery {
    /// The categories that take new tickets, in the installation's order.
    async fn categories(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "True: retired ones too, behind the others. For admins.",
            default = false
        )]
        include_retired: bool,
    ) -> Result<Vec<Category>, Failure> {
        let found = service::category::list(ctx.actor()?, ctx.services()?, include_retired).await?;
        Ok(found.into_iter().map(Category).collect())
    }
}

#[derive(Default)]
pub struct CategoryMutation;

#[Object]
impl CategoryMutation {
    /// Makes a category. For admins.
    async fn create_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is called.")] input: CreateCategoryInput,
    ) -> Result<CreateCategoryPayload, Failure> {
        let new = NewCategory {
            slug: input.slug,
            name_en: input.name_en,
            name_ru: input.name_ru,
            idempotency_key: input.idempotency_key,
        };
        let made = service::category::create(ctx.actor()?, ctx.services()?, new).await;
        let (category, user_errors) = changed(made)?;
        Ok(CreateCategoryPayload { category, user_errors })
    }

    /// Gives a category other names. For admins.
    async fn update_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which, and its names.")] input: UpdateCategoryInput,
    ) -> Result<UpdateCategoryPayload, Failure> {
        let id = GlobalId::category(&input.id);
        let (en, ru) = (input.name_en.as_deref(), input.name_ru.as_deref());
        let renamed = service::category::rename(ctx.actor()?, ctx.services()?, id, en, ru).await;
        let (category, user_errors) = changed(renamed)?;
        Ok(UpdateCategoryPayload { category, user_errors })
    }

    /// Puts the categories that take tickets in another order, all at once. For admins.
    async fn order_categories(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The whole order.")] input: OrderCategoriesInput,
    ) -> Result<OrderCategoriesPayload, Failure> {
        let ids = input.ids.iter().map(GlobalId::category).collect::<Vec<_>>();
        let ordered = service::category::order(ctx.actor()?, ctx.services()?, &ids).await;
        Ok(match Outcome::of(ordered)? {
            Outcome::Done(ordered) => OrderCategoriesPayload {
                categories: Some(ordered.into_iter().map(Category).collect()),
                user_errors: vec![],
            },
            Outcome::Refused { errors, .. } => {
                OrderCategoriesPayload { categories: None, user_errors: errors }
            }
        })
    }

    /// Retires a category: it keeps its tickets and takes no new ones. The last one stays.
    /// For admins.
    async fn retire_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to retire.")] input: RetireCategoryInput,
    ) -> Result<RetireCategoryPayload, Failure> {
        let id = GlobalId::category(&input.id);
        let retired = service::category::retire(ctx.actor()?, ctx.services()?, id).await;
        let (category, user_errors) = changed(retired)?;
        Ok(RetireCategoryPayload { category, user_errors })
    }

    /// Lets a retired category take tickets again. For admins.
    async fn restore_category(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which to restore.")] input: RestoreCategoryInput,
    ) -> Result<RestoreCategoryPayload, Failure> {
        let id = GlobalId::category(&input.id);
        let restored = service::category::restore(ctx.actor()?, ctx.services()?, id).await;
        let (category, user_errors) = changed(restored)?;
        Ok(RestoreCategoryPayload { category, user_errors })
    }
}

/// A changed category, or what is wrong with the input.
fn changed(
    result: Result<category::Category, ServiceError>,
) -> Result<(Option<Category>, Vec<UserError>), Failure> {
    Ok(match Outcome::of(result)? {
        Outcome::Done(category) => (Some(Category(category)), vec![]),
        Outcome::Refused { errors, .. } => (None, errors),
    })
}
