//! What the ordered lists of staff have in common: who may change them, their order, and retiring
//! and restoring their entries.

use uuid::Uuid;

use super::{ServiceError, Services, UserError, UserErrorCode, audit, authorise};
use crate::{
    db::{Connection, DbError, staff_list},
    domain::{
        account::{Account, Role},
        actor::Actor,
        clock::Timestamp,
        event::AccountEvent,
        ids::{AccountId, CannedAnswerId, SavedViewId},
        policy::{self, Action, Decision, Resource},
        staff_list::{ListEntry, StaffList},
    },
};

/// A member of staff who changes a list.
#[derive(Clone, Copy)]
pub(super) struct Writer {
    /// The account.
    pub(super) account: AccountId,
    may_share: bool,
}

/// What a list of staff contains.
pub(super) trait Entry: Send + Sync {
    /// The list.
    const LIST: StaffList;

    /// Returns its id.
    fn id(&self) -> Uuid;

    /// Returns its owner, or `None` if all staff share it.
    fn owner(&self) -> Option<AccountId>;

    /// Returns the entries with these ids, in no particular order.
    fn by_ids(
        db: &mut Connection,
        ids: &[Uuid],
    ) -> impl Future<Output = Result<Vec<Self>, DbError>> + Send
    where
        Self: Sized;
}

/// A change of a list.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Created(Uuid),
    Updated(Uuid),
    Ordered,
    Retired(Uuid),
    Restored(Uuid),
}

/// Authorises an actor to change their own list.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub(super) fn writer(actor: &Actor) -> Result<Writer, ServiceError> {
    authorise(actor, Action::ViewInternal, Resource::Desk)?;
    let account = actor.account_id().ok_or(ServiceError::Unauthenticated)?;
    let may_share = policy::decide(actor, Action::ManageSharedLists, Resource::Desk);
    Ok(Writer { account, may_share: may_share == Decision::Allow })
}

impl Writer {
    /// Returns the owner of an entry that the writer creates.
    ///
    /// # Errors
    /// Returns an error if it is shared and the writer is not an admin.
    pub(super) fn owner(self, shared: bool) -> Result<Option<AccountId>, ServiceError> {
        if shared && !self.may_share {
            return Err(ServiceError::Forbidden);
        }
        Ok((!shared).then_some(self.account))
    }

    /// Locks the writer's personal list, or the shared one, until the transaction ends.
    ///
    /// # Errors
    /// Returns an error if the writer has left the staff since they were authorised, or is no longer
    /// an admin and the list is shared.
    async fn lock(
        self,
        db: &mut Connection,
        list: StaffList,
        shared: bool,
    ) -> Result<(), ServiceError> {
        let account = staff_list::lock(db, list, self.account, shared).await?;
        let account = account.filter(Account::is_active_staff).ok_or(ServiceError::Forbidden)?;
        if shared && account.role != Role::Admin {
            return Err(ServiceError::Forbidden);
        }
        Ok(())
    }

    /// Records a change of the shared list in the audit trail of the writer. Nobody else sees a
    /// personal list.
    pub(super) async fn record(
        self,
        db: &mut Connection,
        list: StaffList,
        owner: Option<AccountId>,
        change: Change,
        now: Timestamp,
    ) -> Result<(), DbError> {
        match owner {
            Some(_) => Ok(()),
            None => {
                audit::record(db, self.account, Some(self.account), event(list, change), now).await
            }
        }
    }
}

fn event(list: StaffList, change: Change) -> AccountEvent {
    match list {
        StaffList::CannedAnswers => canned_answer_event(change),
        StaffList::SavedViews => saved_view_event(change),
    }
}

fn canned_answer_event(change: Change) -> AccountEvent {
    let id = CannedAnswerId;
    match change {
        Change::Created(it) => AccountEvent::CannedAnswerCreated { canned_answer_id: id(it) },
        Change::Updated(it) => AccountEvent::CannedAnswerUpdated { canned_answer_id: id(it) },
        Change::Ordered => AccountEvent::CannedAnswersOrdered {},
        Change::Retired(it) => AccountEvent::CannedAnswerRetired { canned_answer_id: id(it) },
        Change::Restored(it) => AccountEvent::CannedAnswerRestored { canned_answer_id: id(it) },
    }
}

