//! Files that are uploaded in requests of their own, for a ticket or comment that its author still
//! writes. They are kept for a week and count towards a limit of their own.

use uuid::Uuid;

use super::{
    ServiceError, Services, UserError, UserErrorCode, authorise,
    upload::{self, Upload},
    validation::Validation,
};
use crate::{
    db::attachment as attachments,
    domain::{
        actor::Actor,
        attachment::{Content, FileName},
        clock::Timestamp,
        ids::{AccountId, AttachmentId},
        policy::{Action, Resource},
    },
};

/// The maximum number of files that an account keeps unused.
const MAX_KEPT: u32 = 100;
const FIELD: &str = "uploadedFileIds";

/// A file that is not attached to anything yet.
pub struct UploadedFile {
    /// The file's id, which it keeps when it is attached.
    pub id: AttachmentId,
    /// The name.
    pub name: FileName,
    /// The content.
    pub content: Content,
    /// When it is deleted if it is not attached until then.
    pub expires_at: Timestamp,
}

/// Keeps a file that was received with the request.
///
/// # Errors
/// Returns a user error if the file was rejected, or if the account keeps too many.
pub async fn keep(
    actor: &Actor,
    services: &Services,
    file: Upload,
) -> Result<UploadedFile, ServiceError> {
    let uploader = uploader(actor)?;
    let mut validation = Validation::default();
    let file = Upload { outcome: file.outcome.map_err(|error| error.at("file")), ..file };
    upload::validate(&mut validation, std::slice::from_ref(&file));
    let (name, content) = validation.finish(file.outcome.ok())?;
    let kept = services
        .database
        .write_without_events(async |db| {
            attachments::keep(db, uploader, &[file.id], MAX_KEPT).await
        })
        .await?;
    if !kept {
        let message = format!(
            "You have {MAX_KEPT} uploaded files that are not attached to anything. Attach or \
             delete some of them first. Each is deleted {} days after its upload.",
            attachments::KEPT_RETENTION.num_days()
        );
        return Err(UserError::new("file", UserErrorCode::TooMany, message).into());
    }
    let expires_at = services.ambient.now() + attachments::KEPT_RETENTION;
    Ok(UploadedFile { id: file.id, name, content, expires_at })
}

/// Deletes a file of the caller that is not attached to anything.
///
/// # Errors
/// Returns a user error if there is no such file.
pub async fn delete(
    actor: &Actor,
    services: &Services,
    id: AttachmentId,
) -> Result<(), ServiceError> {
    let uploader = uploader(actor)?;
    let now = services.ambient.now();
    let mut connection = services.database.read().await?;
    let marked = attachments::discard(&mut connection, uploader, id, now).await?;
    drop(connection);
    if !marked {
        return Err(unknown("id").into());
    }
    upload::delete_soon(services, id).await;
    Ok(())
}

/// Appends uploaded files of the caller to those that were sent with an input. The result has an
/// error in place of each file that is unknown, and of the files that are too many or too large
/// together.
///
/// # Errors
/// Returns an error if the database failed.
pub async fn append(
    actor: &Actor,
    services: &Services,
    mut files: Vec<Upload>,
    ids: &[AttachmentId],
) -> Result<Vec<Upload>, ServiceError> {
    if ids.is_empty() {
        return Ok(files);
    }
    let limits = services.file_limits();
    if files.len() + ids.len() > limits.max_files {
        let message = format!("At most {} files can be attached at a time.", limits.max_files);
        return Ok(vec![rejected(UserError::new(FIELD, UserErrorCode::TooMany, message))]);
    }
    let mut connection = services.database.read().await?;
    let mut found = attachments::kept(&mut connection, uploader(actor)?, ids).await?;
    drop(connection);
    for (position, id) in ids.iter().enumerate() {
        let place = found.iter().position(|(found, ..)| found == id);
        let upload = if let Some(place) = place {
            let (id, name, content) = found.swap_remove(place);
            Upload { id, outcome: Ok((name, content)) }
        } else {
            let is_repeated = files.iter().any(|file| file.id == *id && file.outcome.is_ok());
            let error = if is_repeated { repeated() } else { unknown(FIELD) };
            rejected(UserError { position: Some(position), ..error })
        };
        files.push(upload);
    }
    let sizes = files.iter().filter_map(|file| Some(file.outcome.as_ref().ok()?.1.size));
    if sizes.sum::<u64>() > limits.max_total_bytes {
        return Ok(vec![rejected(upload::too_large_together(FIELD, limits.max_total_bytes))]);
    }
    Ok(files)
}

fn uploader(actor: &Actor) -> Result<AccountId, ServiceError> {
    authorise(actor, Action::CreateTicket, Resource::Desk)?;
    actor.account_id().ok_or(ServiceError::Unauthenticated)
}

fn rejected(error: UserError) -> Upload {
    Upload { id: AttachmentId(Uuid::nil()), outcome: Err(error) }
}

fn repeated() -> UserError {
    let message = "A file is named twice. Name each file once.";
    UserError::new(FIELD, UserErrorCode::Expired, message)
}

fn unknown(field: &'static str) -> UserError {
    let message = "A file is unknown, has expired or is already attached. Upload it again.";
    UserError::new(field, UserErrorCode::Expired, message)
}
