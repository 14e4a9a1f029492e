//! Saved views of the queue.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    idempotency::{IdempotentCall, fingerprint},
    staff_list::{self, Change, Entry},
    validation::Validation,
};
use crate::{
    db::{Connection, DbError, account, category, saved_view, ticket},
    domain::{
        actor::Actor,
        category::MAX_CATEGORIES,
        ids::{AccountId, CategoryId, SavedViewId},
        policy::{self, Action, Resource},
        saved_view::{MAX_COUNTED, SavedView},
        search::{SearchError, SearchQuery, SearchText},
        staff_list::StaffList,
        text::Label,
        ticket_conditions::{AssigneeCondition, TicketConditions},
        ticket_list::TicketListOrder,
    },
};

/// A view to create.
pub struct NewSavedView {
    /// Whether all staff share it.
    pub is_shared: bool,
    /// The name.
    pub name: String,
    /// Which tickets it shows.
    pub conditions: TicketConditions,
    /// The order in which it shows them.
    pub order: TicketListOrder,
    /// Makes the call safe to repeat.
    pub idempotency_key: Option<String>,
}

/// Changes to a view. `None` leaves a field unchanged.
pub struct SavedViewChanges {
    /// The new name.
    pub name: Option<String>,
    /// The new conditions, which replace all of the old ones.
    pub conditions: Option<TicketConditions>,
    /// The new order.
    pub order: Option<TicketListOrder>,
}

const LIST: StaffList = StaffList::SavedViews;

/// Returns the shared views and the actor's own, each in their order, the shared ones first. If
/// `retired` is true, the retired ones follow the active ones of their list.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub async fn list(
    actor: &Actor,
    services: &Services,
    retired: bool,
) -> Result<Vec<SavedView>, ServiceError> {
    let writer = staff_list::writer(actor)?;
    let mut connection = services.database.read().await?;
    Ok(saved_view::of_account(&mut connection, writer.account, retired).await?)
}

/// Returns the views with these ids that the actor may see, in no particular order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[SavedViewId],
) -> Result<Vec<SavedView>, ServiceError> {
    staff_list::visible(actor, services, &ids.iter().map(|id| id.0).collect::<Vec<_>>()).await
}

/// Counts the tickets that the actor sees in each of these views, at most [`MAX_COUNTED`] in each.
/// All are counted by one statement.
///
/// # Errors
/// Returns an error if the actor is not staff, or if counting takes too long.
pub async fn counts(
    actor: &Actor,
    services: &Services,
    ids: &[SavedViewId],
) -> Result<HashMap<SavedViewId, i64>, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    let reader = policy::reader(actor).ok_or(ServiceError::Unauthenticated)?;
    let views = by_ids(actor, services, ids).await?;
    // A text may no longer be a valid search, for example since the prefix of ticket numbers has changed.
    // The tickets of such a view are neither listed nor counted.
    let (ids, filters) = &views
        .iter()
        .filter_map(|view| {
            let text = view.conditions.text.as_deref();
            let search = text.map(|text| SearchQuery::parse(text, services.number_prefix()));
            Some((view.id, view.conditions.list_filter(reader, search.transpose().ok()?)))
        })
        .collect::<(Vec<_>, Vec<_>)>();
    let limit = services.settings.search_timeout;
    let count = async |db: &mut _| ticket::list::capped_counts(db, filters, MAX_COUNTED).await;
    let counts = services.database.read_within(limit, count).await;
    let counts = counts.map_err(|error| ServiceError::slow(error, COUNT_ADVICE))?;
    Ok(ids.iter().copied().zip(counts).collect())
}

const COUNT_ADVICE: &str = "Count the tickets of fewer views at a time.";

