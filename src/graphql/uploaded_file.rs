//! Files that are uploaded in requests of their own.

use async_graphql::{Context, Description, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    attachment::{self, Upload},
    context::ContextExt as _,
    error::{Failure, Outcome, UserError},
    id::GlobalId,
    text::Text,
};
use crate::{
    domain::ids::AttachmentId,
    service::{self, upload::Upload as Received, uploaded_file},
};

/// The input of `uploadFile`.
#[derive(InputObject)]
pub struct UploadFileInput {
    /// The file (see `Upload`).
    file: Upload,
}

/// A file that is not attached to anything yet. Only its uploader can attach it.
#[derive(Description)]
pub struct UploadedFile(uploaded_file::UploadedFile);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl UploadedFile {
    /// An opaque identifier, for `uploadedFileIds`. The attachment has the same one.
    async fn id(&self) -> ID {
        GlobalId::Attachment(self.0.id).into()
    }

    /// The file name, as `Attachment.name` shows it.
    async fn name(&self) -> Text<&str> {
        Text(self.0.name.as_str())
    }

    /// The size in bytes. A `Float`, because it can exceed the range of `Int`.
    async fn size(&self) -> f64 {
        self.0.content.size as f64
    }

    /// The media type, such as `image/png`, detected from the content and not taken from the
    /// sender.
    async fn content_type(&self) -> Text<&str> {
        Text(&self.0.content.media_type)
    }

    /// When the file is deleted if it is not attached until then: 7 days after the upload.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.0.expires_at
    }
}

/// The payload of `uploadFile`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct UploadFilePayload {
    /// The uploaded file. Null on failure.
    file: Option<UploadedFile>,
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

/// The input of `deleteUploadedFile`.
#[derive(InputObject)]
pub struct DeleteUploadedFileInput {
    /// The id of the file.
    id: ID,
}

/// The payload of `deleteUploadedFile`.
#[derive(SimpleObject)]
#[graphql(crate = "crate::graphql::executor")]
pub struct DeleteUploadedFilePayload {
    /// What the caller can correct; empty on success.
    user_errors: Vec<UserError>,
}

#[derive(Default)]
pub struct UploadedFileMutation;

#[Object]
impl UploadedFileMutation {
    /// Uploads a file for a ticket or comment that is still being written: pass its id to
    /// `createTicket` or `addComment`. If the request fails, send the file again.
    ///
    /// User errors as for attachments: `TOO_LARGE`, `REQUIRED` for an empty file, `NOT_AVAILABLE`;
    /// `TOO_MANY` if you keep 100 files that are not attached.
    async fn upload_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file.")] input: UploadFileInput,
    ) -> Result<UploadFilePayload, Failure> {
        ctx.identity()?;
        let file = attachment::upload(ctx, &input.file)?;
        let kept = uploaded_file::keep(ctx.actor()?, ctx.services()?, file).await;
        Ok(match Outcome::of(kept)? {
            Outcome::Done(file) => {
                UploadFilePayload { file: Some(UploadedFile(file)), user_errors: vec![] }
            }
            Outcome::Rejected { errors, .. } => {
                UploadFilePayload { file: None, user_errors: errors }
            }
        })
    }

    /// Deletes a file from `uploadFile` that is not attached to anything. The user error `EXPIRED`
    /// means that you have no such file.
    async fn delete_uploaded_file(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file.")] input: DeleteUploadedFileInput,
    ) -> Result<DeleteUploadedFilePayload, Failure> {
        let id = file_id(&input.id);
        let deleted = uploaded_file::delete(ctx.actor()?, ctx.services()?, id).await;
        Ok(match Outcome::of(deleted)? {
            Outcome::Done(()) => DeleteUploadedFilePayload { user_errors: vec![] },
            Outcome::Rejected { errors, .. } => DeleteUploadedFilePayload { user_errors: errors },
        })
    }
}

/// Parses the id of a file. A malformed id is not found, like the nil UUID.
fn file_id(id: &ID) -> AttachmentId {
    GlobalId::attachment(id).unwrap_or(AttachmentId(Uuid::nil()))
}

/// Returns the files of an input: those that were sent with it, and those that were uploaded before.
pub(super) async fn files(
    ctx: &Context<'_>,
    sent: &[Upload],
    uploaded: &[ID],
) -> Result<Vec<Received>, Failure> {
    let sent = attachment::uploads(ctx, sent)?;
    let ids = uploaded.iter().map(file_id).collect::<Vec<_>>();
    Ok(service::uploaded_file::append(ctx.actor()?, ctx.services()?, sent, &ids).await?)
}
