//! Mutations with files, as the GraphQL multipart request specification has them: the part
//! `operations`, then `map`, then the files, each of which goes to the storage as it arrives.
//!
//! Four kinds of failures have a name each:
//!
//! - A request is *refused* ([`Refusal`]) if it is malformed or not allowed. It is not executed.
//! - A document is *invalid*, as in a request without files. It is not executed either.
//! - A file is *rejected* for a reason that the person can fix, such as its size. The mutation
//!   is executed, changes nothing, and returns the reason in `userErrors`.
//! - A body is *broken* if it cannot be read as multipart. Its request is refused.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Request, ServerError, Value, Variables, parser::types::OperationType};
use axum::{
    body::BodyDataStream,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use multer::Field;

use super::{
    api::Api,
    authentication::Credentials,
    body::{self, MAX_BODY, TooSlow, cause},
    file_name, guard,
    parts::{MAX_BEFORE_CONTENT, NoContent, Parts},
    refusal::Refusal,
    sender::Sender,
};
use crate::{
    domain::{actor::Actor, ids::AttachmentId, session::ClientOrigin},
    graphql::{
        FORBIDDEN_MESSAGE, RETRY_AFTER_SECONDS, SECOND_FACTOR_REQUIRED_MESSAGE,
        UNAUTHENTICATED_MESSAGE, Uploads, code, input_types, is_upload, placeholder,
        requested_operation,
    },
    service::{
        ServiceError, UserError,
        upload::{HeldFiles, ReceiveError, Upload, UploadReceiver},
    },
};

/// The largest `map`, in bytes.
const MAX_MAP: usize = 64 * 1024;
/// The longest file name that is accepted, in bytes. Names are shortened when they are stored.
const MAX_NAME: usize = 16 * 1024;
/// The longest `Content-Disposition`, in bytes: such a name with every byte encoded.
const MAX_DISPOSITION: usize = 3 * MAX_NAME + 1024;
/// Headers that a page of another origin cannot set unless CORS allows it. Without one of
/// them, such a page could send a multipart body without permission.
const PREFLIGHT_HEADERS: [&str; 5] = [
    "authorization",
    "apollo-require-preflight",
    "x-apollo-operation-name",
    "graphql-preflight",
    "ticketwire-client",
];

/// A mutation with its files.
pub struct MultipartRequest {
    /// Who sends it.
    pub actor: Actor,
    /// The request, with the files in its data.
    pub request: Request,
    /// The stored files, which are released after the request; `None` if there are none. The
    /// request has them too, in case its sender hangs up while it is executed.
    pub held: Option<Arc<HeldFiles>>,
    /// Whether the body was read to its end. It is not if a file was rejected.
    pub read_to_end: bool,
}

/// The places of files in the variables, by the names of their parts.
type FileMap = HashMap<String, Vec<String>>;
/// The ids that uploaded files will have, by the names of their parts.
type ExpectedFiles = HashMap<String, AttachmentId>;

/// The received files, and whether all of them were read.
struct ReceivedFiles {
    uploads: Vec<Upload>,
    held: Option<HeldFiles>,
    read_to_end: bool,
}

/// Whether a request's body is multipart.
pub fn is_multipart(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// Why a multipart request is not executed.
pub enum UploadError {
    /// It is refused.
    Refused(Refusal),
    /// Its document is not valid.
    Invalid(ServerError),
}

impl From<Refusal> for UploadError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Reads a multipart request and stores its files.
///
/// # Errors
/// The request cannot be executed.
pub async fn read(
    api: &Api,
    headers: &HeaderMap,
    (credentials, origin): (&Credentials, &ClientOrigin),
    chunks: &mut BodyDataStream,
) -> Result<MultipartRequest, UploadError> {
    let sender = Sender::new(&api.budgets, &api.services, credentials, origin);
    let beginning = sender.begin_multipart().await?;
    let mut parts = Parts::new(chunks, boundary(headers)?);
    let mut request = parse_operations(&text(&mut parts, "operations", MAX_BODY).await?)?;
    let map = parse_map(&text(&mut parts, "map", MAX_MAP).await?)?;
    let expected = place_ids(api, &mut request.variables, &map)?;
    require_mutation(api, &mut request)?;
    check_places(&mut request, &map)?;
    let actor = credentials.actor(&api.services, origin).await.map_err(refusal)?;
    let mut reception = UploadReceiver::new(&actor, &api.services).map_err(refusal)?;
    let _slots = api.budgets.upload(&actor, origin).map_err(Refusal::from)?;
    drop(beginning);
    let ReceivedFiles { uploads, held, read_to_end } =
        reserve_and_receive(&mut reception, &mut parts, expected).await?;
    // Receiving the files may have taken minutes, in which the session has ended.
    let actor = credentials.actor(&api.services, origin).await.map_err(refusal)?;
    UploadReceiver::new(&actor, &api.services).map_err(refusal)?;
    let (held, mut request) = (held.map(Arc::new), request.data(Uploads(uploads)));
    if let Some(held) = &held {
        request = request.data(Arc::clone(held));
    }
    Ok(MultipartRequest { actor, request, held, read_to_end })
}

/// Counts the files towards the account's limit before any of them is read, then receives them.
async fn reserve_and_receive(
    reception: &mut UploadReceiver,
    parts: &mut Parts<'_>,
    expected: ExpectedFiles,
) -> Result<ReceivedFiles, Refusal> {
    let ids = expected.values().copied().collect::<Vec<_>>();
    let held = match reception.reserve(&ids).await.map_err(refusal)? {
        Ok(held) => held,
        Err(error) => {
            let uploads = reject(expected, &error);
            return Ok(ReceivedFiles { uploads, held: None, read_to_end: false });
        }
    };
    match receive_files(reception, parts, expected).await {
        Ok((uploads, read_to_end)) => Ok(ReceivedFiles { uploads, held: Some(held), read_to_end }),
        Err(refused) => {
            held.release().await;
            Err(refused)
        }
    }
}

/// Checks the headers and returns the parts' boundary.
fn boundary(headers: &HeaderMap) -> Result<String, Refusal> {
    if !PREFLIGHT_HEADERS.iter().any(|name| headers.contains_key(*name)) {
        return Err(Refusal::bad_request(
            "A multipart/form-data request must have the header Authorization, or \
             apollo-require-preflight with any value: web pages of other origins cannot set these \
             headers without permission.",
        ));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    multer::parse_boundary(content_type.unwrap_or_default())
        .map_err(|_| Refusal::bad_request("The Content-Type multipart/form-data needs a boundary."))
}

fn parse_operations(text: &str) -> Result<Request, Refusal> {
    if text.trim_start().starts_with('[') {
        return Err(Refusal::batched());
    }
    body::check_values("The part `operations`", text.as_bytes()).map_err(Refusal::bad_request)?;
    let problem = |_| body::problem("The part `operations`", text.as_bytes());
    body::parse_request(text.as_bytes()).map_err(|error| Refusal::bad_request(problem(error)))
}

fn parse_map(text: &str) -> Result<FileMap, Refusal> {
    serde_json::from_str(text).map_err(|_| {
        Refusal::bad_request(
            "The part `map` must be a JSON object with the name of each file's part and a list of \
             one path, for example {\"0\": [\"variables.input.attachments.0\"]}.",
        )
    })
}

/// Checks the document before any file is stored.
fn require_mutation(api: &Api, request: &mut Request) -> Result<(), UploadError> {
    let validated = guard::validate_document(request, &api.documents, api.limits.aliases);
    match validated.map_err(UploadError::Invalid)? {
        Some(OperationType::Mutation) => Ok(()),
        Some(_) => {
            let message = "Files can be sent with mutations only: send other operations as JSON.";
            Err(Refusal::bad_request(message).into())
        }
        None => {
            let message = "`operationName` must be the name of one of the document's operations.";
            Err(UploadError::Invalid(ServerError::new(message, None)))
        }
    }
}

/// Reads the text of the next part, which must have this name.
async fn text(parts: &mut Parts<'_>, name: &'static str, max: usize) -> Result<String, Refusal> {
    let missing = || {
        Refusal::bad_request(format!(
            "The part `{name}` is missing: send `operations`, then `map`, then the files."
        ))
    };
    let mut field: Field<'_> = parts.next().await.map_err(broken)?.ok_or_else(missing)?;
    if field.name() != Some(name) {
        return Err(missing());
    }
    let media = field.content_type().map(|media| media.essence_str().to_owned());
    if media.is_some_and(|media| !["application/json", "text/plain"].contains(&media.as_str())) {
        return Err(Refusal::bad_request(format!("The part `{name}` must be JSON.")));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > max {
            let message = format!("The part `{name}` is larger than {max} bytes.");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes)
        .map_err(|_| Refusal::bad_request(format!("The part `{name}` must be UTF-8.")))
}

/// Replaces the null in each file's place in the variables by a new id; returns the ids.
fn place_ids(
    api: &Api,
    variables: &mut Variables,
    map: &FileMap,
) -> Result<ExpectedFiles, Refusal> {
    if map.is_empty() {
        return Err(Refusal::bad_request(
            "`map` names no files: send a request without files as JSON.",
        ));
    }
    let mut ids = HashMap::new();
    for (part, paths) in map {
        let [path] = paths.as_slice() else {
            return Err(Refusal::bad_request("Each file in `map` must have exactly one path."));
        };
        let target = find(variables, path).filter(|value| **value == Value::Null);
        let target = target.ok_or_else(|| {
            Refusal::bad_request(
                "A path in `map` does not lead to a null in the variables, or another file is \
                 already there. Paths look like variables.input.attachments.0.",
            )
        })?;
        let id = AttachmentId(api.ambient.uuid());
        *target = placeholder(id);
        ids.insert(part.clone(), id);
    }
    Ok(ids)
}

/// Checks that each file's place is of the type `Upload`. Elsewhere its id would become a text.
fn check_places(request: &mut Request, map: &FileMap) -> Result<(), Refusal> {
    let types = input_types().map_err(|error| Refusal::internal(&error.to_string()))?;
    let name = request.operation_name.clone();
    let document = request.parsed_query().map_err(|error| Refusal::bad_request(error.message))?;
    let operation = requested_operation(document, name.as_deref());
    let declared = operation.map_or(&[][..], |operation| &operation.variable_definitions);
    for path in map.values().flatten() {
        let mut steps = path.split('.').skip(1);
        let variable = steps.next().unwrap_or_default();
        let definition = declared.iter().find(|definition| definition.node.name.node == variable);
        let Some(definition) = definition else {
            return Err(Refusal::bad_request(format!(
                "`map` puts a file into the variable `{variable}`, which the operation does not \
                 declare."
            )));
        };
        let place = types.at(&definition.node.var_type.node, steps);
        if !place.is_some_and(is_upload) {
            let ty =
                place.map_or_else(|| "that does not exist".into(), |ty| format!("of type `{ty}`"));
            return Err(Refusal::bad_request(format!(
                "`map` puts a file into `{path}`, a place {ty}. Files belong into places of type \
                 `Upload`."
            )));
        }
    }
    Ok(())
}

fn find<'v>(variables: &'v mut Variables, path: &str) -> Option<&'v mut Value> {
    let mut steps = path.strip_prefix("variables.")?.split('.');
    let first = variables.get_mut(steps.next()?)?;
    steps.try_fold(first, |value, step| match value {
        Value::List(list) => list.get_mut(step.parse::<usize>().ok()?),
        Value::Object(object) => object.get_mut(step),
        _ => None,
    })
}

/// Receives files until the body ends or one of them is rejected. Returns whether the body was read
/// to its end.
async fn receive_files(
    reception: &mut UploadReceiver,
    parts: &mut Parts<'_>,
    mut expected: ExpectedFiles,
) -> Result<(Vec<Upload>, bool), Refusal> {
    let mut uploads = Vec::new();
    while let Some(field) = parts.next().await.map_err(broken)? {
        let upload = receive_file(reception, field, &mut expected).await?;
        let rejected = upload.outcome.as_ref().err().cloned();
        uploads.push(upload);
        if let Some(error) = rejected {
            // The mutation fails because of this file: the others are not needed.
            uploads.extend(reject(expected, &error));
            return Ok((uploads, false));
        }
    }
    if !expected.is_empty() {
        return Err(Refusal::bad_request("A file that `map` names is missing from the body."));
    }
    Ok((uploads, true))
}

async fn receive_file(
    reception: &mut UploadReceiver,
    field: Field<'_>,
    expected: &mut ExpectedFiles,
) -> Result<Upload, Refusal> {
    let id = expected.remove(field.name().unwrap_or_default()).ok_or_else(|| {
        Refusal::bad_request("A part is not named in `map` or is sent twice: send each file once.")
    })?;
    let disposition = field.headers().get(header::CONTENT_DISPOSITION);
    let disposition = disposition.map(HeaderValue::as_bytes).unwrap_or_default();
    if disposition.len() > MAX_DISPOSITION {
        return Err(Refusal::bad_request(format!(
            "The Content-Disposition of a file is longer than {MAX_DISPOSITION} bytes."
        )));
    }
    let file_name = file_name::from_disposition(disposition);
    if file_name.len() > MAX_NAME {
        return Err(Refusal::bad_request(format!("A file name is longer than {MAX_NAME} bytes.")));
    }
    reception.receive(id, &file_name, field).await.map_err(|error| match error {
        ReceiveError::Sender(error) => broken(error),
        ReceiveError::Service(error) => refusal(error),
    })
}

/// Rejects files unread, for the reason that another one or their number is rejected for.
fn reject(files: ExpectedFiles, error: &UserError) -> Vec<Upload> {
    files.into_values().map(|id| Upload { id, outcome: Err(error.clone()) }).collect()
}

fn broken(error: multer::Error) -> Refusal {
    if let Some(slow) = cause::<TooSlow>(&error) {
        return slow.into();
    }
    if cause::<NoContent>(&error).is_some() {
        return Refusal::bad_request(format!(
            "The body has more than {MAX_BEFORE_CONTENT} bytes before the content of a part: leave out \
             headers that are not needed, and what precedes the first part."
        ));
    }
    Refusal::bad_request("The body is malformed or incomplete.")
}

/// Refuses a request whose sender may not upload, or whose files the server failed to store.
fn refusal(error: ServiceError) -> Refusal {
    match error {
        ServiceError::Unauthenticated => Refusal {
            status: StatusCode::UNAUTHORIZED,
            code: code::UNAUTHENTICATED,
            message: UNAUTHENTICATED_MESSAGE.into(),
            retry_after_seconds: None,
        },
        ServiceError::Forbidden | ServiceError::NotFound => Refusal {
            status: StatusCode::FORBIDDEN,
            code: code::FORBIDDEN,
            message: FORBIDDEN_MESSAGE.into(),
            retry_after_seconds: None,
        },
        ServiceError::SecondFactorMissing => Refusal {
            status: StatusCode::FORBIDDEN,
            code: code::SECOND_FACTOR_REQUIRED,
            message: SECOND_FACTOR_REQUIRED_MESSAGE.into(),
            retry_after_seconds: None,
        },
        error if error.is_full() => {
            tracing::error!(%error, "an upload was refused");
            Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: code::UNAVAILABLE,
                message: "The server has no room for more files at the moment, and nothing was \
                          saved. Send the request without files, or try again in 5 minutes."
                    .into(),
                retry_after_seconds: Some(300),
            }
        }
        ServiceError::Storage(error) => {
            tracing::error!(%error, "storing an uploaded file failed");
            Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: code::UNAVAILABLE,
                message: "The server cannot store files at the moment, and nothing was saved. Try \
                          again in 5 seconds, or send the request without files."
                    .into(),
                retry_after_seconds: Some(RETRY_AFTER_SECONDS),
            }
        }
        error => Refusal::failed(&error),
    }
}