/// Creates a view, as the last one of its list.
///
/// # Errors
/// Returns an error if the actor is not staff, or not an admin and the view is shared, and user errors
/// if the input is invalid or the list is full.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewSavedView,
) -> Result<SavedView, ServiceError> {
    let writer = staff_list::writer(actor)?;
    let owner = writer.owner(new.is_shared)?;
    let mut validation = Validation::default();
    let name = validation.text("name", "The name", Label::parse(&new.name));
    let conditions = valid_conditions(&mut validation, services, new.conditions);
    let key = validation.idempotency_key(new.idempotency_key.as_deref());
    let ((name, conditions), key) = validation.finish(name.zip(conditions).zip(key))?;
    let now = services.ambient.now();
    let new = &SavedView {
        id: SavedViewId(services.ambient.uuid()),
        owner,
        name: name.into_string(),
        conditions,
        order: new.order,
        retired_at: None,
        created_at: now,
        updated_at: now,
    };
    let fingerprint = new_fingerprint(new)?;
    let call = &IdempotentCall { account: writer.account, key, fingerprint };
    services
        .database
        .write(async |db| {
            if let Some(earlier) = call.earlier_result(db, new.id.0, now).await? {
                return staff_list::require(db, earlier).await;
            }
            check_exist(db, &new.conditions).await?;
            staff_list::make_room(db, LIST, writer, owner).await?;
            saved_view::insert(db, new).await?;
            writer.record(db, LIST, owner, Change::Created(new.id.0), now).await?;
            Ok(new.clone())
        })
        .await
}

fn new_fingerprint(new: &SavedView) -> Result<[u8; 32], ServiceError> {
    let conditions = saved_view::stored(&new.conditions)?.to_string();
    let rest = format!("{:?} {}", new.order, new.owner.is_none());
    Ok(fingerprint("createSavedView", &[&new.name, &conditions, &rest]))
}

/// Changes a view.
///
/// # Errors
/// Returns an error if the actor is not staff, the view does not exist or is somebody else's, or it is
/// shared and the actor is not an admin, and user errors if the input is invalid.
pub async fn update(
    actor: &Actor,
    services: &Services,
    id: Option<SavedViewId>,
    changes: SavedViewChanges,
) -> Result<SavedView, ServiceError> {
    let writer = staff_list::writer(actor)?;
    let mut validation = Validation::default();
    let name = changes.name.as_deref().map(Label::parse).transpose();
    let name = validation.text("name", "The name", name);
    let conditions = match changes.conditions {
        Some(conditions) => valid_conditions(&mut validation, services, conditions).map(Some),
        None => Some(None),
    };
    let (name, conditions) = &validation.finish(name.zip(conditions))?;
    let (order, now) = (changes.order, services.ambient.now());
    services
        .database
        .write(async |db| {
            let entry = staff_list::lock_entry(db, LIST, writer, id.map(|id| id.0)).await?;
            let mut view = staff_list::require::<SavedView>(db, entry.id).await?;
            if let Some(conditions) = conditions {
                check_exist(db, conditions).await?;
            }
            if !change(&mut view, name.as_ref(), conditions.as_ref(), order) {
                return Ok(view);
            }
            view.updated_at = now;
            saved_view::update(db, &view, conditions.as_ref(), order).await?;
            writer.record(db, LIST, entry.owner, Change::Updated(entry.id), now).await?;
            Ok::<_, ServiceError>(view)
        })
        .await
}

/// Changes what is set. Returns whether that makes a difference.
fn change(
    view: &mut SavedView,
    name: Option<&Label>,
    conditions: Option<&TicketConditions>,
    order: Option<TicketListOrder>,
) -> bool {
    let old = view.clone();
    if let Some(name) = name {
        name.as_str().clone_into(&mut view.name);
    }
    if let Some(conditions) = conditions {
        view.conditions.clone_from(conditions);
    }
    view.order = order.unwrap_or(view.order);
    (&old.name, &old.conditions, old.order) != (&view.name, &view.conditions, view.order)
}

/// Orders the active views of the actor, or the active shared ones. `None` in `order` stands for an
/// id that the caller sent and that is not a view's.
///
/// # Errors
/// Returns an error if the actor is not staff, or not an admin and the views are shared, and a user
/// error if `order` does not contain each of these views exactly once.
pub async fn order(
    actor: &Actor,
    services: &Services,
    order: &[Option<SavedViewId>],
) -> Result<Vec<SavedView>, ServiceError> {
    let order = order.iter().map(|id| id.map(|id| id.0)).collect::<Vec<_>>();
    staff_list::order(actor, services, &order).await
}

