//! GraphQL over HTTP (the GraphQL-over-HTTP specification): POST with JSON, and
//! GET for queries. Answered by JSON, or by server-sent events where they are asked for.

use std::{any::Any, time::Duration};

use async_graphql::{
    ParseRequestError, Request as GraphqlRequest, Response as GraphqlResponse, ServerError,
    parser::types::OperationType,
};
use async_graphql_axum::GraphQLRequest;
use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{FromRequest as _, FromRequestParts as _, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time;
use tower_http::timeout::TimeoutBody;

use super::{
    Api, MAX_BODY, authentication, guard, negotiation,
    negotiation::MediaType,
    observe::RequestId,
    response::{Encoded, complete, is_request_error},
    sse, upload,
};
use crate::graphql::{RequestContext, ResumeAt, code};

/// A caller that sends too much is heard out up to here, so that it reads our
/// answer instead of a broken connection.
const MAX_DISCARDED: usize = 64 * MAX_BODY;
const DISCARD_FOR: Duration = Duration::from_secs(5);
/// A body of which nothing comes for so long has ended before its time.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// GraphQL by POST, and queries by GET.
pub async fn endpoint(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = Body::new(TimeoutBody::new(STALLED_AFTER, body));
    let id = parts.extensions.get::<RequestId>().copied();
    let media = MediaType::accepted(&parts.headers);
    let json = media.filter(|media| *media != MediaType::EventStream).unwrap_or(MediaType::Json);
    match answer(&api, parts, body, media, id).await {
        Ok(Answered::Once(response)) => Answer::of(response, json).into_response(json, id),
        Ok(Answered::Streamed(response)) => response,
        Err(refusal) => Answer::from(refusal).into_response(json, id),
    }
}

/// What a request is answered with.
enum Answered {
    Once(GraphqlResponse),
    Streamed(Response),
}

async fn answer(
    api: &Api,
    parts: Parts,
    body: Body,
    media: Option<MediaType>,
    id: Option<RequestId>,
) -> Result<Answered, Refusal> {
    if !matches!(parts.method, Method::GET | Method::POST) {
        return Err(Refusal::method("This endpoint takes POST, and GET for queries."));
    }
    if media.is_none() {
        return Err(Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            "The answer can only be application/graphql-response+json, application/json or text/event-stream; accept one of these.",
        ));
    }
    if parts.method == Method::POST && upload::is_multipart(&parts.headers) {
        return from_multipart(api, parts, body, media, id).await;
    }
    let (method, headers) = (parts.method.clone(), parts.headers.clone());
    let origin = authentication::origin(&parts, api.trusted_proxies);
    let mut request = match method {
        Method::GET => from_query(parts).await?,
        _ => from_body(parts, body).await?,
    };
    let validated = guard::validate_document(&mut request);
    let subscribes = matches!(validated, Ok(Some(OperationType::Subscription)));
    let streams =
        media == Some(MediaType::EventStream) || subscribes && MediaType::takes_events(&headers);
    let operation = match validated {
        Ok(operation) => operation,
        Err(error) if streams => return Ok(Answered::Streamed(sse::refuse(vec![error], id))),
        Err(error) => return Ok(Answered::Once(GraphqlResponse::from_errors(vec![error]))),
    };
    let by_get = |ty| ty == OperationType::Query || (ty == OperationType::Subscription && streams);
    if method == Method::GET && !operation.is_none_or(by_get) {
        return Err(Refusal::method("GET takes queries only; send a mutation by POST."));
    }
    if subscribes && !streams {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "Subscriptions run over a websocket (graphql-transport-ws) at this same path, or as \
             server-sent events: accept text/event-stream.",
        ));
    }
    let actor = match authentication::actor(&headers, &api.services).await {
        Ok(actor) => actor,
        Err(error) => return Err(Refusal::internal(&error.to_string())),
    };
    if streams {
        if let Some(last) = headers.get("last-event-id").filter(|value| !value.is_empty()) {
            request = request.data(ResumeAt(String::from_utf8_lossy(last.as_bytes()).into()));
        }
        let token = authentication::token(&headers).map(str::to_owned);
        let caller = sse::Caller { actor, origin, token, id };
        let streamed = sse::answer(api.clone(), caller, request, operation).await;
        return Ok(Answered::Streamed(streamed));
    }
    let request = request.data(RequestContext::new(actor, origin, &api.services, &api.log));
    Ok(Answered::Once(api.schema.execute(request).await))
}

