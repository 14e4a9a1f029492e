//! GraphQL over HTTP, as its specification has it: POST with JSON, and GET for queries. The
//! answer is one JSON response, or a stream of server-sent events (`sse.rs`) if the caller
//! accepts one.

use std::{net::IpAddr, sync::Arc};

use async_graphql::{
    Request as GraphqlRequest, Response as GraphqlResponse, ServerError,
    parser::types::OperationType,
};
use async_graphql_axum::GraphQLRequest;
use axum::{
    body::{Body, HttpBody as _},
    extract::{FromRequest as _, FromRequestParts as _, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};
use serde::Deserialize;

use super::{
    api::Api,
    authentication::{self, Credentials},
    body::{self, BodyInMemory, check_size},
    budgets::{LimitReached, delay_refusal},
    execution, guard,
    negotiation::{self, MediaType},
    observe::RequestId,
    refusal::Refusal,
    response,
    sender::Sender,
    slots::Slot,
    sse::{self, Caller},
    turns::Turn,
    upload::{self, UploadError},
};
use crate::{
    domain::{actor::Actor, request},
    graphql::{ResumeAt, SessionCookie},
};

/// Answers a request for `/graphql`.
pub async fn endpoint(State(api): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = body::pace(body, api.budgets.limits.bodies, api.metrics.clone());
    let id = parts.extensions.get::<RequestId>().copied();
    let media = MediaType::accepted(&parts.headers);
    let json = media.filter(|media| *media != MediaType::EventStream).unwrap_or(MediaType::Json);
    match answer(&api, parts, body, media, id).await {
        Ok(Answer::Once(response, held)) => {
            let set_cookie = held.as_ref().and_then(|held| held.set_cookie(&api));
            let limit = api.limits.response_bytes;
            // What a response that is too large has cost.
            let least = if response::is_too_large(&response) { limit } else { 0 };
            let until_sent = |bytes| match &held {
                Some(held) if held.actor == Actor::Anonymous => {
                    // Strangers of one network don't wait for each other's connections.
                    let Held { actor, network, is_mutation, .. } = &**held;
                    let memory = api.budgets.unsent(actor, *network, bytes, *is_mutation)?;
                    Ok::<_, LimitReached>((None, memory))
                }
                held => Ok((held.clone(), None)),
            };
            let answered = response::respond(response, json, id, limit, until_sent);
            let mut response = match delay_refusal(answered).await {
                Ok(response) => response,
                Err(reached) => Refusal::from(reached).respond(json, id),
            };
            let Some(held) = held else { return response };
            if let Some(cookie) = set_cookie {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            let bytes = response.body().size_hint().exact().map_or(0, |bytes| bytes as usize);
            let actor = held.actor;
            api.budgets.hold_response(held, &actor, bytes.max(least));
            response
        }
        Ok(Answer::Streamed(response)) => response,
        Err(refusal) => refusal.respond(json, id),
    }
}

/// The answer to a request that is not refused.
enum Answer {
    /// One response, not encoded yet, and what it holds until it was sent.
    Once(GraphqlResponse, Option<Arc<Held>>),
    /// A stream of server-sent events.
    Streamed(Response),
}

/// What a request uses of its caller's budget until its response was sent.
struct Held {
    actor: Actor,
    network: Option<IpAddr>,
    is_mutation: bool,
    turn: Turn,
    /// The cookie that the request may change, and its headers.
    cookie: Option<(SessionCookie, HeaderMap)>,
    _slot: Slot,
}

impl Held {
    /// Returns the value of `Set-Cookie`, if the request has changed the cookie.
    fn set_cookie(&self, api: &Api) -> Option<HeaderValue> {
        let (cookie, headers) = self.cookie.as_ref()?;
        api.own_pages.set_cookie(headers, &cookie.take_change()?, api.ambient.now())
    }
}

/// Boxes what it waits for: hyper and axum move the future of a request several times.
async fn answer(
    api: &Api,
    parts: Parts,
    body: Body,
    media: Option<MediaType>,
    id: Option<RequestId>,
) -> Result<Answer, Refusal> {
    let media = check_method_and_media(&parts.method, media)?;
    if parts.method == Method::POST {
        check_body_headers(&parts.headers)?;
    }
    if parts.method == Method::POST && upload::is_multipart(&parts.headers) {
        return Box::pin(answer_multipart(api, parts, body, media, id)).await;
    }
    let (method, headers) = (parts.method.clone(), parts.headers.clone());
    let origin = authentication::origin(&parts, api.trusted_proxies);
    let credentials = Credentials::of(&api.own_pages, &method, &headers);
    let (mut request, in_memory) = if method == Method::GET {
        let in_memory = BodyInMemory::of_query(parts.uri.query());
        (from_query(parts).await?, in_memory)
    } else {
        let sender = Sender::new(&api.budgets, &api.services, &credentials, &origin);
        Box::pin(from_body(parts, body, &sender)).await?
    };
    let actor = Box::pin(credentials.actor(&api.services, &origin)).await;
    let actor = actor.map_err(|error| Refusal::failed(&error))?;
    let Credentials { token, cookie, .. } = credentials;
    // Before the document is read, which takes time too.
    let mut slot = delay_refusal(api.budgets.request(&actor, &origin)).await?;
    let turn = api.budgets.turn(&actor, &origin).await?;
    let validated = guard::validate_document(&mut request, &api.documents, api.limits.aliases);
    let validated = validated.and_then(|operation| check_size(operation, in_memory.size));
    let live = matches!(validated, Ok(Some(OperationType::Subscription)));
    let streamed =
        media == MediaType::EventStream || live && MediaType::names_event_stream(&headers);
    let operation = match validated {
        Ok(operation) => operation,
        Err(error) => return Ok(answer_invalid(error, streamed, id)),
    };
    check_operation(&method, operation, streamed)?;
    if streamed && let Some(last) = headers.get("last-event-id").filter(|value| !value.is_empty()) {
        request = request.data(ResumeAt(String::from_utf8_lossy(last.as_bytes()).into()));
    }
    if live {
        slot = api.budgets.stream(&actor, &origin)?;
    }
    let caller = Caller { actor, origin, token, id, slot };
    if streamed {
        // Taken again for each response.
        drop(turn);
        let response = Box::pin(sse::answer(api.clone(), caller, request, operation)).await;
        return Ok(Answer::Streamed(response));
    }
    let cookie = cookie.map(|cookie| (cookie, headers));
    Ok(Box::pin(execute_with_session(api, caller, (turn, cookie), request, operation)).await)
}

/// Answers a request whose document is not valid.
fn answer_invalid(error: ServerError, streamed: bool, id: Option<RequestId>) -> Answer {
    request::record_error(&response::code_of(&error));
    if streamed {
        Answer::Streamed(sse::answer_errors(vec![error], id))
    } else {
        Answer::Once(GraphqlResponse::from_errors(vec![error]), None)
    }
}

fn check_method_and_media(method: &Method, media: Option<MediaType>) -> Result<MediaType, Refusal> {
    if !matches!(*method, Method::GET | Method::POST) {
        return Err(Refusal::method_not_allowed("Use POST, or GET for queries."));
    }
    media.ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            "Accept application/graphql-response+json, application/json or text/event-stream: \
             the server sends no other media type.",
        )
    })
}

