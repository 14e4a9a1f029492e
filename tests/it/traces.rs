//! Traces, as a collector receives them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use serde_json::json;
use ticketwire::domain::account::Role;
use tokio::net::TcpListener;

use crate::harness::{
    Client,
    mail::{borrowed, variables},
    port,
    postgres::TestDatabase,
    process::Process,
    server::{PASSWORD, create_account},
    smtp::Smtp,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A collector of OTLP over HTTP.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    async fn start() -> Self {
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let received = Arc::clone(&spans);
        let receive = move |headers: HeaderMap, body: Bytes| async move {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
            received.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        };
        let router = Router::new().route("/v1/traces", post(receive));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(socket, router).await });
        Self { address, spans }
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Creates a ticket with this `traceparent` at a server that samples no traces of its own. Returns
/// its log.
async fn create_ticket(collector: SocketAddr, traceparent: &str) -> String {
    let (database, smtp) = (TestDatabase::new().await, Smtp::start().await);
    let url = database.url.clone();
    create_account(&url, &Arc::default(), "anna@example.com", "Anna", Role::Customer).await;
    let mut variables = variables(&smtp.url(), &url);
    let endpoint = format!("http://{collector}/");
    variables.push(("TICKETWIRE_TRACING_OTLP_ENDPOINT".into(), endpoint));
    let ratio = if traceparent.is_empty() { "1" } else { "0" };
    variables.push(("TICKETWIRE_TRACING_SAMPLE_RATIO".into(), ratio.into()));
    let process = Process::serve(&borrowed(&variables)).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let document = "mutation OpenTicket($input: CreateTicketInput!) {
        createTicket(input: $input) { ticket { id reporter { name } timeline(first: 1) { nodes { id } } }
            userErrors { code } } }";
    let input = json!({ "categoryId": crate::harness::client::SALES, "summary": "A secret summary",
                        "description": "A secret text" });
    let response = reqwest::Client::new()
        .post(format!("http://{}/graphql?a=secret", process.address))
        .bearer_auth(anna.token.as_ref().unwrap())
        .header("traceparent", traceparent)
        .json(&json!({ "query": document, "variables": { "input": input } }))
        .send()
        .await
        .unwrap();
    let body = response.text().await.unwrap();
    assert!(body.contains("\"userErrors\":[]"), "{body}");
    smtp.received(1).await;
    process.stop_and_read_log().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_continues_a_sampled_trace_is_traced_down_to_its_statements() {
    let collector = Collector::start().await;
    let log = create_ticket(collector.address, &format!("00-{TRACE}-{CALLER}-01")).await;
    let line = log.lines().find(|line| line.contains("signed in")).expect("a sign-in");
    assert!(line.contains("request{id=") && !line.contains("http{"), "{line}");
    let spans = collector.spans();
    let own = spans.iter().filter(|span| hex(&span.trace_id) == TRACE).collect::<Vec<_>>();
    // The sign-in and the mail are of traces that are not sampled.
    assert_eq!(own.len(), spans.len(), "{spans:#?}");
    let child = |parent: &[u8], name: &str| {
        let found = own.iter().find(|span| span.parent_span_id == parent && span.name == name);
        *found.unwrap_or_else(|| panic!("no span {name}: {own:#?}"))
    };
    let caller = own.iter().find(|span| hex(&span.parent_span_id) == CALLER).expect("a root");
    assert_eq!((caller.name.as_str(), caller.kind), ("POST /graphql", SpanKind::Server as i32));
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/graphql"),
        ("url.path", "/graphql"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attribute(caller, key).as_deref(), Some(value), "{key}");
    }
    let operation = child(&caller.span_id, "mutation OpenTicket");
    assert_eq!(attribute(operation, "graphql.operation.type").as_deref(), Some("mutation"));
    assert_eq!(attribute(operation, "graphql.operation.name").as_deref(), Some("OpenTicket"));
    let created = child(&operation.span_id, "resolve createTicket");
    // A nested field that loads has a span, and values in memory have none.
    let timeline = child(&created.span_id, "resolve timeline");
    assert_eq!(attribute(timeline, "graphql.field.name").as_deref(), Some("timeline"));
    let loads = |span: &&&Span| span.parent_span_id == timeline.span_id;
    let loaded = own.iter().find(loads).expect("a statement of the field");
    assert!(attribute(loaded, "db.query.summary").is_some(), "{loaded:?}");
    let fields = own.iter().filter(|span| span.name.starts_with("resolve "));
    let fields = fields.map(|span| span.name.as_str()).collect::<Vec<_>>();
    for in_memory in ["resolve id", "resolve ticket", "resolve nodes", "resolve userErrors"] {
        assert!(!fields.contains(&in_memory), "{fields:?}");
    }
    let statements = own.iter().filter(|span| attribute(span, "db.system.name").is_some());
    let statements = statements.collect::<Vec<_>>();
    assert!(!statements.is_empty(), "{own:#?}");
    for statement in statements {
        assert_eq!(attribute(statement, "db.system.name").as_deref(), Some("postgresql"));
        assert_eq!(attribute(statement, "db.query.summary"), Some(statement.name.clone()));
        assert_eq!(statement.kind, SpanKind::Client as i32);
    }
    let all = format!("{spans:?}");
    for secret in ["secret", "anna@", "Anna", "tw_", PASSWORD] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_traced_and_a_trace_that_its_caller_does_not_sample_is_not() {
    let collector = Collector::start().await;
    create_ticket(collector.address, &format!("00-{TRACE}-{CALLER}-00")).await;
    assert_eq!(collector.spans(), []);
    create_ticket(collector.address, "").await;
    let spans = collector.spans();
    let sent = spans.iter().find(|span| span.name == "send mail").expect("a sent mail");
    let mail = spans.iter().find(|span| span.span_id == sent.parent_span_id).expect("its mail");
    assert_eq!((mail.name.as_str(), &mail.trace_id), ("deliver mail", &sent.trace_id));
    assert!(attribute(mail, "ticketwire.delivery.id").is_some(), "{mail:?}");
    assert_eq!(sent.kind, SpanKind::Client as i32);
    assert!(spans.iter().any(|span| span.name == "mutation OpenTicket"), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_logged_once_and_requests_are_answered() {
    let nobody = port::choose_address().parse().unwrap();
    let log = create_ticket(nobody, &format!("00-{TRACE}-{CALLER}-01")).await;
    let failures = log.lines().filter(|line| line.contains("sending traces failed"));
    let failures = failures.collect::<Vec<_>>();
    assert!(failures.len() == 1 && failures[0].contains("tracing.otlp_endpoint"), "{log}");
}
