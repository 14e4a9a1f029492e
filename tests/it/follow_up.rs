//! Follow-ups: new tickets that continue closed ones.

use serde_json::{Value, json};

use crate::harness::{
    Client, TestServer,
    client::{Reply, TECHNICAL_SUPPORT, Ticket},
};

const SEEN: &str = "query($id: ID!) { node(id: $id) { ... on Ticket {
    followUpTo { number } followUps { number followUpTo { number } } } } }";

async fn seen(client: &Client, id: &str) -> Value {
    client.ok(SEEN, json!({ "id": id })).await["node"].clone()
}

async fn try_follow_up(client: &Client, id: &str, key: Option<&str>) -> Reply {
    let input = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "Again", "description": "It is back.",
                        "followUpToId": id, "idempotencyKey": key });
    client.try_create_ticket(input).await
}

async fn follow_up(client: &Client, id: &str, key: Option<&str>) -> (String, String) {
    let reply = try_follow_up(client, id, key).await;
    let ticket = reply.at("/data/createTicket/ticket");
    let text =
        |name: &str| ticket[name].as_str().unwrap_or_else(|| panic!("{}", reply.body)).to_owned();
    (text("id"), text("number"))
}

async fn closed(client: &Client) -> Ticket {
    let ticket = client.create_ticket("Once").await;
    client.update(&ticket, json!({ "status": "CLOSED" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_links_to_the_closed_ticket_that_it_continues() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let (marta, jonas) = (server.agent("Marta").await, server.customer("Jonas").await);
    let ticket = anna.create_ticket("Once").await;
    anna.share(&ticket, &carl).await;

    // An open ticket accepts comments, so it needs no follow-up.
    let refused = try_follow_up(&anna, &ticket.id, None).await;
    assert_eq!(refused.user_errors("createTicket"), ["INVALID"]);
    assert_eq!(refused.at("/data/createTicket/userErrors/0/field"), &json!(["followUpToId"]));
    anna.update(&ticket, json!({ "status": "CLOSED" })).await;
    let refused = anna.try_comment(&ticket, json!({ "body": "It is back." })).await;
    assert_eq!(refused.user_errors("addComment"), ["TICKET_CLOSED"]);
    let message = refused.at("/data/addComment/userErrors/0/message").as_str().unwrap();
    assert!(message.contains("followUpToId"), "{message}");
    let refused = anna.try_update(&ticket, json!({ "status": "RESOLVED" })).await;
    let message = refused.at("/data/updateTicket/userErrors/0/message").as_str().unwrap();
    assert!(message.contains("followUpToId"), "{message}");

    let (annas, number) = follow_up(&anna, &ticket.id, None).await;
    let (carls, carls_number) = follow_up(&carl, &ticket.id, None).await;
    let reference = |number: &str| json!({ "number": number });
    let listed =
        |number: &str| json!({ "number": number, "followUpTo": { "number": ticket.number } });
    assert_eq!(
        seen(&anna, &annas).await,
        json!({ "followUpTo": reference(&ticket.number), "followUps": [] })
    );
    // Everybody sees the follow-ups that they may read.
    let of_old = |numbers: &[&str]| json!({ "followUpTo": null, "followUps": numbers.iter().map(|it| listed(it)).collect::<Vec<_>>() });
    assert_eq!(seen(&anna, &ticket.id).await, of_old(&[&number]));
    assert_eq!(seen(&carl, &ticket.id).await, of_old(&[&carls_number]));
    assert_eq!(seen(&marta, &ticket.id).await, of_old(&[&number, &carls_number]));
    // A participant of the follow-up only does not see the closed ticket.
    let invited = anna.try_invite(&annas, "jonas@example.com").await;
    jonas.try_accept(invited.at("/data/inviteParticipant/invitation/id").as_str().unwrap()).await;
    assert_eq!(seen(&jonas, &annas).await, json!({ "followUpTo": null, "followUps": [] }));
    assert_eq!(seen(&carl, &carls).await["followUpTo"], reference(&ticket.number));

    // A ticket that the caller may not see looks the same as one that does not exist.
    for id in [ticket.id.as_str(), "nonsense", TECHNICAL_SUPPORT] {
        let refused = try_follow_up(&jonas, id, None).await;
        assert_eq!(refused.user_errors("createTicket"), ["NOT_FOUND"], "{id}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_repeated_with_its_idempotency_key_is_created_once() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (one, other) = (closed(&anna).await, closed(&anna).await);
    let first = follow_up(&anna, &one.id, Some("key")).await;
    assert_eq!(follow_up(&anna, &one.id, Some("key")).await, first);
    let reused = try_follow_up(&anna, &other.id, Some("key")).await;
    assert_eq!(reused.user_errors("createTicket"), ["IDEMPOTENCY_KEY_REUSED"]);
    let plain = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "Again", "description": "It is back.",
                        "idempotencyKey": "key" });
    let reused = anna.try_create_ticket(plain).await;
    assert_eq!(reused.user_errors("createTicket"), ["IDEMPOTENCY_KEY_REUSED"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_follow_ups_takes_the_same_number_of_statements_for_any_page_size() {
    let server = TestServer::start_logged().await;
    let anna = server.customer("Anna").await;
    for _ in 0..3 {
        let ticket = closed(&anna).await;
        follow_up(&anna, &ticket.id, None).await;
        follow_up(&anna, &ticket.id, None).await;
    }
    let statements = async |first: i64| {
        let query = "query($first: Int) { tickets(first: $first, orderBy: { field: CREATED_AT, direction: ASC }) {
            nodes { isUnread followUpTo { number isUnread } followUps { number } } } }";
        let ask = async || drop(anna.ok(query, json!({ "first": first })).await);
        server.statements_of(ask).await
    };
    // The first call looks up the session too.
    statements(1).await;
    let few = statements(2).await;
    let many = statements(9).await;
    assert_eq!(many.len(), few.len(), "{few:#?}\n{many:#?}");
    server.stop().await;
}
