//! Requests with files (the GraphQL multipart request specification): `operations`, then
//! `map`, then the files, each passed on to the storage as it comes.

use std::collections::HashMap;

use async_graphql::{Request, Value, Variables, parser::types::OperationType};
use axum::{
    body::BodyDataStream,
    http::{HeaderMap, StatusCode, header},
};
use multer::{Field, Multipart};

use super::{Api, MAX_BODY, authentication, graphql::Refusal, guard};
use crate::{
    domain::{actor::Actor, ids::AttachmentId},
    graphql::{Uploads, code, placeholder},
    service::{
        ServiceError,
        upload::{ReceiveError, Upload, UploadReceiver},
    },
};

/// The largest `map`, in bytes.
const MAX_MAP: usize = 64 * 1024;
/// The longest name of a file, in bytes: it is shortened, but not from anything.
const MAX_NAME: usize = 16 * 1024;
/// Headers that a page of another origin can't send without being asked (CORS).
const DELIBERATE: [&str; 4] =
    ["authorization", "apollo-require-preflight", "x-apollo-operation-name", "graphql-preflight"];

/// A request with its files.
pub struct Read {
    /// Who sends it.
    pub actor: Actor,
    /// The request, with the files in its data.
    pub request: Request,
    /// Whether its body was read to the end.
    pub whole: bool,
}

/// Whether a request's body has parts.
pub fn is_multipart(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("multipart/form-data")
}

/// Reads a request, and keeps its files.
///
/// # Errors
/// It is none that could be executed.
pub async fn read(
    api: &Api,
    headers: &HeaderMap,
    chunks: &mut BodyDataStream,
) -> Result<Read, Refusal> {
    if !DELIBERATE.iter().any(|name| headers.contains_key(*name)) {
        return Err(Refusal::bad(
            "multipart/form-data needs a header that no foreign page can send by itself: \
             Authorization, or apollo-require-preflight with any value.",
        ));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(content_type.unwrap_or_default())
        .map_err(|_| Refusal::bad("The Content-Type multipart/form-data needs a boundary."))?;
    let mut parts = Multipart::new(chunks, boundary);

    let operations = text(&mut parts, "operations", MAX_BODY).await?;
    if operations.trim_start().starts_with('[') {
        return Err(Refusal::bad("Batches are not taken: send one request at a time."));
    }
    let mut request = serde_json::from_str::<Option<Request>>(&operations)
        .ok()
        .flatten()
        .filter(|request| !request.query.is_empty())
        .ok_or_else(|| {
            Refusal::bad(
                "The part `operations` has to be a JSON object with a string `query`, and maybe \
                 `variables` and `operationName`.",
            )
        })?;
    let map = text(&mut parts, "map", MAX_MAP).await?;
    let map = serde_json::from_str::<HashMap<String, Vec<String>>>(&map).map_err(|_| {
        Refusal::bad(
            "The part `map` has to be a JSON object of the files' part names, each with a list of \
             one path, like {\"0\": [\"variables.input.attachments.0\"]}.",
        )
    })?;
    let mut expected = place(api, &mut request.variables, map)?;

    let operation =
        guard::validate_document(&mut request).map_err(|error| Refusal::bad(error.message))?;
    if operation != Some(OperationType::Mutation) {
        return Err(Refusal::bad("Files come with mutations only; send anything else as JSON."));
    }
    let actor = authentication::actor(headers, &api.services).await.map_err(refuse)?;
    let mut reception = UploadReceiver::new(&actor, &api.services).map_err(refuse)?;
    if let Some(error) = reception.check(expected.len()).await.map_err(refuse)? {
        let refused = |id| Upload { id, outcome: Err(error.clone()) };
        let uploads = expected.into_values().map(refused).collect();
        return Ok(Read { actor, request: request.data(Uploads(uploads)), whole: false });
    }
    let mut uploads = Vec::new();
    while let Some(field) = parts.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let id = expected.remove(&name).ok_or_else(|| {
            Refusal::bad("A part is not named in `map`, or comes twice: send each file once.")
        })?;
        let file_name = field.file_name().unwrap_or_default().to_owned();
        if file_name.len() > MAX_NAME {
            return Err(Refusal::bad(format!("A file's name is longer than {MAX_NAME} bytes.")));
        }
        let upload = match reception.receive(id, &file_name, field).await {
            Ok(upload) => upload,
            Err(ReceiveError::Sender(error)) => return Err(broken(error)),
            Err(ReceiveError::Service(error)) => return Err(refuse(error)),
        };
        let refused = upload.outcome.as_ref().err().cloned();
        uploads.push(upload);
        if let Some(error) = refused {
            // Nothing comes of the others either.
            let others = expected.into_values();
            uploads.extend(others.map(|id| Upload { id, outcome: Err(error.clone()) }));
            return Ok(Read { actor, request: request.data(Uploads(uploads)), whole: false });
        }
    }
    if !expected.is_empty() {
        return Err(Refusal::bad("A file that `map` names is missing among the parts."));
    }
    Ok(Read { actor, request: request.data(Uploads(uploads)), whole: true })
}

