//! Canned answers: texts that staff answer with again and again.

use uuid::Uuid;

use super::{
    ServiceError, Services, UserError, UserErrorCode,
    idempotency::{IdempotentCall, fingerprint},
    staff_list::{self, Change, Entry, Writer},
    validation::Validation,
};
use crate::{
    db::{Connection, DbError, account, canned_answer, category, ticket},
    domain::{
        account::{Account, Locale},
        actor::Actor,
        canned_answer::CannedAnswer,
        category::Category,
        ids::{AccountId, CannedAnswerId, CategoryId, TicketId},
        placeholder::{self, Placeholder, Values},
        policy, redaction,
        staff_list::StaffList,
        text::{Body, Label, TextError},
        ticket::Ticket,
    },
};

/// A canned answer to create.
pub struct NewCannedAnswer {
    /// Whether all staff share it.
    pub is_shared: bool,
    /// The title.
    pub title: String,
    /// The text, with placeholders.
    pub body: String,
    /// The category of tickets that it fits, or `None` if it fits all.
    pub category: Option<CategoryId>,
    /// The language that it is written in, or `None` if it fits all customers.
    pub locale: Option<Locale>,
    /// Makes the call safe to repeat.
    pub idempotency_key: Option<String>,
}

/// Changes to a canned answer. `None` leaves a field unchanged.
pub struct CannedAnswerChanges {
    /// The new title.
    pub title: Option<String>,
    /// The new text.
    pub body: Option<String>,
    /// The new category. `Some(None)` lets it fit all.
    pub category: Option<Option<CategoryId>>,
    /// The new language. `Some(None)` lets it fit all.
    pub locale: Option<Option<Locale>>,
}

/// What the placeholders of a canned answer stand for.
pub struct Occasion<'a> {
    /// The ticket that is answered.
    pub ticket: &'a Ticket,
    /// The customer who opened it.
    pub reporter: &'a Account,
    /// Its category.
    pub category: &'a Category,
    /// The member of staff who answers.
    pub agent: &'a Account,
}

/// Returns the shared canned answers and the actor's own, each in their order, the shared ones first.
/// If `retired` is true, the retired ones follow the active ones of their list. With a ticket, only
/// those that fit its category and the language of the customer who opened it.
///
/// # Errors
/// Returns an error if the actor is not staff or the ticket does not exist.
pub async fn list(
    actor: &Actor,
    services: &Services,
    retired: bool,
    ticket: Option<Option<TicketId>>,
) -> Result<Vec<CannedAnswer>, ServiceError> {
    let writer = staff_list::writer(actor)?;
    let mut connection = services.database.read().await?;
    let fits = match ticket {
        Some(id) => Some(fitting(&mut connection, actor, id.ok_or(ServiceError::NotFound)?).await?),
        None => None,
    };
    Ok(canned_answer::of_account(&mut connection, writer.account, retired, fits).await?)
}

/// Returns the category of a ticket and the language of the customer who opened it.
async fn fitting(
    db: &mut Connection,
    actor: &Actor,
    id: TicketId,
) -> Result<(CategoryId, Locale), ServiceError> {
    let found = ticket::by_ids(db, policy::ticket_scope(actor), &[id]).await?;
    let ticket = found.into_iter().next().ok_or(ServiceError::NotFound)?;
    let reporters = account::by_ids(db, &[ticket.reporter_id]).await?;
    let reporter = reporters.into_iter().next().ok_or(ServiceError::NotFound)?;
    Ok((ticket.category_id, reporter.locale))
}

/// Returns the canned answers with these ids that the actor may see, in no particular order.
///
/// # Errors
/// Returns an error if nobody is signed in.
pub async fn by_ids(
    actor: &Actor,
    services: &Services,
    ids: &[CannedAnswerId],
) -> Result<Vec<CannedAnswer>, ServiceError> {
    staff_list::visible(actor, services, &ids.iter().map(|id| id.0).collect::<Vec<_>>()).await
}

/// Returns the texts of the canned answers with these ids that the actor may see, in no particular
/// order.
///
/// # Errors
/// Returns an error if the actor is not staff.
pub async fn bodies(
    actor: &Actor,
    services: &Services,
    ids: &[CannedAnswerId],
) -> Result<Vec<(CannedAnswerId, String)>, ServiceError> {
    let reader = staff_list::writer(actor)?.account;
    Ok(canned_answer::bodies(&mut *services.database.read().await?, reader, ids).await?)
}

