//! Updating many tickets with one mutation.

use serde_json::{Value, json};

use crate::harness::{
    Client, Reply, TestServer,
    client::{SALES, TECHNICAL_SUPPORT, Ticket},
};

const UPDATE: &str = "mutation($input: UpdateTicketsInput!) { updateTickets(input: $input) {
    results { ticketId ticket { summary status priority version assignee { name } category { slug } } userErrors { field code } }
    userErrors { field code message } } }";

async fn update(client: &Client, ids: &[&str], mut input: Value) -> Reply {
    input["ticketIds"] = json!(ids);
    client.send(UPDATE, json!({ "input": input })).await
}

async fn tickets(client: &Client, count: usize) -> Vec<Ticket> {
    let mut tickets = Vec::new();
    for n in 0..count {
        tickets.push(client.create_ticket(&format!("t{n}")).await);
    }
    tickets
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_update_changes_each_ticket_entirely_or_not_at_all() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let marta_id = marta.account_id().await;
    let tickets = tickets(&anna, 4).await;
    marta.update(&tickets[1], json!({ "status": "CLOSED" })).await;
    marta.update(&tickets[3], json!({ "status": "WORKING_ON_IT", "priority": "HIGH", "assigneeId": marta_id, "categoryId": SALES })).await;
    let unknown = "VGlja2V0OjAxOTlhMDAwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwOQ";
    let ids = [
        tickets[2].id.as_str(),
        &tickets[1].id,
        "garbage",
        unknown,
        &tickets[3].id,
        &tickets[0].id,
        TECHNICAL_SUPPORT,
    ];
    let change = json!({ "status": "WORKING_ON_IT", "priority": "HIGH", "assigneeId": marta_id, "categoryId": SALES });
    let reply = update(&marta, &ids, change).await;
    let changed = |summary: &str| {
        json!({ "summary": summary, "status": "WORKING_ON_IT", "priority": "HIGH", "version": 2,
            "assignee": { "name": "Marta" }, "category": { "slug": "sales" } })
    };
    let refused = |field: &str, code: &str| json!([{ "field": [field], "code": code }]);
    let expected = [
        (changed("t2"), json!([])),
        (Value::Null, refused("status", "ILLEGAL_TRANSITION")),
        (Value::Null, refused("ticketIds", "NOT_FOUND")),
        (Value::Null, refused("ticketIds", "NOT_FOUND")),
        (changed("t3"), json!([])),
        (changed("t0"), json!([])),
        (Value::Null, refused("ticketIds", "NOT_FOUND")),
    ];
    assert_eq!(reply.user_errors("updateTickets"), [] as [&str; 0]);
    let results = reply.at("/data/updateTickets/results").as_array().unwrap();
    assert_eq!(results.len(), expected.len());
    for ((result, id), (ticket, errors)) in results.iter().zip(ids).zip(expected) {
        assert_eq!((&result["ticketId"], &result["ticket"]), (&json!(id), &ticket));
        assert_eq!(result["userErrors"], errors);
    }
    // Each change appends the same events as a single update; an update without a change appends
    // none.
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Ticket { summary timeline { nodes { __typename } } } } }";
    let ids = tickets.iter().map(|ticket| &ticket.id).collect::<Vec<_>>();
    let nodes = marta.ok(query, json!({ "ids": ids })).await["nodes"].clone();
    let kinds = |n: usize| {
        let events = nodes[n]["timeline"]["nodes"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["__typename"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all =
        ["TicketCreated", "StatusChanged", "PriorityChanged", "AssigneeChanged", "CategoryChanged"];
    for n in [0, 2, 3] {
        assert_eq!(kinds(n), all);
    }
    assert_eq!(kinds(1), all[..2]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_update_with_invalid_input_is_refused_as_a_whole() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let anna_id = anna.account_id().await;
    let ticket = anna.create_ticket("one").await;
    let before = server.content().await;
    let many = (0..101).map(|n| format!("garbage{n}")).collect::<Vec<_>>();
    let many = many.iter().map(String::as_str).collect::<Vec<_>>();
    let high = || json!({ "priority": "HIGH" });
    let one = [ticket.id.as_str()];
    for (ids, change, field, code) in [
        (&[][..], high(), "ticketIds", "REQUIRED"),
        (&many, high(), "ticketIds", "TOO_LONG"),
        (&[&ticket.id, "garbage", &ticket.id], high(), "ticketIds", "INVALID"),
        (
            &one,
            json!({ "priority": "HIGH", "assigneeId": anna_id }),
            "assigneeId",
            "NOT_ASSIGNABLE",
        ),
        (&one, json!({ "priority": "HIGH", "assigneeId": "garbage" }), "assigneeId", "NOT_FOUND"),
        (&one, json!({ "priority": "HIGH", "categoryId": ticket.id }), "categoryId", "NOT_FOUND"),
    ] {
        let reply = update(&marta, ids, change).await;
        assert_eq!(reply.user_errors("updateTickets"), [code], "{}", reply.body);
        assert_eq!(*reply.at("/data/updateTickets/userErrors/0/field"), json!([field]));
        assert_eq!(*reply.at("/data/updateTickets/results"), json!([]));
    }
    assert_eq!(update(&anna, &one, high()).await.code(), "FORBIDDEN");
    assert_eq!(update(&server.anonymous(), &one, high()).await.code(), "UNAUTHENTICATED");
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_updates_of_the_same_tickets_in_opposite_orders_do_not_deadlock() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let tickets = tickets(&anna, 20).await;
    let forward = tickets.iter().map(|ticket| ticket.id.as_str()).collect::<Vec<_>>();
    let backward = forward.iter().rev().copied().collect::<Vec<_>>();
    for round in ["LOW", "HIGH"] {
        let all = (0..6).map(async |n| {
            let ids = if n % 2 == 0 { &forward } else { &backward };
            let priority = if n < 3 { round } else { "LOWEST" };
            update(&marta, ids, json!({ "priority": priority })).await
        });
        for reply in futures_util::future::join_all(all).await {
            let results = reply.at("/data/updateTickets/results").as_array().unwrap();
            assert!(results.iter().all(|result| result["ticket"].is_object()), "{}", reply.body);
        }
    }
    server.stop().await;
}