/// The text of the next part, which has to have this name.
async fn text(
    parts: &mut Multipart<'_>,
    name: &'static str,
    max: usize,
) -> Result<String, Refusal> {
    let order = || {
        Refusal::bad(format!(
            "The part `{name}` is missing: the parts are `operations`, `map`, and then the files."
        ))
    };
    let mut field: Field<'_> = parts.next_field().await.map_err(broken)?.ok_or_else(order)?;
    if field.name() != Some(name) {
        return Err(order());
    }
    let media = field.content_type().map(|media| media.essence_str().to_owned());
    if media.is_some_and(|media| !["application/json", "text/plain"].contains(&media.as_str())) {
        return Err(Refusal::bad(format!("The part `{name}` has to be JSON.")));
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
        .map_err(|_| Refusal::bad(format!("The part `{name}` has to be UTF-8.")))
}

/// Puts an id in the place of each file; gives the ids by the names of the parts.
fn place(
    api: &Api,
    variables: &mut Variables,
    map: HashMap<String, Vec<String>>,
) -> Result<HashMap<String, AttachmentId>, Refusal> {
    if map.is_empty() {
        return Err(Refusal::bad("`map` names no files; send a request without files as JSON."));
    }
    let mut ids = HashMap::new();
    for (part, paths) in map {
        let [path] = paths.as_slice() else {
            return Err(Refusal::bad("In `map` each file has exactly one path."));
        };
        let target = find(variables, path).filter(|value| **value == Value::Null);
        let target = target.ok_or_else(|| {
            Refusal::bad(
                "A path in `map` leads to no null in the variables; it has to be like \
                 variables.input.attachments.0.",
            )
        })?;
        let id = AttachmentId(api.ambient.uuid());
        *target = placeholder(id);
        ids.insert(part, id);
    }
    Ok(ids)
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

fn broken(_: multer::Error) -> Refusal {
    Refusal::bad(
        "The body is no well-formed multipart/form-data, ended before its time, or did not go on.",
    )
}

fn refuse(error: ServiceError) -> Refusal {
    match error {
        ServiceError::Unauthenticated => Refusal {
            status: StatusCode::UNAUTHORIZED,
            code: code::UNAUTHENTICATED,
            message: "Sign in first: files are taken with `Authorization: Bearer …` only.".into(),
        },
        ServiceError::Forbidden | ServiceError::NotFound => Refusal {
            status: StatusCode::FORBIDDEN,
            code: code::FORBIDDEN,
            message: "Your account may not do this.".into(),
        },
        ServiceError::SecondFactorMissing => Refusal {
            status: StatusCode::FORBIDDEN,
            code: code::SECOND_FACTOR_REQUIRED,
            message: "Your account needs a second factor: configure one first, with \
                      `beginSecondFactor` and `confirmSecondFactor`."
                .into(),
        },
        ServiceError::Storage(error) => {
            tracing::error!(%error, "a file could not be kept");
            Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: code::INTERNAL,
                message: "The server can't keep files just now, and nothing was saved. Send it \
                          without them or try again later; if it stays so, tell its operator \
                          the request id."
                    .into(),
            }
        }
        error => Refusal::internal(&error.to_string()),
    }
}
