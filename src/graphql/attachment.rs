//! Attachments: files on tickets and comments, and how they come in.

use std::fmt::Write as _;

use async_graphql::{
    Context, Description, ID, InputValueError, InputValueResult, Object, Scalar, ScalarType, Value,
};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{context::ContextExt as _, error::Failure, id::GlobalId, loader::AttachmentsOf};
use crate::{
    domain::{attachment, ids::AttachmentId},
    service::{self, upload::Upload as Received},
};

/// A file on a ticket's description or on a comment.
#[derive(Description)]
pub struct Attachment(pub attachment::Attachment);

#[Object(use_type_description)]
impl Attachment {
    /// Its global id.
    pub async fn id(&self) -> ID {
        GlobalId::Attachment(self.0.id).into()
    }

    /// What its sender called it, without folders and control characters: for people.
    async fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// How many bytes it has. A file may have more than an `Int` holds.
    async fn size(&self) -> f64 {
        self.0.content.size as f64
    }

    /// What it looks like by its bytes: `image/png`. It is not what its sender said, and
    /// no promise that it is harmless.
    async fn content_type(&self) -> &str {
        &self.0.content.media_type
    }

    /// SHA-256 of its bytes, in hexadecimal digits.
    async fn sha256(&self) -> String {
        self.0.content.sha256.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// When it was uploaded.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Where it can be fetched for ten minutes, by you alone: without a header, as long as
    /// your session lasts and you may see it. A path, to be resolved against this API's
    /// origin, unless the operator has set where the server is reached from outside.
    async fn url(&self, ctx: &Context<'_>) -> Result<String, Failure> {
        Ok(service::attachment::link(ctx.actor()?, ctx.services()?, self.0.id)?)
    }
}

impl Attachment {
    /// Those of a ticket's description or of a comment.
    pub(super) async fn of(ctx: &Context<'_>, of: AttachmentsOf) -> Result<Vec<Self>, Failure> {
        let found = ctx.loaders()?.get(of).await?.unwrap_or_default();
        Ok(found.into_iter().map(Self).collect())
    }
}

/// A file that comes with the request.
pub struct Upload(AttachmentId);

/// A file that comes with the request: send `multipart/form-data` as the GraphQL multipart
/// request specification has it, with null in the variables where the file belongs.
#[Scalar(specified_by_url = "https://github.com/jaydenseric/graphql-multipart-request-spec")]
impl ScalarType for Upload {
    fn parse(value: Value) -> InputValueResult<Self> {
        let wrong = || {
            InputValueError::custom(
                "An Upload is a file: send multipart/form-data with null in its place.",
            )
        };
        let Value::String(text) = &value else { return Err(wrong()) };
        let id = text.strip_prefix(PREFIX).and_then(|id| Uuid::try_parse(id).ok());
        id.map(|id| Self(AttachmentId(id))).ok_or_else(wrong)
    }

    fn to_value(&self) -> Value {
        Value::Null
    }
}

const PREFIX: &str = "upload:";

/// What a transport puts into a variable in place of a file.
pub fn placeholder(AttachmentId(id): AttachmentId) -> Value {
    Value::String(format!("{PREFIX}{id}"))
}

/// The files that came with a request. The transport that took them puts them into the
/// request's data.
pub struct Uploads(pub Vec<Received>);

/// The files that an input names.
pub(super) fn uploads(ctx: &Context<'_>, named: &[Upload]) -> Result<Vec<Received>, Failure> {
    let came = ctx.data_opt::<Uploads>().map_or(&[][..], |Uploads(came)| came.as_slice());
    let find = |Upload(id): &Upload| {
        // Such a text in plain JSON names a file that did not come with this request.
        let found = came.iter().find(|upload| upload.id == *id).cloned();
        found.ok_or_else(|| {
            Failure::bad_request(
                "An Upload is a file: send multipart/form-data with null in its place.",
            )
        })
    };
    named.iter().map(find).collect()
}
