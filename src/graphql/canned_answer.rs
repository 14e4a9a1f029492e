//! Canned answers of staff.

use std::sync::Arc;

use async_graphql::{Context, Description, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    account::{Account, Locale},
    category::Category,
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    executor::List,
    id::GlobalId,
    loader::BodyOf,
    text::Text,
};
use crate::{
    domain::{canned_answer, ids::CategoryId},
    service::{
        self, ServiceError,
        canned_answer::{CannedAnswerChanges, NewCannedAnswer, Occasion},
    },
};

/// A text that staff answer with again and again. A personal one is visible to its owner only, a
/// shared one to all staff. Customers see neither. Only admins change shared ones, because all staff
/// send them in the company's name. Each change is recorded in the admin's `accountEvents`. Agents
/// write personal ones.
#[derive(Description)]
pub struct CannedAnswer(pub Arc<canned_answer::CannedAnswer>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl CannedAnswer {
    /// An opaque identifier. Store it and send it back unchanged.
    pub async fn id(&self) -> ID {
        GlobalId::CannedAnswer(self.0.id).into()
    }

    /// The title that staff find it by: 1 to 120 characters.
    async fn title(&self) -> Text<&str> {
        Text(&self.0.title)
    }

    /// The text with its placeholders, as `createCannedAnswer` describes them. `text` fills them
    /// in.
    async fn body(&self, ctx: &Context<'_>) -> Result<Text<Arc<str>>, Failure> {
        Ok(Text(ctx.loaders()?.require(BodyOf(self.0.id)).await?))
    }

    /// The text for a ticket, with the values of its placeholders. `{{agent.name}}` is your name,
    /// and `{{category.name}}` is in the answer's language or else in the customer's. Values are
    /// texts, whatever they contain. Null, with a `BAD_REQUEST`, if the result is longer than a
    /// comment may be: 65,536 characters. A redacted summary is `(removed)`, in the language of
    /// `{{category.name}}`.
    #[graphql(complexity = 10)]
    async fn text(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ticket. An unknown one fails with `NOT_FOUND`.")] ticket_id: ID,
    ) -> Result<Option<Text<String>>, Failure> {
        let loaders = ctx.loaders()?;
        let id = GlobalId::ticket(&ticket_id).ok_or_else(Failure::not_found)?;
        let ticket = &loaders.require(id).await?;
        let (body, reporter, category, agent) = futures_util::try_join!(
            loaders.require(BodyOf(self.0.id)),
            loaders.require(ticket.reporter_id),
            loaders.require(ticket.category_id),
            loaders.require(ctx.identity()?.id),
        )?;
        let occasion = Occasion { ticket, reporter: &reporter, category: &category, agent: &agent };
        let services = ctx.services()?;
        let fill = || service::canned_answer::text(services, &self.0, &body, &occasion);
        let text = loaders.long_text_lock.hold(fill).await.map_err(|error| {
            Failure::bad_request(format!(
                "With the values of its placeholders, the canned answer {error}. Shorten it, or \
                 write an answer of your own."
            ))
        })?;
        Ok(Some(Text(text)))
    }

    /// Whether all staff share it.
    async fn is_shared(&self) -> bool {
        self.0.owner.is_none()
    }

    /// The category of tickets that it fits, maybe a retired one, or null if it fits all.
    async fn category(&self, ctx: &Context<'_>) -> Result<Option<Category>, Failure> {
        match self.0.category {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Category)),
            None => Ok(None),
        }
    }

    /// The language that it is written in, or null if it fits all customers.
    async fn locale(&self) -> Option<Locale> {
        self.0.locale.map(Into::into)
    }

    /// Whether it is retired: it is no longer offered, and can be restored.
    async fn is_retired(&self) -> bool {
        self.0.retired_at.is_some()
    }

    /// When it was created.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it was last changed, retired or restored.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }

    /// Whose it is. Null if it is shared.
    async fn owner(&self, ctx: &Context<'_>) -> Result<Option<Account>, Failure> {
        match self.0.owner {
            Some(id) => Ok(ctx.loaders()?.get(id).await?.map(Account::new)),
            None => Ok(None),
        }
    }
}