fn saved_view_event(change: Change) -> AccountEvent {
    let id = SavedViewId;
    match change {
        Change::Created(it) => AccountEvent::SavedViewCreated { saved_view_id: id(it) },
        Change::Updated(it) => AccountEvent::SavedViewUpdated { saved_view_id: id(it) },
        Change::Ordered => AccountEvent::SavedViewsOrdered {},
        Change::Retired(it) => AccountEvent::SavedViewRetired { saved_view_id: id(it) },
        Change::Restored(it) => AccountEvent::SavedViewRestored { saved_view_id: id(it) },
    }
}

/// Locks the list that a new entry of `owner` belongs to, until the transaction ends.
///
/// # Errors
/// Returns the errors of [`Writer::lock`], and a user error if the list is full.
pub(super) async fn make_room(
    db: &mut Connection,
    list: StaffList,
    writer: Writer,
    owner: Option<AccountId>,
) -> Result<(), ServiceError> {
    let shared = owner.is_none();
    writer.lock(db, list, shared).await?;
    let max = list.max_entries(shared);
    if staff_list::entries(db, list, owner).await?.len() < max {
        return Ok(());
    }
    let (noun, _) = words(list);
    let whose = if shared { "There can be at most" } else { "You can have at most" };
    let kind = if shared { "shared" } else { "personal" };
    let message = format!(
        "{whose} {max} {kind} {noun}, including retired ones. Change one that you no longer need \
         instead."
    );
    Err(UserError::of_input(UserErrorCode::TooMany, message).into())
}

/// Finds an entry to change, and locks its list until the transaction ends.
///
/// # Errors
/// Returns an error if the entry does not exist, is somebody else's, or is shared and the writer is
/// not an admin, and the errors of [`Writer::lock`].
pub(super) async fn lock_entry(
    db: &mut Connection,
    list: StaffList,
    writer: Writer,
    id: Option<Uuid>,
) -> Result<ListEntry, ServiceError> {
    let id = id.ok_or(ServiceError::NotFound)?;
    let entry = staff_list::entry(db, list, id).await?.ok_or(ServiceError::NotFound)?;
    if entry.owner.is_some_and(|owner| owner != writer.account) {
        return Err(ServiceError::NotFound);
    }
    let shared = entry.owner.is_none();
    writer.owner(shared)?;
    writer.lock(db, list, shared).await?;
    staff_list::entry(db, list, id).await?.ok_or(ServiceError::NotFound)
}

/// Returns the entries with these ids that the actor may see, in no particular order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub(super) async fn visible<E: Entry>(
    actor: &Actor,
    services: &Services,
    ids: &[Uuid],
) -> Result<Vec<E>, ServiceError> {
    authorise(actor, Action::Enter, Resource::Desk)?;
    if !policy::sees_internal(actor) {
        return Ok(vec![]);
    }
    let mut found = E::by_ids(&mut *services.database.read().await?, ids).await?;
    found.retain(|entry| entry.owner().is_none() || entry.owner() == actor.account_id());
    Ok(found)
}

/// Returns an entry.
///
/// # Errors
/// Returns an error if it does not exist.
pub(super) async fn require<E: Entry>(db: &mut Connection, id: Uuid) -> Result<E, ServiceError> {
    E::by_ids(db, &[id]).await?.into_iter().next().ok_or(ServiceError::NotFound)
}

/// Orders the active entries of the actor's list, or of the shared one: the list that the first id
/// belongs to. `None` in `order` stands for an id of something else. Returns the entries in their
/// order.
///
/// # Errors
/// Returns an error if the actor is not staff, or not an admin and the list is shared, and a user
/// error if `order` does not contain each active entry of one list exactly once.
pub(super) async fn order<E: Entry>(
    actor: &Actor,
    services: &Services,
    order: &[Option<Uuid>],
) -> Result<Vec<E>, ServiceError> {
    let writer = writer(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let ids = set_order(db, E::LIST, writer, order, now).await?;
            let mut found = E::by_ids(db, &ids).await?;
            found.sort_by_key(|entry| ids.iter().position(|id| *id == entry.id()));
            Ok::<_, ServiceError>(found)
        })
        .await
}

