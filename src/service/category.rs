//! Categories.

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    error::Review,
    idempotency::{IdempotentCall, fingerprint},
    session,
};
use crate::{
    db::{Connection, DbError, category},
    domain::{
        actor::Actor,
        category::{Category, MAX_CATEGORIES, Slug},
        clock::Timestamp,
        event::AccountEvent,
        ids::{AccountId, CategoryId},
        policy::{Action, Resource},
        text::{CategoryName, IdempotencyKey},
    },
};

/// A category to be made.
pub struct NewCategory {
    /// A stable name for scripts and links.
    pub slug: String,
    /// The name in English.
    pub name_en: String,
    /// The name in Russian.
    pub name_ru: String,
    /// The caller's key for repeating the call.
    pub idempotency_key: Option<String>,
}

/// The categories that take new tickets, in the installation's order; `retired`: the
/// others too, behind them.
///
/// # Errors
/// Nobody is signed in; retired ones for somebody who is no admin.
pub async fn list(
    actor: &Actor,
    services: &Services,
    retired: bool,
) -> Result<Vec<Category>, ServiceError> {
    let action = if retired { Action::ManageCategories } else { Action::Enter };
    authorise(actor, action, Resource::Desk)?;
    let mut all = category::all(&mut *services.database.read().await?).await?;
    all.retain(|category| retired || category.retired_at.is_none());
    Ok(all)
}

/// The categories of some ids, retired ones too, in no order.
///
/// # Errors
/// Nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[CategoryId],
) -> Result<Vec<Category>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    Ok(category::by_ids(&mut *services.database.read().await?, ids).await?)
}

/// Makes a category, the last of those that take tickets.
///
/// # Errors
/// Not an admin; errors of the input; a stable name that another one has; too many.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewCategory,
) -> Result<Category, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut review = Review::default();
    let slug = review.text("slug", "The stable name", Slug::parse(&new.slug));
    let name_en = review.text("nameEn", "The English name", CategoryName::parse(&new.name_en));
    let name_ru = review.text("nameRu", "The Russian name", CategoryName::parse(&new.name_ru));
    let key = new.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = review.text("idempotencyKey", "The idempotency key", key);
    let reviewed = slug.zip(name_en).zip(name_ru).zip(key);
    let (((slug, name_en), name_ru), key) = review.finish(reviewed)?;
    let new = &Category {
        id: CategoryId(services.ambient.uuid()),
        slug: slug.into_string(),
        name_en: name_en.into_string(),
        name_ru: name_ru.into_string(),
        retired_at: None,
    };
    let fingerprint = fingerprint("createCategory", &[&new.slug, &new.name_en, &new.name_ru]);
    let call = &IdempotentCall { account: admin, key, fingerprint };
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            if let Some(earlier) = call.earlier_result(db, new.id.0, now).await? {
                let found = category::by_ids(db, &[CategoryId(earlier)]).await?;
                return found.into_iter().next().ok_or(ServiceError::NotFound);
            }
            let mut all = category::lock_all(db).await?;
            if all.iter().any(|other| other.slug == new.slug) {
                let message = "Another category has this stable name, perhaps a retired one. \
                               Choose another, or restore that one.";
                return Err(UserError::new("slug", UserErrorCode::Taken, message).into());
            }
            if all.len() >= MAX_CATEGORIES {
                let message = format!(
                    "There can be {MAX_CATEGORIES} categories, retired ones included. Rename and \
                     restore a retired one instead."
                );
                return Err(UserError::new("slug", UserErrorCode::TooMany, message).into());
            }
            category::insert(db, new).await?;
            all.push(new.clone());
            category::set_order(db, &retired_last(&all)).await?;
            note(db, admin, AccountEvent::CategoryCreated { category_id: new.id }, now).await?;
            Ok(new.clone())
        })
        .await
}

/// Gives a category other names; `None` leaves one as it is. Its stable name stays.
///
/// # Errors
/// Not an admin; no such category; errors of the input.
pub async fn rename(
    actor: &Actor,
    services: &Services,
    id: Option<CategoryId>,
    name_en: Option<&str>,
    name_ru: Option<&str>,
) -> Result<Category, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut review = Review::default();
    let name_en = name_en.map(CategoryName::parse).transpose();
    let name_en = review.text("nameEn", "The English name", name_en);
    let name_ru = name_ru.map(CategoryName::parse).transpose();
    let name_ru = review.text("nameRu", "The Russian name", name_ru);
    let (name_en, name_ru) = review.finish(name_en.zip(name_ru))?;
    let (name_en, name_ru) = (&name_en, &name_ru);
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (mut category, _) = lock(db, id).await?;
            let old = (category.name_en.clone(), category.name_ru.clone());
            if let Some(name) = name_en {
                name.as_str().clone_into(&mut category.name_en);
            }
            if let Some(name) = name_ru {
                name.as_str().clone_into(&mut category.name_ru);
            }
            if (&category.name_en, &category.name_ru) != (&old.0, &old.1) {
                category::update(db, &category).await?;
                let renamed = AccountEvent::CategoryRenamed { category_id: category.id };
                note(db, admin, renamed, now).await?;
            }
            Ok::<_, ServiceError>(category)
        })
        .await
}

