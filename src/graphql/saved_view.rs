//! Saved views of the queue.

use std::sync::Arc;

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;

use super::{
    account::Account,
    category::Category,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    executor::List,
    id::GlobalId,
    loader::CountOfView,
    text::Text,
    ticket::{
        OrderDirection, TicketFilterInput, TicketOrder, TicketOrderField, TicketPriority,
        TicketStatus,
    },
};
use crate::{
    domain::{
        ids::{AccountId, CategoryId},
        saved_view,
        ticket_conditions::{AssigneeCondition, TicketConditions},
        ticket_list::TicketListOrder,
    },
    service::{
        self, ServiceError,
        saved_view::{NewSavedView, SavedViewChanges},
    },
};

/// A filter and an order of the queue under a name. A personal view is visible to its owner only, a
/// shared one to all staff. Only admins change shared ones, and each change is recorded in the admin's
/// `accountEvents`. To show it, pass its filter and order to `tickets`.
#[derive(Description)]
pub struct SavedView(pub Arc<saved_view::SavedView>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl SavedView {
    /// An opaque identifier. Store it and send it back unchanged.
    pub async fn id(&self) -> ID {
        GlobalId::SavedView(self.0.id).into()
    }

    /// The name: 1 to 120 characters.
    async fn name(&self) -> Text<&str> {
        Text(&self.0.name)
    }

    /// Whether all staff share it.
    async fn is_shared(&self) -> bool {
        self.0.owner.is_none()
    }

    /// Whether it is retired: it is no longer offered, and can be restored.
    async fn is_retired(&self) -> bool {
        self.0.retired_at.is_some()
    }

    /// Which tickets it shows.
    async fn filter(&self) -> SavedViewFilter {
        SavedViewFilter(Arc::clone(&self.0))
    }

    /// The order in which it shows them.
    async fn order_by(&self) -> SavedViewOrder {
        let TicketListOrder { sort, descending } = self.0.order;
        let direction = if descending { OrderDirection::Desc } else { OrderDirection::Asc };
        SavedViewOrder { field: sort.into(), direction }
    }

    /// Whether a category of the filter is retired. The view still shows its tickets.
    async fn has_retired_category(&self, ctx: &Context<'_>) -> Result<bool, Failure> {
        let ids = self.0.conditions.categories.as_deref().unwrap_or_default();
        let categories = found_categories(ctx, ids).await?;
        Ok(categories.iter().any(|Category(category)| category.retired_at.is_some()))
    }

    /// The number of tickets that it shows you. 10,000 means that there are as many or more. The
    /// counts of all views of a response are read by one statement. Null, with a `BAD_REQUEST`, if
    /// that takes longer than a search may. Null too if the text of the filter is no longer a valid search.
    #[graphql(complexity = 10)]
    async fn ticket_count(&self, ctx: &Context<'_>) -> Result<Option<i64>, Failure> {
        ctx.loaders()?.get(CountOfView(self.0.id)).await
    }

    /// Whose it is. Null if it is shared.
    async fn owner(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        account(ctx, self.0.owner).await
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it was last changed, retired or restored.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

/// The filter of a view. Its fields mean the same as those of `TicketFilterInput`; null leaves a
/// condition out. While nodes of two versions run, a condition that only the newer one knows is left
/// out by the older one.
#[derive(Description)]
pub struct SavedViewFilter(Arc<saved_view::SavedView>);

impl SavedViewFilter {
    fn conditions(&self) -> &TicketConditions {
        &self.0.conditions
    }

    fn assignee_id(&self) -> Option<AccountId> {
        match self.conditions().assignee? {
            AssigneeCondition::Account(id) => Some(id),
            AssigneeCondition::Nobody => None,
        }
    }
}

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl SavedViewFilter {
    /// Tickets with one of these statuses.
    async fn status(&self) -> Option<Vec<TicketStatus>> {
        let statuses = self.conditions().statuses.as_ref()?.iter();
        Some(statuses.map(|&status| status.into()).collect())
    }

    /// Tickets with one of these priorities.
    async fn priority(&self) -> Option<Vec<TicketPriority>> {
        let priorities = self.conditions().priorities.as_ref()?.iter();
        Some(priorities.map(|&priority| priority.into()).collect())
    }

    /// Tickets in one of the categories with these ids.
    async fn category_ids(&self) -> Option<Vec<ID>> {
        let ids = self.conditions().categories.as_ref()?.iter();
        Some(ids.map(|&id| GlobalId::Category(id).into()).collect())
    }

    /// The categories with those ids, in the same order, also retired ones.
    #[graphql(complexity = "1 + 10 * child_complexity")]
    async fn categories(&self, ctx: &Context<'_>) -> Result<Option<List<Category>>, Failure> {
        match self.conditions().categories.as_deref() {
            Some(ids) => Ok(Some(List(found_categories(ctx, ids).await?))),
            None => Ok(None),
        }
    }

    /// Tickets assigned to the account with this id.
    #[graphql(name = "assigneeId")]
    async fn assigned_to_id(&self) -> Option<ID> {
        self.assignee_id().map(|id| GlobalId::Account(id).into())
    }

    /// The account with that id.
    async fn assignee(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        account(ctx, self.assignee_id()).await
    }

    /// Whether only unassigned tickets match: `assigneeId: null` in the input.
    async fn is_unassigned(&self) -> bool {
        self.conditions().assignee == Some(AssigneeCondition::Nobody)
    }

    /// True matches tickets assigned to the reader, false those that are not.
    async fn is_assigned_to_me(&self) -> Option<bool> {
        self.conditions().is_assigned_to_me
    }

    /// Tickets opened by the account with this id.
    async fn reporter_id(&self) -> Option<ID> {
        self.conditions().reporter.map(|id| GlobalId::Account(id).into())
    }

    /// The account with that id.
    async fn reporter(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        account(ctx, self.conditions().reporter).await
    }

    /// Tickets that have been waiting for support since this time or earlier.
    async fn waiting_since(&self) -> Option<DateTime<Utc>> {
        self.conditions().waiting_since
    }

    /// Tickets with these words.
    async fn text(&self) -> Option<Text<&str>> {
        self.conditions().text.as_deref().map(Text)
    }

    /// True matches tickets that are unread for the reader, false those that are not.
    async fn is_unread(&self) -> Option<bool> {
        self.conditions().is_unread
    }
}

/// The order of a view.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct SavedViewOrder {
    /// The property to sort by.
    field: TicketOrderField,
    /// The direction to sort in.
    direction: OrderDirection,
}

async fn found_categories(ctx: &Context<'_>, ids: &[CategoryId]) -> Result<Vec<Category>, Failure> {
    let loaders = ctx.loaders()?;
    let found = try_join_all(ids.iter().map(|&id| loaders.get(id))).await?;
    Ok(found.into_iter().flatten().map(Category).collect())
}

async fn account(ctx: &Context<'_>, id: Option<AccountId>) -> Result<Option<Account>, Failure> {
    match id {
        Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Account::new)),
        None => Ok(None),
    }
}

