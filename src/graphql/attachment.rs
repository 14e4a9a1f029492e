//! Attachments: files on tickets and comments, and how they are uploaded.

use std::sync::Arc;

use async_graphql::{
    Context, Description, ID, InputValueError, InputValueResult, Object, Scalar, ScalarType, Value,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    context::ContextExt as _, error::Failure, executor::List, id::GlobalId, loader::AttachmentsOf,
    text::Text,
};
use crate::{
    domain::{attachment, hex::hex, ids::AttachmentId},
    service::{self, upload::Upload as Received},
};

/// A file attached to a ticket's description or to a comment. Visible to everyone who can
/// see what it is attached to.
#[derive(Description)]
pub struct Attachment(pub Arc<attachment::Attachment>);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl Attachment {
    /// An opaque identifier. Store it and send it back unchanged.
    pub async fn id(&self) -> ID {
        GlobalId::Attachment(self.0.id).into()
    }

    /// The file name as its sender gave it, without folders and control characters: 1 to 255
    /// characters. For display only: it need not be unique.
    async fn name(&self) -> Text<&str> {
        Text(self.0.name.as_str())
    }

    /// The size in bytes. A `Float`, because it can exceed the range of `Int`.
    async fn size(&self) -> f64 {
        self.0.content.size as f64
    }

    /// The media type, such as `image/png`, detected from the content and not taken from the
    /// sender. It does not mean that the file is safe to open.
    async fn content_type(&self) -> Text<&str> {
        Text(&self.0.content.media_type)
    }

    /// The SHA-256 digest of the content: 64 lower-case hexadecimal digits.
    async fn sha256(&self) -> String {
        hex(&self.0.content.sha256)
    }

    /// When it was uploaded.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// A download link, valid for 10 minutes while your session lasts and you can see the
    /// file. It needs no `Authorization` header and acts on your behalf, so do not share it. It
    /// is an absolute URL if the operator has configured the server's public address, and
    /// otherwise a path on this API's origin.
    async fn url(&self, ctx: &Context<'_>) -> Result<String, Failure> {
        Ok(service::attachment::link(ctx.actor()?, ctx.services()?, self.0.id)?)
    }
}

impl Attachment {
    /// Loads the attachments of a ticket's description or of a comment.
    pub(super) async fn of(ctx: &Context<'_>, of: AttachmentsOf) -> Result<List<Self>, Failure> {
        let found = ctx.loaders()?.get(of).await?.unwrap_or_default();
        Ok(found.iter().cloned().map(Self).collect())
    }
}

/// The limits on files, as the operator has configured them.
#[derive(Description)]
pub struct FileLimits(attachment::Limits);

#[Object(use_type_description, crate = "crate::graphql::executor")]
impl FileLimits {
    /// The largest size of a file, in bytes. A `Float`, because it can exceed the range of `Int`.
    async fn max_file_bytes(&self) -> f64 {
        self.0.max_file_bytes as f64
    }

    /// The largest number of files in a request, and of a ticket's description or a comment.
    async fn max_files(&self) -> i32 {
        i32::try_from(self.0.max_files).unwrap_or(i32::MAX)
    }

    /// The largest size of all files in a request, in bytes. A `Float`, because it can exceed the range
    /// of `Int`.
    async fn max_total_bytes(&self) -> f64 {
        self.0.max_total_bytes as f64
    }
}

#[derive(Default)]
pub struct AttachmentQuery;

#[Object]
impl AttachmentQuery {
    /// The limits on files. Larger ones are refused with `TOO_LARGE`, more of them with `TOO_MANY`: check
    /// before you send. Requires no session.
    async fn file_limits(&self, ctx: &Context<'_>) -> Result<FileLimits, Failure> {
        Ok(FileLimits(ctx.services()?.file_limits()))
    }
}

/// A file sent with the request, by the id that the transport gave it.
pub struct Upload(AttachmentId);

/// A file sent with the request. Send `multipart/form-data` as the GraphQL multipart request
/// specification defines, with null in the variables where the file belongs. Mutations only.
#[Scalar(specified_by_url = "https://github.com/jaydenseric/graphql-multipart-request-spec")]
impl ScalarType for Upload {
    fn parse(value: Value) -> InputValueResult<Self> {
        let not_a_file = || InputValueError::custom(NOT_A_FILE);
        let Value::String(text) = &value else { return Err(not_a_file()) };
        let id = text.strip_prefix(PREFIX).and_then(|id| Uuid::try_parse(id).ok());
        id.map(|id| Self(AttachmentId(id))).ok_or_else(not_a_file)
    }

    fn to_value(&self) -> Value {
        Value::Null
    }
}

const PREFIX: &str = "upload:";
/// Why a value is not an `Upload`.
pub(super) const NOT_A_FILE: &str =
    "An `Upload` must be a file: send `multipart/form-data` with null in its place.";

/// Returns the value that a transport puts into a variable in place of a file.
pub fn placeholder(AttachmentId(id): AttachmentId) -> Value {
    Value::String(format!("{PREFIX}{id}"))
}

/// The files of a request. The transport that received them puts them into the request's
/// data.
pub struct Uploads(pub Vec<Received>);

/// Returns the received files that an input refers to.
pub(super) fn uploads(ctx: &Context<'_>, referenced: &[Upload]) -> Result<Vec<Received>, Failure> {
    referenced.iter().map(|referenced| upload(ctx, referenced)).collect()
}

/// Returns the received file that an input refers to.
pub(super) fn upload(ctx: &Context<'_>, Upload(id): &Upload) -> Result<Received, Failure> {
    let received = ctx.data_opt::<Uploads>().map_or(&[][..], |Uploads(files)| files.as_slice());
    // A placeholder written by hand refers to a file that is not part of this request.
    let found = received.iter().find(|upload| upload.id == *id).cloned();
    found.ok_or_else(|| Failure::bad_request(NOT_A_FILE))
}