/// Puts the categories that take tickets in an order; `None` in `order`: an id that can't
/// be one.
///
/// # Errors
/// Not an admin; as user errors: an id that names none of them or is there twice, and
/// categories that are missing.
pub async fn order(
    actor: &Actor,
    services: &Services,
    order: &[Option<CategoryId>],
) -> Result<Vec<Category>, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let all = category::lock_all(db).await?;
            let (active, retired) =
                all.into_iter().partition::<Vec<_>, _>(|it| it.retired_at.is_none());
            let ordered = arrange(&active, order)?;
            let (from, to) = (ids(&active), ids(&ordered));
            if from != to {
                category::set_order(db, &[to.clone(), ids(&retired)].concat()).await?;
                note(db, admin, AccountEvent::CategoriesOrdered { from, to }, now).await?;
            }
            Ok::<_, ServiceError>(ordered)
        })
        .await
}

/// Retires a category: it keeps its tickets and takes no new ones.
///
/// # Errors
/// Not an admin; no such category; the last one that takes tickets, as a user error.
pub async fn retire(
    actor: &Actor,
    services: &Services,
    id: Option<CategoryId>,
) -> Result<Category, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    set_retired(actor, services, id, true).await
}

/// Lets a retired category take tickets again, as the last one.
///
/// # Errors
/// Not an admin; no such category.
pub async fn restore(
    actor: &Actor,
    services: &Services,
    id: Option<CategoryId>,
) -> Result<Category, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    set_retired(actor, services, id, false).await
}

async fn set_retired(
    actor: &Actor,
    services: &Services,
    id: Option<CategoryId>,
    retired: bool,
) -> Result<Category, ServiceError> {
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (mut category, mut others) = lock(db, id).await?;
            if category.retired_at.is_some() == retired {
                return Ok(category);
            }
            if retired && others.iter().all(|other| other.retired_at.is_some()) {
                let message = "This is the last category that takes tickets. Make or restore \
                               another one first.";
                return Err(UserError::new("id", UserErrorCode::LastCategory, message).into());
            }
            category.retired_at = retired.then_some(now);
            category::update(db, &category).await?;
            others.push(category.clone());
            category::set_order(db, &retired_last(&others)).await?;
            let category_id = category.id;
            let done = if retired {
                AccountEvent::CategoryRetired { category_id }
            } else {
                AccountEvent::CategoryRestored { category_id }
            };
            note(db, admin, done, now).await?;
            Ok::<_, ServiceError>(category)
        })
        .await
}

/// A category and all others, which nobody else changes until the transaction ends.
async fn lock(
    db: &mut Connection,
    id: Option<CategoryId>,
) -> Result<(Category, Vec<Category>), ServiceError> {
    let id = id.ok_or(ServiceError::NotFound)?;
    let mut all = category::lock_all(db).await?;
    let place = all.iter().position(|category| category.id == id).ok_or(ServiceError::NotFound)?;
    Ok((all.remove(place), all))
}

/// The categories in the order that is asked for.
fn arrange(
    active: &[Category],
    order: &[Option<CategoryId>],
) -> Result<Vec<Category>, ServiceError> {
    let mut ordered = Vec::<Category>::with_capacity(active.len());
    let refuse = |code, message: String| Err(UserError::new("ids", code, message).into());
    for (place, id) in (1..).zip(order) {
        let Some(category) = active.iter().find(|category| Some(category.id) == *id) else {
            let message = format!(
                "Id number {place} names no category that takes tickets. `categories` lists those \
                 that do."
            );
            return refuse(UserErrorCode::NotFound, message);
        };
        if ordered.iter().any(|earlier| earlier.id == category.id) {
            let message = format!("`{}` is there twice. Name each category once.", category.slug);
            return refuse(UserErrorCode::Invalid, message);
        }
        ordered.push(category.clone());
    }
    let missing = active
        .iter()
        .filter(|category| ordered.iter().all(|there| there.id != category.id))
        .map(|category| format!("`{}`", category.slug))
        .collect::<Vec<_>>();
    if !missing.is_empty() {
        let message =
            format!("Name every category that takes tickets. Missing: {}.", missing.join(", "));
        return refuse(UserErrorCode::Required, message);
    }
    Ok(ordered)
}

fn ids(categories: &[Category]) -> Vec<CategoryId> {
    categories.iter().map(|category| category.id).collect()
}

/// The order in which those that take tickets come first.
fn retired_last(categories: &[Category]) -> Vec<CategoryId> {
    let (active, retired) =
        categories.iter().partition::<Vec<_>, _>(|category| category.retired_at.is_none());
    active.into_iter().chain(retired).map(|category| category.id).collect()
}

/// Notes in an admin's trail what they did.
async fn note(
    db: &mut Connection,
    admin: AccountId,
    event: AccountEvent,
    now: Timestamp,
) -> Result<(), DbError> {
    session::note(db, admin, Some(admin), event, now).await
}