/// Checks that a body is not compressed, and that it has one media type.
fn check_body_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    if !negotiation::is_uncompressed(headers) {
        return refuse(
            "Send the body uncompressed, without Content-Encoding: the server decodes no encoding.",
        );
    }
    if !negotiation::has_one_content_type(headers) {
        return refuse("The request has several Content-Type headers that differ. Send one.");
    }
    Ok(())
}

/// Checks that a validated operation may run by this method and with this kind of answer.
fn check_operation(
    method: &Method,
    operation: Option<OperationType>,
    streamed: bool,
) -> Result<(), Refusal> {
    let live = operation == Some(OperationType::Subscription);
    let by_get = operation != Some(OperationType::Mutation) && (!live || streamed);
    if *method == Method::GET && !by_get {
        return Err(Refusal::method_not_allowed(
            "GET supports queries, and subscriptions with Accept: text/event-stream. Send \
             mutations by POST.",
        ));
    }
    if live && !streamed {
        return Err(Refusal::bad_request(
            "Subscriptions need a websocket (graphql-transport-ws, at this same path) or \
             server-sent events (Accept: text/event-stream).",
        ));
    }
    Ok(())
}

/// Answers a mutation with files. The files are stored before it is executed, and attached to
/// the ticket or comment that it creates.
async fn answer_multipart(
    api: &Api,
    parts: Parts,
    body: Body,
    media: MediaType,
    id: Option<RequestId>,
) -> Result<Answer, Refusal> {
    let origin = authentication::origin(&parts, api.trusted_proxies);
    let mut chunks = body.into_data_stream();
    let credentials = Credentials::of(&api.own_pages, &parts.method, &parts.headers);
    let upload = upload::read(api, &parts.headers, (&credentials, &origin), &mut chunks).await;
    let Credentials { token, cookie, .. } = credentials;
    if !upload.as_ref().is_ok_and(|upload| upload.read_to_end) {
        body::discard(&mut chunks, 0).await;
    }
    let upload = match upload {
        Ok(upload) => upload,
        Err(UploadError::Refused(refusal)) => return Err(refusal),
        Err(UploadError::Invalid(error)) => {
            return Ok(answer_invalid(error, media == MediaType::EventStream, id));
        }
    };
    let slot = delay_refusal(api.budgets.request(&upload.actor, &origin)).await?;
    let caller = Caller { actor: upload.actor, origin, token, id, slot };
    let operation = Some(OperationType::Mutation);
    if media == MediaType::EventStream {
        // It keeps the files until it ends.
        let response = sse::answer(api.clone(), caller, upload.request, operation).await;
        return Ok(Answer::Streamed(response));
    }
    let turn = api.budgets.turn(&caller.actor, &caller.origin).await?;
    let cookie = cookie.map(|cookie| (cookie, parts.headers));
    let answer = execute_with_session(api, caller, (turn, cookie), upload.request, operation).await;
    if let Some(held) = upload.held {
        held.release().await;
    }
    Ok(answer)
}

