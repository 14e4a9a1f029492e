//! The lists of customers' own tickets, which nodes keep in memory and confirm with the database.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Client, TestServer};

const LIST: &str = "query($first: Int, $last: Int, $orderBy: TicketOrder) {
    tickets(first: $first, last: $last, orderBy: $orderBy) { pageInfo { hasNextPage hasPreviousPage }
    nodes { summary description status reporter { name } } } }";

/// Returns the summaries of the first tickets in the list of a customer.
async fn summaries(client: &Client) -> Vec<Value> {
    let data = client.ok(LIST, json!({ "first": 20 })).await;
    let nodes = data["tickets"]["nodes"].as_array().unwrap().iter();
    nodes.map(|node| node["summary"].clone()).collect()
}

/// Returns how many statements read tickets, and how many of them only confirm a page.
async fn reads(server: &TestServer, work: impl AsyncFnOnce()) -> (usize, usize) {
    let statements = server.statements_of(work).await;
    let of = |text: &str| statements.iter().filter(|it| it.contains(text)).count();
    (of("tickets.description"), of("cardinality(shared.ids)"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_once_until_one_of_its_tickets_changes() {
    let server = TestServer::start_logged().await;
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    let ticket = anna.create_ticket("one").await;
    anna.create_ticket("two").await;
    server.quiet().await;
    let list = async || drop(summaries(&anna).await);
    assert_eq!(reads(&server, list).await, (1, 0));
    assert_eq!(reads(&server, list).await, (0, 1));
    boris.create_ticket("of somebody else").await;
    server.quiet().await;
    assert_eq!(reads(&server, list).await, (0, 1));
    anna.comment(&ticket, "More about it").await;
    server.quiet().await;
    assert_eq!(reads(&server, list).await, (1, 1));
    assert_eq!(reads(&server, list).await, (0, 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_every_change_at_once() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    assert_eq!(summaries(&anna).await, Vec::<Value>::new());
    let ticket = anna.create_ticket("one").await;
    assert_eq!(summaries(&anna).await, ["one"]);
    assert_eq!(summaries(&boris).await, Vec::<Value>::new());
    anna.share(&ticket, &boris).await;
    assert_eq!(summaries(&boris).await, ["one"]);
    // No node hears of what follows.
    let database = server.database.connect().await;
    for summary in ["two", "three"] {
        let reword = "UPDATE tickets SET summary = $1";
        database.execute(reword, &[&summary]).await.unwrap();
        assert_eq!(summaries(&anna).await, [summary]);
        assert_eq!(summaries(&boris).await, [summary]);
    }
    database.execute("UPDATE accounts SET name = name || ' B.'", &[]).await.unwrap();
    let list = anna.ok(LIST, json!({ "first": 20 })).await;
    assert_eq!(list.pointer("/tickets/nodes/0/reporter/name"), Some(&json!("Anna B.")));
    database.execute("UPDATE tickets SET participant_ids = '{}'", &[]).await.unwrap();
    assert_eq!(summaries(&boris).await, Vec::<Value>::new());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_order_and_each_end_of_a_list_shows_changes() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let mut tickets = vec![];
    for number in 0..5 {
        tickets.push(anna.create_ticket(&format!("Ticket {number}")).await);
    }
    marta.update(&tickets[1], json!({ "priority": "HIGHEST" })).await;
    marta.update(&tickets[3], json!({ "status": "RESOLVED" })).await;
    let mut pages = vec![];
    for field in ["CREATED_AT", "UPDATED_AT", "PRIORITY", "WAITING_SINCE"] {
        for direction in ["ASC", "DESC"] {
            let order = json!({ "field": field, "direction": direction });
            pages.push(json!({ "first": 3, "orderBy": order }));
            pages.push(json!({ "last": 3, "orderBy": order }));
            pages.push(json!({ "first": 50, "orderBy": order }));
            pages.push(json!({ "first": 0, "orderBy": order }));
        }
    }
    let read = async || join_all(pages.iter().map(|page| anna.ok(LIST, page.clone()))).await;
    let first = read().await;
    assert_eq!(read().await, first);
    assert_eq!(first[0]["tickets"]["nodes"].as_array().map(Vec::len), Some(3));
    marta.update(&tickets[2], json!({ "priority": "LOWEST" })).await;
    let changed = read().await;
    assert_ne!(changed, first);
    // Another node has nothing in memory.
    let node = server.second_node().await;
    let there = anna.at(&node.address().to_string());
    let elsewhere = join_all(pages.iter().map(|page| there.ok(LIST, page.clone()))).await;
    assert_eq!(changed, elsewhere);
    node.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_asked_for_at_the_same_time_are_each_their_own() {
    let server = TestServer::start().await;
    let mut customers = vec![];
    for number in 0..12 {
        let customer = server.customer(&format!("Customer{number}")).await;
        for ticket in 0..number {
            customer.create_ticket(&format!("{number}.{ticket}")).await;
        }
        customers.push(customer);
    }
    for _ in 0..3 {
        let lists = join_all(customers.iter().chain(&customers).map(summaries)).await;
        for (place, list) in lists.iter().enumerate() {
            let number = place % 12;
            let expected = (0..number).rev().map(|ticket| json!(format!("{number}.{ticket}")));
            assert_eq!(list, &expected.collect::<Vec<_>>());
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_very_many_shared_tickets_is_read_by_itself() {
    let server = TestServer::start_logged().await;
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    anna.create_ticket("one").await;
    server.quiet().await;
    let database = server.database.connect().await;
    let copies =
        "INSERT INTO tickets (id, number, category_id, reporter_id, participant_ids, summary,
            description, status, priority, version, created_at, updated_at)
        SELECT gen_random_uuid(), number + n, category_id, reporter_id,
            ARRAY[(SELECT id FROM accounts WHERE name = 'Boris')], 'copy', '', status, priority, 1,
            created_at, updated_at
        FROM tickets, generate_series(1, 201) n WHERE number = (SELECT max(number) FROM tickets)";
    assert_eq!(database.execute(copies, &[]).await.unwrap(), 201);
    let list = async || assert_eq!(summaries(&boris).await.len(), 20);
    assert_eq!(reads(&server, list).await, (1, 0));
    assert_eq!(reads(&server, list).await, (1, 1));
    assert_eq!(reads(&server, list).await, (1, 0));
    let list = async || drop(summaries(&anna).await);
    assert_eq!(reads(&server, list).await, (1, 0));
    assert_eq!(reads(&server, list).await, (0, 1));
    server.stop().await;
}