/// Retires an entry, or restores a retired one as the last one of its list. Returns it.
///
/// # Errors
/// Returns an error if the actor is not staff, the entry does not exist or is somebody else's, or it
/// is shared and the actor is not an admin.
pub(super) async fn set_retired<E: Entry>(
    actor: &Actor,
    services: &Services,
    id: Option<Uuid>,
    retired: bool,
) -> Result<E, ServiceError> {
    let writer = writer(actor)?;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let id = retire_or_restore(db, E::LIST, writer, id, retired, now).await?;
            require(db, id).await
        })
        .await
}

/// Sets the order of the active entries of the list that the first id belongs to. `None` in `order`
/// stands for an id of something else. Returns the ids in their order.
///
/// # Errors
/// Returns an error if the list is shared and the writer is not an admin, and a user error if `order`
/// does not contain each active entry of one list exactly once.
async fn set_order(
    db: &mut Connection,
    list: StaffList,
    writer: Writer,
    order: &[Option<Uuid>],
    now: Timestamp,
) -> Result<Vec<Uuid>, ServiceError> {
    let Some(&first) = order.first() else {
        let (noun, _) = words(list);
        let message = format!("List every active one of your own {noun}, or of the shared ones.");
        return Err(UserError::new("ids", UserErrorCode::Required, message).into());
    };
    let entry = match lock_entry(db, list, writer, first).await {
        Err(ServiceError::NotFound) => return Err(not_listed(list, 1).into()),
        found => found?,
    };
    let entries = staff_list::entries(db, list, entry.owner).await?;
    let active = entries.into_iter().filter(|entry| !entry.is_retired).collect::<Vec<_>>();
    let ordered = in_order(list, &active, order)?;
    if ordered.iter().ne(active.iter().map(|entry| &entry.id)) {
        staff_list::set_order(db, list, &ordered).await?;
        writer.record(db, list, entry.owner, Change::Ordered, now).await?;
    }
    Ok(ordered)
}

/// Retires or restores an entry.
///
/// # Errors
/// Returns the errors of [`lock_entry`].
async fn retire_or_restore(
    db: &mut Connection,
    list: StaffList,
    writer: Writer,
    id: Option<Uuid>,
    retired: bool,
    now: Timestamp,
) -> Result<Uuid, ServiceError> {
    let ListEntry { id, owner, is_retired, .. } = lock_entry(db, list, writer, id).await?;
    if is_retired == retired {
        return Ok(id);
    }
    let change = if retired {
        staff_list::retire(db, list, id, now).await?;
        Change::Retired(id)
    } else {
        staff_list::restore(db, list, id, now).await?;
        Change::Restored(id)
    };
    writer.record(db, list, owner, change, now).await?;
    Ok(id)
}

/// Returns the requested order of the active entries.
fn in_order(
    list: StaffList,
    active: &[ListEntry],
    order: &[Option<Uuid>],
) -> Result<Vec<Uuid>, UserError> {
    let mut ordered = Vec::<Uuid>::with_capacity(active.len());
    for (position, id) in (1..).zip(order) {
        let Some(entry) = active.iter().find(|entry| Some(entry.id) == *id) else {
            return Err(not_listed(list, position));
        };
        if ordered.contains(&entry.id) {
            let message = format!("“{}” is listed twice. List each once.", entry.name);
            return Err(UserError::new("ids", UserErrorCode::Invalid, message));
        }
        ordered.push(entry.id);
    }
    match active.iter().find(|entry| !ordered.contains(&entry.id)) {
        Some(missing) => {
            let (noun, _) = words(list);
            let message = format!(
                "List all active {noun} of the list. “{}” is missing, and maybe others are.",
                missing.name
            );
            Err(UserError::new("ids", UserErrorCode::Required, message))
        }
        None => Ok(ordered),
    }
}

fn not_listed(list: StaffList, position: usize) -> UserError {
    let (noun, query) = words(list);
    let message = format!(
        "Item {position} of `ids` is not an active one of the {noun} to order. Order your own and \
         the shared ones separately, with the ids that `{query}` returns."
    );
    UserError::new("ids", UserErrorCode::NotFound, message)
}

/// Returns the name of the entries in messages, in the plural, and the query that lists them.
fn words(list: StaffList) -> (&'static str, &'static str) {
    match list {
        StaffList::CannedAnswers => ("canned answers", "cannedAnswers"),
        StaffList::SavedViews => ("views", "savedViews"),
    }
}
