//! Categories of tickets.

use super::{
    ServiceError, Services, UserError, UserErrorCode, audit, authorise,
    idempotency::{IdempotentCall, fingerprint},
    staff,
    validation::Validation,
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
        text::CategoryName,
    },
};

/// A category to create.
pub struct NewCategory {
    /// The slug: the name for scripts and links.
    pub slug: String,
    /// The name in English.
    pub name_en: String,
    /// The name in Russian.
    pub name_ru: String,
    /// Makes the call safe to repeat.
    pub idempotency_key: Option<String>,
}

/// Returns the categories that accept tickets, in the configured order. If `retired` is true,
/// the retired ones follow.
///
/// # Errors
/// Returns an error if nobody is signed in, or if `retired` is true and the actor is not an
/// admin.
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

/// Returns the categories with these ids, also retired ones, in no particular order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[CategoryId],
) -> Result<Vec<Category>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    Ok(category::by_ids(&mut *services.database.read().await?, ids).await?)
}

/// Creates a category, as the last one of those that accept tickets.
///
/// # Errors
/// Returns an error if the actor is not an admin, and user errors if the input is invalid,
/// another category has the slug, or there are too many.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewCategory,
) -> Result<Category, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut validation = Validation::default();
    let slug = validation.text("slug", "The slug", Slug::parse(&new.slug));
    let name_en = validation.text("nameEn", "The English name", CategoryName::parse(&new.name_en));
    let name_ru = validation.text("nameRu", "The Russian name", CategoryName::parse(&new.name_ru));
    let key = validation.idempotency_key(new.idempotency_key.as_deref());
    let input = slug.zip(name_en).zip(name_ru).zip(key);
    let (((slug, name_en), name_ru), key) = validation.finish(input)?;
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
            staff::lock_admins(actor, db, now).await?;
            if let Some(earlier) = call.earlier_result(db, new.id.0, now).await? {
                let found = category::by_ids(db, &[CategoryId(earlier)]).await?;
                return found.into_iter().next().ok_or(ServiceError::NotFound);
            }
            let mut all = category::lock_all(db).await?;
            check_new(new, &all)?;
            category::insert(db, new).await?;
            all.push(new.clone());
            category::set_order(db, &retired_last(&all)).await?;
            record(db, admin, AccountEvent::CategoryCreated { category_id: new.id }, now).await?;
            Ok(new.clone())
        })
        .await
}

/// Checks that a new category's slug is unused and that there is room for it.
fn check_new(new: &Category, all: &[Category]) -> Result<(), UserError> {
    if all.iter().any(|other| other.slug == new.slug) {
        let message = "Another category has this slug, possibly a retired one. Choose another \
                       slug, or restore that category.";
        return Err(UserError::new("slug", UserErrorCode::Taken, message));
    }
    if all.len() >= MAX_CATEGORIES {
        let message = format!(
            "There can be at most {MAX_CATEGORIES} categories, including retired ones. Restore and \
             rename a retired one instead."
        );
        return Err(UserError::new("slug", UserErrorCode::TooMany, message));
    }
    Ok(())
}

/// Changes the names of a category. `None` leaves a name unchanged. The slug cannot change.
///
/// # Errors
/// Returns an error if the actor is not an admin or the category does not exist, and user
/// errors if the input is invalid.
pub async fn rename(
    actor: &Actor,
    services: &Services,
    id: Option<CategoryId>,
    name_en: Option<&str>,
    name_ru: Option<&str>,
) -> Result<Category, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    let admin = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let mut validation = Validation::default();
    let name_en = name_en.map(CategoryName::parse).transpose();
    let name_en = validation.text("nameEn", "The English name", name_en);
    let name_ru = name_ru.map(CategoryName::parse).transpose();
    let name_ru = validation.text("nameRu", "The Russian name", name_ru);
    let (name_en, name_ru) = validation.finish(name_en.zip(name_ru))?;
    let (name_en, name_ru) = (&name_en, &name_ru);
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let (mut category, _) = lock(actor, db, id, now).await?;
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
                record(db, admin, renamed, now).await?;
            }
            Ok::<_, ServiceError>(category)
        })
        .await
}