/// Returns the text of a canned answer with the values of its placeholders. The category is named in
/// the language of the answer, or else in that of the customer; so is a redacted summary.
///
/// # Errors
/// The text is longer than a comment may be.
pub fn text(
    services: &Services,
    answer: &CannedAnswer,
    body: &str,
    occasion: &Occasion<'_>,
) -> Result<String, TextError> {
    let Occasion { ticket, reporter, category, agent } = occasion;
    let locale = answer.locale.unwrap_or(reporter.locale);
    let number = services.number_prefix().format(ticket.number);
    let link = match &services.ticket_link {
        Some(link) => link.replace("{number}", &number),
        None => number.clone(),
    };
    let values = Values {
        reporter_name: &reporter.name,
        ticket_number: &number,
        ticket_link: &link,
        agent_name: &agent.name,
        category_name: category.name(locale),
        ticket_summary: redaction::displayed(&ticket.summary, locale),
    };
    placeholder::fill(body, &values)
}

/// Creates a canned answer, as the last one of its list.
///
/// # Errors
/// Returns an error if the actor is not staff, or not an admin and the answer is shared, and user
/// errors if the input is invalid or the list is full.
pub async fn create(
    actor: &Actor,
    services: &Services,
    new: NewCannedAnswer,
) -> Result<CannedAnswer, ServiceError> {
    let writer = staff_list::writer(actor)?;
    let owner = writer.owner(new.is_shared)?;
    let mut validation = Validation::default();
    let title = validation.text("title", "The title", Label::parse(&new.title));
    let body = valid_body(&mut validation, &new.body);
    let key = validation.idempotency_key(new.idempotency_key.as_deref());
    let ((title, body), key) = &validation.finish(title.zip(body).zip(key))?;
    let now = services.ambient.now();
    let new = &CannedAnswer {
        id: CannedAnswerId(services.ambient.uuid()),
        owner,
        title: title.as_str().to_owned(),
        category: new.category,
        locale: new.locale,
        retired_at: None,
        created_at: now,
        updated_at: now,
    };
    let fingerprint = new_fingerprint(new, body);
    let call = &IdempotentCall { account: writer.account, key: key.clone(), fingerprint };
    services
        .database
        .write(async |db| {
            if let Some(earlier) = call.earlier_result(db, new.id.0, now).await? {
                return staff_list::require(db, earlier).await;
            }
            check_category(db, new.category).await?;
            staff_list::make_room(db, LIST, writer, owner).await?;
            canned_answer::insert(db, new, body.as_str()).await?;
            writer.record(db, LIST, owner, Change::Created(new.id.0), now).await?;
            Ok(new.clone())
        })
        .await
}

const LIST: StaffList = StaffList::CannedAnswers;

fn new_fingerprint(new: &CannedAnswer, body: &Body) -> [u8; 32] {
    let fits = format!("{:?} {:?} {}", new.category, new.locale, new.owner.is_none());
    fingerprint("createCannedAnswer", &[&new.title, body.as_str(), &fits])
}

/// Changes a canned answer.
///
/// # Errors
/// Returns an error if the actor is not staff, the answer does not exist or is somebody else's, or it
/// is shared and the actor is not an admin, and user errors if the input is invalid.
pub async fn update(
    actor: &Actor,
    services: &Services,
    id: Option<CannedAnswerId>,
    changes: CannedAnswerChanges,
) -> Result<CannedAnswer, ServiceError> {
    let writer = staff_list::writer(actor)?;
    let mut validation = Validation::default();
    let title = changes.title.as_deref().map(Label::parse).transpose();
    let title = validation.text("title", "The title", title);
    let body = match &changes.body {
        Some(body) => valid_body(&mut validation, body).map(Some),
        None => Some(None),
    };
    let (title, body) = &validation.finish(title.zip(body))?;
    let CannedAnswerChanges { category, locale, .. } = changes;
    let now = services.ambient.now();
    services
        .database
        .write(async |db| {
            let entry = staff_list::lock_entry(db, LIST, writer, id.map(|id| id.0)).await?;
            let mut answer = staff_list::require::<CannedAnswer>(db, entry.id).await?;
            if let Some(category) = category {
                check_category(db, category).await?;
            }
            let body = new_body(db, writer, answer.id, body.as_ref()).await?;
            if !change(&mut answer, title.as_ref(), category, locale) && body.is_none() {
                return Ok(answer);
            }
            answer.updated_at = now;
            canned_answer::update(db, &answer, body).await?;
            writer.record(db, LIST, entry.owner, Change::Updated(entry.id), now).await?;
            Ok::<_, ServiceError>(answer)
        })
        .await
}