/// The input of `createSavedView`.
#[derive(InputObject)]
pub struct CreateSavedViewInput {
    /// The name: 1 to 120 characters.
    name: String,
    /// True if all staff share it: admins only (`FORBIDDEN` otherwise). It cannot be changed later.
    #[graphql(default = false)]
    is_shared: bool,
    /// Which tickets it shows. `isAssignedToMe` stands for whom it shows them to. A category or
    /// account that does not exist fails with `NOT_FOUND`, and more than 100 categories fail with
    /// `TOO_MANY`; retired categories are accepted.
    filter: TicketFilterInput,
    /// The order in which it shows them: by `CREATED_AT`, newest first, by default.
    order_by: Option<TicketOrder>,
    /// Makes the call safe to repeat for 24 hours: the same key with the same input returns
    /// the first result. At most 255 characters.
    idempotency_key: Option<String>,
}

/// The payload of `createSavedView`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CreateSavedViewPayload {
    /// The new view, last in the order of its list. Null on failure.
    saved_view: Option<SavedView>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `updateSavedView`. Omitted fields stay unchanged.
#[derive(InputObject)]
pub struct UpdateSavedViewInput {
    /// The id of the view. One that you cannot see fails with `NOT_FOUND`.
    id: ID,
    /// The new name: 1 to 120 characters.
    name: Option<String>,
    /// The new filter, which replaces all conditions of the old one.
    filter: Option<TicketFilterInput>,
    /// The new order.
    order_by: Option<TicketOrder>,
}

/// The payload of `updateSavedView`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdateSavedViewPayload {
    /// The updated view. Null on failure.
    saved_view: Option<SavedView>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `orderSavedViews`.
#[derive(InputObject)]
pub struct OrderSavedViewsInput {
    /// The ids of all active views of one list, yours or the shared one, each once, in the new
    /// order: at most 50. A missing one fails with `REQUIRED`.
    ids: Vec<ID>,
}

/// The payload of `orderSavedViews`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct OrderSavedViewsPayload {
    /// The active views of the list in their new order. Null on failure.
    #[graphql(complexity = "1 + 50 * child_complexity")]
    saved_views: Option<List<SavedView>>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `retireSavedView`.
#[derive(InputObject)]
pub struct RetireSavedViewInput {
    /// The id of the view. One that you cannot see fails with `NOT_FOUND`.
    id: ID,
}

/// The payload of `retireSavedView`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RetireSavedViewPayload {
    /// The retired view. Null on failure.
    saved_view: Option<SavedView>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `restoreSavedView`.