/// The input of `createCannedAnswer`.
#[derive(InputObject)]
pub struct CreateCannedAnswerInput {
    /// A title that staff find it by: 1 to 120 characters.
    title: String,
    /// The text: 1 to 65,536 characters, as a comment. It can have the placeholders
    /// `{{reporter.name}}`, `{{ticket.number}}`, `{{ticket.link}}` (the number if the installation
    /// has no pages of tickets), `{{agent.name}}`, `{{category.name}}` and `{{ticket.summary}}`.
    /// Another name in two braces fails with `INVALID`. A backslash directly before a placeholder
    /// makes it text, without the backslash: `\{{site.url}}`.
    body: String,
    /// True if all staff share it: admins only (`FORBIDDEN` otherwise). It cannot be changed later.
    #[graphql(default = false)]
    is_shared: bool,
    /// The id of the category of tickets that it fits. Null or omitted if it fits all.
    category_id: Option<ID>,
    /// The language that it is written in. Null or omitted if it fits all customers.
    locale: Option<Locale>,
    /// Makes the call safe to repeat for 24 hours: the same key with the same input returns
    /// the first result. At most 255 characters.
    idempotency_key: Option<String>,
}

/// The payload of `createCannedAnswer`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct CreateCannedAnswerPayload {
    /// The new canned answer, last in the order of its list. Null on failure.
    canned_answer: Option<CannedAnswer>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `updateCannedAnswer`. Omitted fields stay unchanged.
#[derive(InputObject)]
pub struct UpdateCannedAnswerInput {
    /// The id of the canned answer. One that you cannot see fails with `NOT_FOUND`.
    id: ID,
    /// The new title: 1 to 120 characters.
    title: Option<String>,
    /// The new text: 1 to 65,536 characters, with placeholders as in `createCannedAnswer`.
    body: Option<String>,
    /// The id of the new category of tickets that it fits. Null lets it fit all.
    category_id: MaybeUndefined<ID>,
    /// The language that it is now written in. Null lets it fit all customers.
    locale: MaybeUndefined<Locale>,
}

/// The payload of `updateCannedAnswer`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UpdateCannedAnswerPayload {
    /// The updated canned answer. Null on failure.
    canned_answer: Option<CannedAnswer>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `orderCannedAnswers`.
#[derive(InputObject)]
pub struct OrderCannedAnswersInput {
    /// The ids of all active answers of one list, yours or the shared one, each once, in the new
    /// order: at most 500. A missing one fails with `REQUIRED`.
    ids: Vec<ID>,
}

/// The payload of `orderCannedAnswers`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct OrderCannedAnswersPayload {
    /// The active answers of the list in their new order. Null on failure.
    #[graphql(complexity = "1 + 500 * child_complexity")]
    canned_answers: Option<List<CannedAnswer>>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `retireCannedAnswer`.
#[derive(InputObject)]
pub struct RetireCannedAnswerInput {
    /// The id of the canned answer. One that you cannot see fails with `NOT_FOUND`.
    id: ID,
}

/// The payload of `retireCannedAnswer`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RetireCannedAnswerPayload {
    /// The retired canned answer. Null on failure.
    canned_answer: Option<CannedAnswer>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `restoreCannedAnswer`.
#[derive(InputObject)]
pub struct RestoreCannedAnswerInput {
    /// The id of the canned answer. One that you cannot see fails with `NOT_FOUND`.
    id: ID,
}

/// The payload of `restoreCannedAnswer`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct RestoreCannedAnswerPayload {
    /// The restored canned answer, last in the order of its list unless it was active before. Null
    /// on failure.
    canned_answer: Option<CannedAnswer>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct CannedAnswerQuery;

#[Object]
impl CannedAnswerQuery {
    /// The shared canned answers and then your own, each in the order that `orderCannedAnswers`
    /// sets: at most 700. Staff only.
    #[graphql(complexity = "1 + 700 * child_complexity")]
    async fn canned_answers(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Also return retired answers, after the active ones of their list.",
            default = false
        )]
        include_retired: bool,
        #[graphql(
            desc = "Return only answers that fit this ticket: its category, and the language of the customer who opened it."
        )]
        ticket_id: Option<ID>,
    ) -> Result<Option<List<CannedAnswer>>, Failure> {
        let ticket = ticket_id.as_ref().map(GlobalId::ticket);
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let found = service::canned_answer::list(actor, services, include_retired, ticket).await?;
        Ok(Some(found.into_iter().map(CannedAnswer::new).collect()))
    }
}

#[derive(Default)]
pub struct CannedAnswerMutation;