/// Retires a view, or restores a retired one as the last one of its list.
///
/// # Errors
/// Returns an error if the actor is not staff, the view does not exist or is somebody else's, or it is
/// shared and the actor is not an admin.
pub async fn set_retired(
    actor: &Actor,
    services: &Services,
    id: Option<SavedViewId>,
    retired: bool,
) -> Result<SavedView, ServiceError> {
    staff_list::set_retired(actor, services, id.map(|id| id.0), retired).await
}

impl Entry for SavedView {
    const LIST: StaffList = LIST;

    fn id(&self) -> Uuid {
        self.id.0
    }

    fn owner(&self) -> Option<AccountId> {
        self.owner
    }

    async fn by_ids(db: &mut Connection, ids: &[Uuid]) -> Result<Vec<Self>, DbError> {
        let ids = ids.iter().copied().map(SavedViewId).collect::<Vec<_>>();
        saved_view::by_ids(db, &ids).await
    }
}

/// Checks conditions as far as that is possible without the database. If they are invalid, adds an
/// error and returns `None`.
fn valid_conditions(
    validation: &mut Validation,
    services: &Services,
    mut conditions: TicketConditions,
) -> Option<TicketConditions> {
    let categories = conditions.categories.as_ref().map_or(0, Vec::len);
    if categories > MAX_CATEGORIES {
        let message = format!(
            "The filter names {categories} categories, but at most {MAX_CATEGORIES} are allowed. \
             Leave the categories out to match all."
        );
        validation.add(UserError::new("filter", UserErrorCode::TooMany, message));
        return None;
    }
    let error = match conditions.text.as_deref().map(|text| valid_text(services, text)).transpose()
    {
        Err(error) => Some(format!("The text {error}.")),
        _ if conditions.is_unread.is_some() && !conditions.has_assignee() => Some(
            "A view can use `isUnread` only together with `isAssignedToMe: true` or `assigneeId`."
                .to_owned(),
        ),
        Ok(text) => {
            conditions.text = text;
            None
        }
    };
    match error {
        Some(message) => {
            validation.add(UserError::new("filter", UserErrorCode::Invalid, message));
            None
        }
        None => Some(conditions.deduplicated()),
    }
}

/// Returns a text as it is stored. A search accepts any long text that has a ticket number; a view,
/// which repeats its text, does not.
fn valid_text(services: &Services, text: &str) -> Result<String, SearchError> {
    let text = SearchText::parse(text)?.as_str().to_owned();
    SearchQuery::parse(&text, services.number_prefix())?;
    Ok(text)
}

/// Checks that the categories and accounts of conditions exist. Retired categories do.
async fn check_exist(
    db: &mut Connection,
    conditions: &TicketConditions,
) -> Result<(), ServiceError> {
    let categories = conditions.categories.as_deref().unwrap_or_default();
    check_categories(db, categories).await?;
    let assignee = match conditions.assignee {
        Some(AssigneeCondition::Account(id)) => Some(id),
        Some(AssigneeCondition::Nobody) | None => None,
    };
    let accounts = assignee.into_iter().chain(conditions.reporter).collect::<Vec<AccountId>>();
    let found = account::by_ids(db, &accounts).await?;
    let all_exist = accounts.iter().all(|id| found.iter().any(|account| account.id == *id));
    if all_exist { Ok(()) } else { Err(unknown("an account")) }
}

async fn check_categories(db: &mut Connection, ids: &[CategoryId]) -> Result<(), ServiceError> {
    let found = category::by_ids(db, ids).await?;
    let all_exist = ids.iter().all(|id| found.iter().any(|category| category.id == *id));
    if all_exist { Ok(()) } else { Err(unknown("a category")) }
}

fn unknown(what: &str) -> ServiceError {
    let message = format!("The filter names {what} that does not exist. Choose another one.");
    UserError::new("filter", UserErrorCode::NotFound, message).into()
}