/// Orders the categories that accept tickets. `None` in `order` stands for an id that the
/// caller sent and that is not a category's.
///
/// # Errors
/// Returns an error if the actor is not an admin, and a user error if `order` does not contain
/// each of these categories exactly once.
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
            staff::lock_admins(actor, db, now).await?;
            let all = category::lock_all(db).await?;
            let (active, retired) =
                all.into_iter().partition::<Vec<_>, _>(|it| it.retired_at.is_none());
            let ordered = in_order(&active, order)?;
            let (from, to) = (ids(&active), ids(&ordered));
            if from != to {
                category::set_order(db, &[to.clone(), ids(&retired)].concat()).await?;
                record(db, admin, AccountEvent::CategoriesOrdered { from, to }, now).await?;
            }
            Ok::<_, ServiceError>(ordered)
        })
        .await
}

/// Retires a category. It keeps its tickets and no longer accepts new ones.
///
/// # Errors
/// Returns an error if the actor is not an admin or the category does not exist, and a user
/// error if it is the last one that accepts tickets.
pub async fn retire(
    actor: &Actor,
    services: &Services,
    id: Option<CategoryId>,
) -> Result<Category, ServiceError> {
    authorise(actor, Action::ManageCategories, Resource::Desk)?;
    set_retired(actor, services, id, true).await
}

/// Lets a retired category accept tickets again, as the last one in the order.
///
/// # Errors
/// Returns an error if the actor is not an admin or the category does not exist.
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
            let (mut category, mut others) = lock(actor, db, id, now).await?;
            if category.retired_at.is_some() == retired {
                return Ok(category);
            }
            if retired && others.iter().all(|other| other.retired_at.is_some()) {
                let message = "This is the last category that accepts tickets. Create or restore \
                               another one first.";
                return Err(UserError::new("id", UserErrorCode::LastCategory, message).into());
            }
            category.retired_at = retired.then_some(now);
            category::update(db, &category).await?;
            others.push(category.clone());
            category::set_order(db, &retired_last(&others)).await?;
            let category_id = category.id;
            let event = if retired {
                AccountEvent::CategoryRetired { category_id }
            } else {
                AccountEvent::CategoryRestored { category_id }
            };
            record(db, admin, event, now).await?;
            Ok::<_, ServiceError>(category)
        })
        .await
}

/// Locks the admins and all categories until the transaction ends. Returns the category with an id, and
/// the others.
///
/// # Errors
/// Returns an error if the actor is no longer an admin, or if there is no such category.
async fn lock(
    actor: &Actor,
    db: &mut Connection,
    id: Option<CategoryId>,
    now: Timestamp,
) -> Result<(Category, Vec<Category>), ServiceError> {
    staff::lock_admins(actor, db, now).await?;
    let id = id.ok_or(ServiceError::NotFound)?;
    let mut all = category::lock_all(db).await?;
    let index = all.iter().position(|category| category.id == id).ok_or(ServiceError::NotFound)?;
    Ok((all.remove(index), all))
}

/// Returns the active categories in the requested order.
fn in_order(active: &[Category], order: &[Option<CategoryId>]) -> Result<Vec<Category>, UserError> {
    let mut ordered = Vec::<Category>::with_capacity(active.len());
    let invalid = |code, message: String| Err(UserError::new("ids", code, message));
    for (position, id) in (1..).zip(order) {
        let Some(category) = active.iter().find(|category| Some(category.id) == *id) else {
            let message = format!(
                "Item {position} of `ids` is not an active category. Use the ids that \
                 `categories` returns."
            );
            return invalid(UserErrorCode::NotFound, message);
        };
        if ordered.iter().any(|earlier| earlier.id == category.id) {
            let message = format!("`{}` is listed twice. List each category once.", category.slug);
            return invalid(UserErrorCode::Invalid, message);
        }
        ordered.push(category.clone());
    }
    let missing = active
        .iter()
        .filter(|category| ordered.iter().all(|listed| listed.id != category.id))
        .map(|category| format!("`{}`", category.slug))
        .collect::<Vec<_>>();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let message = format!("List every active category. Missing: {missing}.");
        return invalid(UserErrorCode::Required, message);
    }
    Ok(ordered)
}

fn ids(categories: &[Category]) -> Vec<CategoryId> {
    categories.iter().map(|category| category.id).collect()
}

/// Returns the ids of all categories, with the retired ones last.
fn retired_last(categories: &[Category]) -> Vec<CategoryId> {
    let (active, retired) =
        categories.iter().partition::<Vec<_>, _>(|category| category.retired_at.is_none());
    active.into_iter().chain(retired).map(|category| category.id).collect()
}

/// Records an event in an admin's audit trail.
async fn record(
    db: &mut Connection,
    admin: AccountId,
    event: AccountEvent,
    now: Timestamp,
) -> Result<(), DbError> {
    audit::record(db, admin, Some(admin), event, now).await
}
