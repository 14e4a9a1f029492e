//! No customer sees anything of another customer, by any field, id or stream.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use ticketwire::domain::clock::Clock as _;

use crate::harness::{Client, TestServer};

/// Texts of Jonas' ticket that only he and staff may see; the note is for staff only.
const SECRETS: [&str; 5] =
    ["theirs-summary", "It does not work", "theirs-comment", "internal-note", "Jonas"];

const EVERYTHING: &str = "fragment everything on Ticket { id number summary description status statusName priority version
    createdAt updatedAt category { name } reporter { id name email role } assignee { name email }
    timeline(first: 20) { nodes { id cursor occurredAt actor { name email } ticket { summary }
        ... on CommentAdded { comment { id body visibility author { name email } ticket { summary } } } } } }";

/// Creates a ticket of Jonas with a comment and an internal note; returns their ids and his.
async fn create_foreign_data(jonas: &Client, marta: &Client) -> Vec<String> {
    let ticket = jonas.create_ticket("theirs-summary").await;
    let comment = jonas.comment(&ticket, "theirs-comment").await.0;
    let note = marta.note(&ticket, "internal-note").await.0;
    vec![ticket.id, comment, note, jonas.account_id().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_cannot_find_another_customers_data_in_any_query_or_stream() {
    let server = TestServer::start().await;
    let (anna, jonas, marta) = (
        server.customer("Anna").await,
        server.customer("Jonas").await,
        server.agent("Marta").await,
    );
    let cursor = anna.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let ids = create_foreign_data(&jonas, &marta).await;
    let own_ticket = anna.create_ticket("mine").await;
    let mut answers = Vec::new();
    for id in &ids {
        let query = format!(
            "query($id: ID!) {{ node(id: $id) {{ id ... on Account {{ name email }} ... on Comment {{ body }} ... everything }} }} {EVERYTHING}"
        );
        let reply = anna.send(&query, json!({ "id": id })).await;
        assert_eq!((reply.code(), reply.at("/data/node")), ("NOT_FOUND", &Value::Null));
        answers.push(reply.body.to_string());
    }
    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }";
    let many = anna.ok(nodes, json!({ "ids": ids })).await;
    assert_eq!(many["nodes"], json!([null, null, null, null]));
    let lists = format!(
        "query($ids: [ID!]!, $jonas: ID!) {{ viewer {{ name }} nodes(ids: $ids) {{ ...everything }} tickets(first: 20) {{ nodes {{ ...everything }} }}
            filtered: tickets(first: 5, filter: {{ reporterId: $jonas }}) {{ nodes {{ ...everything }} }} }} {EVERYTHING}"
    );
    answers.push(
        anna.ok(&lists, json!({ "ids": [own_ticket.id], "jonas": ids[3] })).await.to_string(),
    );

    let mut socket = anna.socket().await;
    socket.watch_ticket("t", &ids[0], cursor.as_str()).await;
    let refused = socket.message().await;
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("NOT_FOUND"))
    );
    socket.watch_inbox("i", cursor.as_str()).await;
    loop {
        let item = socket.item().await;
        answers.push(item.to_string());
        if item["__typename"] == "Checkpoint" {
            break;
        }
    }
    for answer in answers {
        for secret in SECRETS.iter().filter(|secret| **secret != "It does not work") {
            assert!(!answer.contains(secret), "{secret} in {answer}");
        }
    }
    // The search for secrets can fail: Jonas and staff do see them.
    let all = "query($id: ID!) { node(id: $id) { ...everything } } ".to_owned() + EVERYTHING;
    let own = jonas.ok(&all, json!({ "id": ids[0] })).await.to_string();
    let staff = marta.ok(&all, json!({ "id": ids[0] })).await.to_string();
    for secret in SECRETS {
        assert!(staff.contains(secret), "{secret}");
        assert_eq!(own.contains(secret), secret != "internal-note", "{secret}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_finds_no_canned_answers_views_or_figures_and_staff_none_of_others() {
    let server = TestServer::start().await;
    let (anna, marta, oleg) =
        (server.customer("Anna").await, server.agent("Marta").await, server.agent("Oleg").await);
    let ticket = anna.create_ticket("mine").await;
    let create = "mutation {
        createCannedAnswer(input: { title: \"SECRET-title\", body: \"SECRET-body\" }) { cannedAnswer { id } }
        createSavedView(input: { name: \"SECRET-view\", filter: { text: \"SECRET-text\" } }) { savedView { id } } }";
    let created = marta.ok(create, json!({})).await;
    let ids = json!([
        created["createCannedAnswer"]["cannedAnswer"]["id"],
        created["createSavedView"]["savedView"]["id"]
    ]);
    let variables = json!({ "ids": ids, "ticket": ticket.id });
    let nodes = "query($ids: [ID!]!, $ticket: ID!) { nodes(ids: $ids) {
        ... on CannedAnswer { title body text(ticketId: $ticket) }
        ... on SavedView { name filter { text } ticketCount } } }";
    let lists = [
        "{ cannedAnswers { title body } }",
        "{ savedViews { name filter { text } } }",
        "{ supportFigures(from: \"2020-01-01\", to: \"2020-01-01\", groupBy: AGENT) { csv } }",
    ];
    let mut answers = vec![anna.send(nodes, variables.clone()).await];
    for list in lists {
        answers.push(anna.send(list, json!({})).await);
        assert_eq!(answers.last().unwrap().code(), "FORBIDDEN");
    }
    answers.push(oleg.send(nodes, variables.clone()).await);
    for list in &lists[..2] {
        answers.push(oleg.send(list, json!({})).await);
    }
    for answer in answers {
        assert!(!answer.body.to_string().contains("SECRET"), "{}", answer.body);
    }
    // The search for secrets can fail: Marta sees them.
    let own = marta.ok(nodes, variables).await.to_string();
    for secret in ["SECRET-title", "SECRET-body", "SECRET-view", "SECRET-text"] {
        assert!(own.contains(secret), "{secret}");
    }
    let header = marta.ok(lists[2], json!({})).await["supportFigures"]["csv"].to_string();
    assert!(header.contains("agent,opened"), "{header}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_cursor_does_not_reveal_an_internal_note() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("mine").await;
    marta.note(&ticket, "internal-note").await;
    anna.comment(&ticket, "mine").await;
    let page = "query($id: ID!, $before: String, $after: String) { node(id: $id) { ... on Ticket {
        timeline(first: 10, before: $before, after: $after) { edges { cursor } } } } }";
    let answer = async |before: Option<String>, after: Option<String>| {
        let variables = json!({ "id": ticket.id, "before": before, "after": after });
        anna.send(page, variables).await.body
    };
    let own = answer(None, None).await["data"]["node"]["timeline"]["edges"].clone();
    assert_eq!(own.as_array().unwrap().len(), 2);
    let bytes = URL_SAFE_NO_PAD.decode(own[0]["cursor"].as_str().unwrap()).unwrap();
    let first = i64::from_be_bytes(bytes.try_into().unwrap());
    let at = |distance: i64| Some(URL_SAFE_NO_PAD.encode((first + distance).to_be_bytes()));
    // The note's id is the next one; an id far away belongs to no event.
    for (before, after) in [(true, false), (false, true)] {
        let ask = async |distance| {
            answer(at(distance).filter(|_| before), at(distance).filter(|_| after)).await
        };
        let noted = ask(1).await;
        assert_eq!(noted["errors"][0]["extensions"]["code"], "BAD_REQUEST");
        assert_eq!(noted, ask(1_000).await);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_log_contains_no_passwords_tokens_or_texts() {
    let server = TestServer::start().await;
    server.customer("Anna").await;
    let variables = [
        ("DATABASE_URL", server.database.url.as_str()),
        ("TICKETWIRE_LOG_FILTER", "trace"),
        ("TICKETWIRE_LOG_FORMAT", "json"),
    ];
    let process = crate::harness::process::Process::serve(&variables).await;
    let anna = Client::new(&process.address, None)
        .sign_in("anna@example.com", crate::harness::server::PASSWORD)
        .await;
    let wrong = "mutation { signIn(input: { email: \"anna@example.com\", password: \"wrong-password\" }) { session { token } } }";
    anna.ok(wrong, json!({})).await;
    let ticket = anna.create_ticket("a-private-summary").await;
    anna.comment(&ticket, "a-private-comment").await;
    let mut socket = anna.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    let token = anna.token.clone().unwrap();
    let log = process.stop_and_read_log().await;
    assert!(log.contains("\"level\":\"INFO\"") && log.len() > 1_000, "{log}");
    for secret in [
        crate::harness::server::PASSWORD,
        "wrong-password",
        &token,
        "a-private-summary",
        "a-private-comment",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} was logged");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_cannot_find_out_whom_a_merge_invites_or_who_reads_a_ticket() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let (carl, marta) = (server.customer("Carl").await, server.agent("Marta").await);
    let theirs = jonas.create_ticket("theirs-summary").await;
    jonas.share(&theirs, &carl).await;
    let own = anna.create_ticket("mine").await;
    let merge = "mutation($input: MergeTicketInput!) { mergeTicket(input: $input) {
        userErrors { code } } }";
    let input = json!({ "ticketId": theirs.id, "intoId": own.id });
    let merged = marta.ok(merge, json!({ "input": input })).await;
    assert_eq!(merged["mergeTicket"]["userErrors"], json!([]));
    let list = "query($id: ID!) { node(id: $id) { ... on Ticket { invitations { id email }
        mergedTickets { number summary } timeline(first: 20) { nodes { __typename
        ... on TicketMerged { from { number } } ... on ParticipantInvited { invitationId } } } } } }";
    let seen =
        async |client: &Client| client.ok(list, json!({ "id": own.id })).await["node"].clone();
    let (before, staff) = (seen(&anna).await.to_string(), seen(&marta).await.to_string());
    for secret in ["theirs-summary", "jonas@example.com", "carl@example.com", &theirs.number] {
        assert!(!before.contains(secret), "{secret} in {before}");
        assert!(staff.contains(secret), "{secret} in {staff}");
    }
    let received = carl.ok("{ viewer { invitations { id } } }", json!({})).await;
    let decline = "mutation($id: ID!) { declineInvitation(input: { invitationId: $id }) {
        userErrors { code } } }";
    carl.ok(decline, json!({ "id": received["viewer"]["invitations"][0]["id"] })).await;

    // A guess answers the same for who was invited, who has declined that, and anybody else.
    server.clock.advance(chrono::TimeDelta::hours(1));
    let events = seen(&anna).await.to_string();
    let mut ids = Vec::new();
    for email in ["jonas@example.com", "carl@example.com", "nobody@example.com"] {
        let now = server.clock.now();
        let reply = anna.try_invite(&own.id, email).await;
        let invitation = reply.at("/data/inviteParticipant/invitation");
        let created = invitation["createdAt"].as_str().unwrap_or_else(|| panic!("{}", reply.body));
        assert!(created.parse::<chrono::DateTime<chrono::Utc>>().unwrap() >= now, "{created}");
        assert_eq!(invitation["invitedBy"]["name"], "Anna");
        let id = invitation["id"].as_str().unwrap().to_owned();
        assert!(!events.contains(&id), "{id} in {events}");
        ids.push(id);
    }
    let shown = seen(&anna).await["invitations"].clone();
    let shown = shown.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
    assert_eq!(shown.collect::<Vec<_>>(), ids);
    let presence = "subscription($id: ID!) { ticketPresence(ticketId: $id) {
        people { account { name } } } }";
    let mut stream = anna.stream(presence, json!({ "id": own.id })).await;
    assert_eq!(stream.last_error().await, "FORBIDDEN");
    server.stop().await;
}