/// Returns the requested text unless it is the stored one.
async fn new_body<'b>(
    db: &mut Connection,
    writer: Writer,
    id: CannedAnswerId,
    requested: Option<&'b Body>,
) -> Result<Option<&'b str>, ServiceError> {
    let Some(requested) = requested.map(Body::as_str) else { return Ok(None) };
    let stored = canned_answer::bodies(db, writer.account, &[id]).await?;
    let is_stored = stored.iter().any(|(_, body)| body == requested);
    Ok((!is_stored).then_some(requested))
}

/// Changes what is set, other than the text. Returns whether that makes a difference.
fn change(
    answer: &mut CannedAnswer,
    title: Option<&Label>,
    category: Option<Option<CategoryId>>,
    locale: Option<Option<Locale>>,
) -> bool {
    let old = answer.clone();
    if let Some(title) = title {
        title.as_str().clone_into(&mut answer.title);
    }
    answer.category = category.unwrap_or(answer.category);
    answer.locale = locale.unwrap_or(answer.locale);
    (&old.title, old.category, old.locale) != (&answer.title, answer.category, answer.locale)
}

/// Orders the active canned answers of the actor, or the active shared ones. `None` in `order` stands
/// for an id that the caller sent and that is not a canned answer's.
///
/// # Errors
/// Returns an error if the actor is not staff, or not an admin and the answers are shared, and a user
/// error if `order` does not contain each of these answers exactly once.
pub async fn order(
    actor: &Actor,
    services: &Services,
    order: &[Option<CannedAnswerId>],
) -> Result<Vec<CannedAnswer>, ServiceError> {
    let order = order.iter().map(|id| id.map(|id| id.0)).collect::<Vec<_>>();
    staff_list::order(actor, services, &order).await
}

/// Retires a canned answer, or restores a retired one as the last one of its list.
///
/// # Errors
/// Returns an error if the actor is not staff, the answer does not exist or is somebody else's, or it
/// is shared and the actor is not an admin.
pub async fn set_retired(
    actor: &Actor,
    services: &Services,
    id: Option<CannedAnswerId>,
    retired: bool,
) -> Result<CannedAnswer, ServiceError> {
    staff_list::set_retired(actor, services, id.map(|id| id.0), retired).await
}

impl Entry for CannedAnswer {
    const LIST: StaffList = LIST;

    fn id(&self) -> Uuid {
        self.id.0
    }

    fn owner(&self) -> Option<AccountId> {
        self.owner
    }

    async fn by_ids(db: &mut Connection, ids: &[Uuid]) -> Result<Vec<Self>, DbError> {
        let ids = ids.iter().copied().map(CannedAnswerId).collect::<Vec<_>>();
        canned_answer::by_ids(db, &ids).await
    }
}

/// Parses a text with placeholders. If it is invalid, adds an error and returns `None`.
fn valid_body(validation: &mut Validation, text: &str) -> Option<Body> {
    let body = validation.text("body", "The text", Body::parse(text))?;
    let Some(unknown) = placeholder::unknown(body.as_str()) else { return Some(body) };
    let name = unknown.chars().take(MAX_NAMED).collect::<String>();
    let known = Placeholder::ALL.iter().map(|known| format!("{{{{{}}}}}", known.name()));
    let known = known.collect::<Vec<_>>().join(", ");
    let message = format!(
        "There is no placeholder {{{{{name}}}}}. Use one of these: {known}. If it is text, write a \
         backslash directly before it: \\{{{{{name}}}}}."
    );
    validation.add(UserError::new("body", UserErrorCode::Invalid, message));
    None
}

/// How many characters of an unknown placeholder a message contains.
const MAX_NAMED: usize = 60;

async fn check_category(db: &mut Connection, id: Option<CategoryId>) -> Result<(), ServiceError> {
    let Some(id) = id else { return Ok(()) };
    if category::by_ids(db, &[id]).await?.is_empty() {
        let message = "There is no such category. Use an id that `categories` returns, or leave it \
                       out.";
        return Err(UserError::new("categoryId", UserErrorCode::NotFound, message).into());
    }
    Ok(())
}