#[derive(InputObject)]
pub struct RestoreSavedViewInput {
    /// The id of the view. One that you cannot see fails with `NOT_FOUND`.
    id: ID,
}

/// The payload of `restoreSavedView`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RestoreSavedViewPayload {
    /// The restored view, last in the order of its list unless it was active before. Null on
    /// failure.
    saved_view: Option<SavedView>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct SavedViewQuery;

#[Object]
impl SavedViewQuery {
    /// The shared views and then your own, each in the order that `orderSavedViews` sets: at most
    /// 100. Staff only.
    #[graphql(complexity = "1 + 100 * child_complexity")]
    async fn saved_views(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Also return retired views, after the active ones of their list.",
            default = false
        )]
        include_retired: bool,
    ) -> Result<Option<List<SavedView>>, Failure> {
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let found = service::saved_view::list(actor, services, include_retired).await?;
        Ok(Some(found.into_iter().map(SavedView::new).collect()))
    }
}

#[derive(Default)]
pub struct SavedViewMutation;

#[Object]
impl SavedViewMutation {
    /// Saves a view. Staff only, and shared ones by admins only. You can have 50, and all staff
    /// together 50 shared ones, retired ones included; one more fails with `TOO_MANY`.
    async fn create_saved_view(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new view.")] input: CreateSavedViewInput,
    ) -> Result<CreateSavedViewPayload, Failure> {
        let new = NewSavedView {
            is_shared: input.is_shared,
            name: input.name,
            conditions: input.filter.into(),
            order: input.order_by.unwrap_or_default().into(),
            idempotency_key: input.idempotency_key,
        };
        let created = service::saved_view::create(ctx.actor()?, ctx.services()?, new).await;
        let (saved_view, user_errors) = changed(created)?;
        Ok(CreateSavedViewPayload { saved_view, user_errors })
    }

    /// Changes a view. Staff only, and shared ones by admins only.
    async fn update_saved_view(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The view and its new values.")] input: UpdateSavedViewInput,
    ) -> Result<UpdateSavedViewPayload, Failure> {
        let id = GlobalId::saved_view(&input.id);
        let changes = SavedViewChanges {
            name: input.name,
            conditions: input.filter.map(Into::into),
            order: input.order_by.map(Into::into),
        };
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let updated = service::saved_view::update(actor, services, id, changes).await;
        let (saved_view, user_errors) = changed(updated)?;
        Ok(UpdateSavedViewPayload { saved_view, user_errors })
    }

    /// Sets the order of your active views, or of the active shared ones. Staff only, and shared
    /// ones by admins only.
    async fn order_saved_views(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new order.")] input: OrderSavedViewsInput,
    ) -> Result<OrderSavedViewsPayload, Failure> {
        let ids = input.ids.iter().map(GlobalId::saved_view).collect::<Vec<_>>();
        let ordered = service::saved_view::order(ctx.actor()?, ctx.services()?, &ids).await;
        let (saved_views, user_errors) = match Outcome::of(ordered)? {
            Outcome::Done(ordered) => {
                (Some(ordered.into_iter().map(SavedView::new).collect()), vec![])
            }
            Outcome::Rejected { errors, .. } => (None, errors),
        };
        Ok(OrderSavedViewsPayload { saved_views, user_errors })
    }

    /// Retires a view: it is no longer offered. Staff only, and shared ones by admins only.
    async fn retire_saved_view(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The view to retire.")] input: RetireSavedViewInput,
    ) -> Result<RetireSavedViewPayload, Failure> {
        let (saved_view, user_errors) = set_retired(ctx, &input.id, true).await?;
        Ok(RetireSavedViewPayload { saved_view, user_errors })
    }

    /// Restores a retired view. Staff only, and shared ones by admins only.
    async fn restore_saved_view(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The view to restore.")] input: RestoreSavedViewInput,
    ) -> Result<RestoreSavedViewPayload, Failure> {
        let (saved_view, user_errors) = set_retired(ctx, &input.id, false).await?;
        Ok(RestoreSavedViewPayload { saved_view, user_errors })
    }
}

impl SavedView {
    fn new(view: saved_view::SavedView) -> Self {
        Self(Arc::new(view))
    }
}

type Changed = (Option<SavedView>, Vec<UserError>);

async fn set_retired(ctx: &Context<'_>, id: &ID, retired: bool) -> Result<Changed, Failure> {
    let id = GlobalId::saved_view(id);
    let (actor, services) = (ctx.actor()?, ctx.services()?);
    changed(service::saved_view::set_retired(actor, services, id, retired).await)
}

/// Splits a result into the payload's fields: the changed view, or the user errors.
fn changed(result: Result<saved_view::SavedView, ServiceError>) -> Result<Changed, Failure> {
    Ok(match Outcome::of(result)? {
        Outcome::Done(view) => (Some(SavedView::new(view)), vec![]),
        Outcome::Rejected { errors, .. } => (None, errors),
    })
}