async fn execute_with_session(
    api: &Api,
    caller: Caller,
    (turn, cookie): (Turn, Option<(SessionCookie, HeaderMap)>),
    request: GraphqlRequest,
    operation: Option<OperationType>,
) -> Answer {
    let Caller { actor, origin, slot, .. } = caller;
    let network = origin.network();
    let is_mutation = operation == Some(OperationType::Mutation);
    let slotted = cookie.as_ref().map(|(cookie, _)| cookie.clone());
    let held = Arc::new(Held { actor, network, is_mutation, turn, cookie, _slot: slot });
    // Also held until the execution ends, which may be after the client has hung up.
    let mut request = request.data(Arc::clone(&held));
    if let Some(cookie) = slotted {
        request = request.data(cookie);
    }
    let executing = execution::execute_once(api, actor, origin, request, operation);
    let response = held.turn.run(executing).await;
    Answer::Once(response, Some(held))
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
        .map_err(|_| Refusal::bad_request("The URL must have a percent-encoded `query`."))?;
    for json in [&parameters.variables, &parameters.extensions].into_iter().flatten() {
        body::check_values("The URL", json.as_bytes()).map_err(Refusal::bad_request)?;
    }
    let mut request = GraphqlRequest::new(parameters.query);
    request.operation_name = parameters.operation_name;
    if let Some(variables) = parameters.variables.filter(|text| !text.is_empty()) {
        let variables = serde_json::from_str(&variables).map_err(|_| {
            Refusal::bad_request("The parameter `variables` must be a JSON object.")
        })?;
        request = request.variables(variables);
    }
    if let Some(extensions) = parameters.extensions.filter(|text| !text.is_empty()) {
        request.extensions = serde_json::from_str(&extensions).map_err(|_| {
            Refusal::bad_request("The parameter `extensions` must be a JSON object.")
        })?;
    }
    Ok(request)
}

async fn from_body(
    parts: Parts,
    body: Body,
    sender: &Sender<'_>,
) -> Result<(GraphqlRequest, BodyInMemory), Refusal> {
    if !negotiation::is_json(&parts.headers) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON in UTF-8, with Content-Type: application/json.",
        ));
    }
    let (body, in_memory) = body::read(&parts.headers, body, sender).await?;
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Refusal::batched());
    }
    body::check_values("The body", &body).map_err(Refusal::bad_request)?;
    let request = Request::from_parts(parts, Body::from(body.clone()));
    let refused = || Refusal::bad_request(body::problem("The body", &body));
    let request = GraphQLRequest::<Refusal>::from_request(request, &()).await;
    let request = request.map_err(|_| refused())?.into_inner();
    // An empty query is a document that cannot be parsed; a missing one is no request.
    if request.query.is_empty() && body::parse_request(&body).is_err() {
        return Err(refused());
    }
    Ok((request, in_memory))
}