/// A mutation with files. They are kept before it is executed, and tied to what it makes.
async fn from_multipart(
    api: &Api,
    parts: Parts,
    body: Body,
    media: Option<MediaType>,
    id: Option<RequestId>,
) -> Result<Answered, Refusal> {
    let origin = authentication::origin(&parts, api.trusted_proxies);
    let mut chunks = body.into_data_stream();
    let read = upload::read(api, &parts.headers, &mut chunks).await;
    if !matches!(read, Ok(upload::Read { whole: true, .. })) {
        discard(&mut chunks, 0).await;
    }
    let upload::Read { actor, request, .. } = read?;
    if media == Some(MediaType::EventStream) {
        let token = authentication::token(&parts.headers).map(str::to_owned);
        let caller = sse::Caller { actor, origin, token, id };
        let operation = Some(OperationType::Mutation);
        return Ok(Answered::Streamed(sse::answer(api.clone(), caller, request, operation).await));
    }
    let request = request.data(RequestContext::new(actor, origin, &api.services, &api.log));
    Ok(Answered::Once(api.schema.execute(request).await))
}

/// The parameters of a GET.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    query: String,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

async fn from_query(mut parts: Parts) -> Result<GraphqlRequest, Refusal> {
    let Query(parameters) = Query::<Parameters>::from_request_parts(&mut parts, &())
        .await
        .map_err(|_| Refusal::bad("The URL needs a parameter `query`, percent-encoded."))?;
    let mut request = GraphqlRequest::new(parameters.query);
    if let Some(name) = parameters.operation_name.filter(|name| !name.is_empty()) {
        request = request.operation_name(name);
    }
    if let Some(variables) = parameters.variables.filter(|text| !text.is_empty()) {
        let variables = serde_json::from_str(&variables)
            .map_err(|_| Refusal::bad("The parameter `variables` has to be a JSON object."))?;
        request = request.variables(variables);
    }
    if let Some(extensions) = parameters.extensions.filter(|text| !text.is_empty()) {
        request.extensions = serde_json::from_str(&extensions)
            .map_err(|_| Refusal::bad("The parameter `extensions` has to be a JSON object."))?;
    }
    Ok(request)
}

async fn from_body(parts: Parts, body: Body) -> Result<GraphqlRequest, Refusal> {
    if !negotiation::is_json(&parts.headers) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body has to be JSON in UTF-8, sent with Content-Type: application/json.",
        ));
    }
    let body = read(&parts.headers, body).await?;
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Refusal::bad("Batches are not taken: send one request at a time."));
    }
    let request = Request::from_parts(parts, Body::from(body));
    let request = GraphQLRequest::<Refusal>::from_request(request, &()).await?.into_inner();
    if request.query.is_empty() {
        return Err(Refusal::bad("The body has no `query`, or an empty one."));
    }
    Ok(request)
}

/// Reads a body of at most [`MAX_BODY`].
async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(MAX_BODY));
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Refusal::bad("The body ended before its time, or did not go on."))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            discard(&mut chunks, bytes.len()).await;
            let message = format!("The body is larger than {MAX_BODY} bytes.");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

/// Reads on, up to a bound, from where so much has been read.
async fn discard(chunks: &mut BodyDataStream, mut read: usize) {
    let discard = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            read += chunk.len();
            if read > MAX_DISCARDED {
                break;
            }
        }
    };
    let _ = time::timeout(DISCARD_FOR, discard).await;
}

/// A request that is not executed.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: code::BAD_REQUEST, message: message.into() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    fn method(message: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    pub(super) fn internal(cause: &str) -> Self {
        tracing::error!(cause, "a request could not be executed");
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: code::INTERNAL,
            message: "The server failed to answer this. Try again; if it stays so, tell its operator the request id.".into(),
        }
    }
}

impl From<ParseRequestError> for Refusal {
    fn from(error: ParseRequestError) -> Self {
        match error {
            ParseRequestError::PayloadTooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.")
            }
            ParseRequestError::InvalidRequest(cause) => Self::bad(format!(
                "The body has to be a JSON object with a string `query`, and maybe `variables` and `operationName`: {cause}."
            )),
            _ => Self::bad("The body can't be read as a GraphQL request."),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Answer::from(self).into_response(MediaType::Json, None)
    }
}

/// An answer before it is encoded.
struct Answer {
    status: StatusCode,
    response: GraphqlResponse,
}

impl Answer {
    /// A document that could not be executed is the caller's fault: 400, except
    /// where the old media type wants 200.
    fn of(response: GraphqlResponse, media: MediaType) -> Self {
        let refused = is_request_error(&response) && media == MediaType::GraphqlResponse;
        let status = if refused { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        Self { status, response }
    }

    fn into_response(mut self, media: MediaType, id: Option<RequestId>) -> Response {
        complete(&mut self.response.errors, id);
        let body = serde_json::to_vec(&Encoded::of(&self.response)).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media.content_type());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
        }
        response
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let mut error = ServerError::new(refusal.message, None);
        error.extensions.get_or_insert_default().set("code", refusal.code);
        Self { status: refusal.status, response: GraphqlResponse::from_errors(vec![error]) }
    }
}

/// The answer to a request whose handling panicked.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    Refusal::internal(text).into_response()
}