#[Object]
impl CannedAnswerMutation {
    /// Creates a canned answer. Staff only, and shared ones by admins only. You can have 200, and
    /// all staff together 500 shared ones, retired ones included; one more fails with `TOO_MANY`.
    async fn create_canned_answer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new canned answer.")] input: CreateCannedAnswerInput,
    ) -> Result<CreateCannedAnswerPayload, Failure> {
        let new = NewCannedAnswer {
            is_shared: input.is_shared,
            title: input.title,
            body: input.body,
            category: input.category_id.as_ref().map(category),
            locale: input.locale.map(Into::into),
            idempotency_key: input.idempotency_key,
        };
        let created = service::canned_answer::create(ctx.actor()?, ctx.services()?, new).await;
        let (canned_answer, user_errors) = changed(created)?;
        Ok(CreateCannedAnswerPayload { canned_answer, user_errors })
    }

    /// Changes a canned answer. Staff only, and shared ones by admins only.
    async fn update_canned_answer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The canned answer and its new values.")] input: UpdateCannedAnswerInput,
    ) -> Result<UpdateCannedAnswerPayload, Failure> {
        let id = GlobalId::canned_answer(&input.id);
        let changes = CannedAnswerChanges {
            title: input.title,
            body: input.body,
            category: nullable(input.category_id).map(|id| id.as_ref().map(category)),
            locale: nullable(input.locale).map(|locale| locale.map(Into::into)),
        };
        let (actor, services) = (ctx.actor()?, ctx.services()?);
        let updated = service::canned_answer::update(actor, services, id, changes).await;
        let (canned_answer, user_errors) = changed(updated)?;
        Ok(UpdateCannedAnswerPayload { canned_answer, user_errors })
    }

    /// Sets the order of your active canned answers, or of the active shared ones. Staff only, and
    /// shared ones by admins only.
    async fn order_canned_answers(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new order.")] input: OrderCannedAnswersInput,
    ) -> Result<OrderCannedAnswersPayload, Failure> {
        let ids = input.ids.iter().map(GlobalId::canned_answer).collect::<Vec<_>>();
        let ordered = service::canned_answer::order(ctx.actor()?, ctx.services()?, &ids).await;
        let (canned_answers, user_errors) = match Outcome::of(ordered)? {
            Outcome::Done(ordered) => {
                (Some(ordered.into_iter().map(CannedAnswer::new).collect()), vec![])
            }
            Outcome::Rejected { errors, .. } => (None, errors),
        };
        Ok(OrderCannedAnswersPayload { canned_answers, user_errors })
    }

    /// Retires a canned answer: it is no longer offered. Staff only, and shared ones by admins only.
    async fn retire_canned_answer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The canned answer to retire.")] input: RetireCannedAnswerInput,
    ) -> Result<RetireCannedAnswerPayload, Failure> {
        let (canned_answer, user_errors) = set_retired(ctx, &input.id, true).await?;
        Ok(RetireCannedAnswerPayload { canned_answer, user_errors })
    }

    /// Restores a retired canned answer. Staff only, and shared ones by admins only.
    async fn restore_canned_answer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The canned answer to restore.")] input: RestoreCannedAnswerInput,
    ) -> Result<RestoreCannedAnswerPayload, Failure> {
        let (canned_answer, user_errors) = set_retired(ctx, &input.id, false).await?;
        Ok(RestoreCannedAnswerPayload { canned_answer, user_errors })
    }
}

impl CannedAnswer {
    fn new(answer: canned_answer::CannedAnswer) -> Self {
        Self(Arc::new(answer))
    }
}

type Changed = (Option<CannedAnswer>, Vec<UserError>);

async fn set_retired(ctx: &Context<'_>, id: &ID, retired: bool) -> Result<Changed, Failure> {
    let id = GlobalId::canned_answer(id);
    let (actor, services) = (ctx.actor()?, ctx.services()?);
    changed(service::canned_answer::set_retired(actor, services, id, retired).await)
}

/// Splits a result into the payload's fields: the changed answer, or the user errors.
fn changed(result: Result<canned_answer::CannedAnswer, ServiceError>) -> Result<Changed, Failure> {
    Ok(match Outcome::of(result)? {
        Outcome::Done(answer) => (Some(CannedAnswer::new(answer)), vec![]),
        Outcome::Rejected { errors, .. } => (None, errors),
    })
}

/// Returns the id of a category. A malformed one becomes the nil UUID, which no category has.
fn category(id: &ID) -> CategoryId {
    GlobalId::category(id).unwrap_or(CategoryId(Uuid::nil()))
}

/// Returns the value of an input field: `None` if it is omitted, `Some(None)` if it is null.
fn nullable<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}
