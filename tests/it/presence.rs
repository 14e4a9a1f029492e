//! Who has a ticket open, as staff see it.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use ticketwire::domain::account::Role;
use tokio::time;

use crate::harness::{
    Client, EventStream, Socket, TestServer,
    client::{Reply, Ticket},
};

/// The longest that a test waits for a message of a stream.
const TIMEOUT: Duration = Duration::from_secs(20);
const WATCH: &str = "subscription($id: ID!) { ticketPresence(ticketId: $id) {
    people { activity account { name } } } }";
const SET: &str = "mutation($input: SetTicketPresenceInput!) { setTicketPresence(input: $input) {
    userErrors { code } } }";

async fn try_set(client: &Client, ticket: &str, activity: Value) -> Reply {
    client.send(SET, json!({ "input": { "ticketId": ticket, "activity": activity } })).await
}

async fn set(client: &Client, ticket: &Ticket, activity: Value) {
    let reply = try_set(client, &ticket.id, activity).await;
    assert_eq!(reply.user_errors("setTicketPresence"), [] as [&str; 0], "{}", reply.body);
}

async fn watch(client: &Client, ticket: &Ticket) -> Socket {
    let mut socket = client.socket().await;
    socket.subscribe("presence", WATCH, json!({ "id": ticket.id })).await;
    socket
}

/// The people of a message, such as `Boris READING`.
fn people(message: &Value) -> Vec<String> {
    let person = |person: &Value| {
        let name = person["account"]["name"].as_str().unwrap();
        format!("{name} {}", person["activity"].as_str().unwrap())
    };
    message["people"].as_array().unwrap().iter().map(person).collect()
}

async fn next(socket: &mut Socket) -> Vec<String> {
    people(&socket.item().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_see_who_reads_and_who_writes_on_every_node() {
    let server = TestServer::start().await;
    let second = server.second_node().await;
    server.listening(2).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let marta = server.sign_up("Marta", Role::Admin).await.at(&second.address().to_string());
    let ticket = anna.create_ticket("The site is down").await;
    let other = anna.create_ticket("Another").await;
    let mut here = watch(&boris, &ticket).await;
    let mut there = watch(&marta, &ticket).await;
    let mut elsewhere = watch(&marta, &other).await;
    for socket in [&mut here, &mut there, &mut elsewhere] {
        assert_eq!(next(socket).await, [] as [&str; 0]);
    }
    set(&boris, &ticket, json!("READING")).await;
    assert_eq!(next(&mut there).await, ["Boris READING"]);
    assert_eq!(next(&mut here).await, ["Boris READING"]);
    set(&marta, &ticket, json!("READING")).await;
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, ["Boris READING", "Marta READING"]);
    }
    set(&boris, &ticket, json!("WRITING")).await;
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, ["Boris WRITING", "Marta READING"]);
    }
    // Each message shows the people as they are then.
    let rename = "mutation($id: ID!) { updateAccount(input: { id: $id, name: \"Boris B.\" }) {
        userErrors { code } } }";
    marta.ok(rename, json!({ "id": boris.account_id().await })).await;
    let before = server.content().await;
    set(&marta, &ticket, json!("WRITING")).await;
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, ["Boris B. WRITING", "Marta WRITING"]);
    }
    // Who stops writing is shown as reading within five seconds.
    set(&marta, &ticket, json!("READING")).await;
    server.clock.advance(TimeDelta::seconds(5));
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, ["Boris B. WRITING", "Marta READING"]);
    }
    // Who comes later sees the current state first.
    let mut later = watch(&marta, &ticket).await;
    assert_eq!(next(&mut later).await, ["Boris B. WRITING", "Marta READING"]);
    set(&boris, &ticket, json!("READING")).await;
    for socket in [&mut here, &mut there, &mut later] {
        assert_eq!(next(socket).await, ["Boris B. READING", "Marta READING"]);
    }
    set(&boris, &ticket, Value::Null).await;
    for socket in [&mut here, &mut there, &mut later] {
        assert_eq!(next(socket).await, ["Marta READING"]);
    }
    set(&boris, &other, json!("READING")).await;
    assert_eq!(next(&mut elsewhere).await, ["Boris B. READING"]);
    assert_eq!(server.content().await, before);
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_later_learns_who_is_there_from_the_next_calls() {
    let server = TestServer::start().await;
    server.listening(1).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    set(&boris, &ticket, json!("READING")).await;
    let second = server.second_node().await;
    server.listening(2).await;
    let mut there = watch(&boris.at(&second.address().to_string()), &ticket).await;
    assert_eq!(next(&mut there).await, [] as [&str; 0]);
    server.clock.advance(TimeDelta::seconds(5));
    set(&boris, &ticket, json!("READING")).await;
    assert_eq!(next(&mut there).await, ["Boris READING"]);
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_says_nothing_for_fifteen_seconds_is_gone_on_every_node() {
    let server = TestServer::start().await;
    let second = server.second_node().await;
    server.listening(2).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let marta = server.agent("Marta").await;
    let ticket = anna.create_ticket("The site is down").await;
    let mut here = watch(&boris, &ticket).await;
    let mut there = watch(&boris.at(&second.address().to_string()), &ticket).await;
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, [] as [&str; 0]);
    }
    set(&boris, &ticket, json!("WRITING")).await;
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, ["Boris WRITING"]);
    }
    server.clock.advance(TimeDelta::seconds(10));
    set(&marta, &ticket, json!("READING")).await;
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, ["Boris WRITING", "Marta READING"]);
    }
    server.clock.advance(TimeDelta::seconds(6));
    for socket in [&mut here, &mut there] {
        assert_eq!(next(socket).await, ["Marta READING"]);
    }
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_announced_once_in_five_seconds_while_nothing_changes() {
    let server = TestServer::start().await;
    let second = server.second_node().await;
    server.listening(2).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    let other = anna.create_ticket("Another").await;
    let elsewhere = boris.at(&second.address().to_string());
    let mut there = watch(&elsewhere, &ticket).await;
    assert_eq!(next(&mut there).await, [] as [&str; 0]);
    let mut heard = server.database.listen("ticketwire_presence").await;

    join_all((0..20).map(|_| set(&boris, &ticket, json!("READING")))).await;
    assert_eq!(next(&mut there).await, ["Boris READING"]);
    // The other node has heard of it.
    set(&elsewhere, &ticket, json!("READING")).await;
    assert_eq!(heard.until_now().await.len(), 1);
    // A change, and another ticket, are announced at once.
    set(&boris, &ticket, json!("WRITING")).await;
    set(&boris, &ticket, json!("WRITING")).await;
    set(&boris, &other, json!("READING")).await;
    assert_eq!(heard.until_now().await.len(), 2);
    server.clock.advance(TimeDelta::seconds(5));
    set(&boris, &ticket, json!("WRITING")).await;
    set(&boris, &ticket, json!("WRITING")).await;
    assert_eq!(heard.until_now().await.len(), 1);
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_of_a_person_do_not_work_against_each_other() {
    let server = TestServer::start().await;
    server.listening(1).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    let mut stream = watch(&boris, &ticket).await;
    assert_eq!(next(&mut stream).await, [] as [&str; 0]);
    let mut heard = server.database.listen("ticketwire_presence").await;
    let set_in = async |tab: &str, activity: Value| {
        let input = json!({ "ticketId": ticket.id, "activity": activity, "clientId": tab });
        boris.send(SET, json!({ "input": input })).await
    };
    for _ in 0..20 {
        set_in("one", json!("WRITING")).await;
        set_in("two", json!("READING")).await;
    }
    assert_eq!(next(&mut stream).await, ["Boris WRITING"]);
    assert_eq!(heard.until_now().await.len(), 2);
    set_in("one", Value::Null).await;
    assert_eq!(next(&mut stream).await, ["Boris READING"]);
    set_in("two", Value::Null).await;
    assert_eq!(next(&mut stream).await, [] as [&str; 0]);
    let reply = set_in(&"a".repeat(65), json!("READING")).await;
    assert_eq!(reply.user_errors("setTicketPresence"), ["TOO_LONG"]);
    assert_eq!(
        set_in(&"й".repeat(64), json!("READING")).await.user_errors("setTicketPresence"),
        [] as [&str; 0]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alternating_activities_are_announced_once_in_five_seconds() {
    let server = TestServer::start().await;
    server.listening(1).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    let mut heard = server.database.listen("ticketwire_presence").await;
    for _ in 0..20 {
        set(&boris, &ticket, json!("WRITING")).await;
        set(&boris, &ticket, json!("READING")).await;
    }
    assert_eq!(heard.until_now().await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_staff_see_and_set_who_has_a_ticket_open() {
    let server = TestServer::start().await;
    server.listening(1).await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    let category = crate::harness::client::SALES;
    let unknown = "VGlja2V0OjAxOTlhMDAwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDBmZg";
    let anonymous = server.anonymous();
    for (client, id, code) in [
        (&anna, ticket.id.as_str(), "FORBIDDEN"),
        (&anna, unknown, "FORBIDDEN"),
        (&anonymous, &ticket.id, "UNAUTHENTICATED"),
        (&boris, unknown, "NOT_FOUND"),
        (&boris, category, "NOT_FOUND"),
        (&boris, "nonsense", "NOT_FOUND"),
    ] {
        assert_eq!(try_set(client, id, json!("READING")).await.code(), code, "{id}");
        let mut stream = client.stream(WATCH, json!({ "id": id })).await;
        assert_eq!(stream.last_error().await, code, "{id}");
    }
    for client in [&anna, &boris] {
        let mut socket = client.socket().await;
        socket.subscribe("presence", WATCH, json!({ "id": unknown })).await;
        assert_eq!(socket.message().await["type"], "error");
    }
    server.stop().await;
}

async fn streamed(stream: &mut EventStream) -> Vec<String> {
    // Heartbeats go on although nothing is sent.
    let event = time::timeout(TIMEOUT, stream.event()).await.expect("an event in time");
    let response = event.expect("an event").response();
    people(&response["data"]["ticketPresence"])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_out_or_loses_access_disappears_and_watches_no_longer() {
    let server = TestServer::start().await;
    let second = server.second_node().await;
    server.listening(2).await;
    let (anna, ilya) = (server.customer("Anna").await, server.sign_up("Ilya", Role::Admin).await);
    let ticket = anna.create_ticket("The site is down").await;
    let (boris, marta) = (server.agent("Boris").await, server.agent("Marta").await);
    let olga = server.agent("Olga").await.at(&second.address().to_string());
    let mut stream = ilya.stream(WATCH, json!({ "id": ticket.id })).await;
    assert_eq!(streamed(&mut stream).await, [] as [&str; 0]);
    let mut sockets = Vec::new();
    for client in [&boris, &marta, &olga] {
        let mut socket = watch(client, &ticket).await;
        next(&mut socket).await;
        set(client, &ticket, json!("WRITING")).await;
        streamed(&mut stream).await;
        sockets.push(socket);
    }
    let ids = [marta.account_id().await, olga.account_id().await];
    boris.ok("mutation { signOut { signedOut } }", json!({})).await;
    assert_eq!(streamed(&mut stream).await, ["Marta WRITING", "Olga WRITING"]);
    let demote = "mutation($id: ID!) { setAccountRole(input: { id: $id, role: CUSTOMER }) {
        userErrors { code } } }";
    ilya.ok(demote, json!({ "id": ids[0] })).await;
    assert_eq!(streamed(&mut stream).await, ["Olga WRITING"]);
    let disable =
        "mutation($id: ID!) { disableAccount(input: { id: $id }) { userErrors { code } } }";
    ilya.ok(disable, json!({ "id": ids[1] })).await;
    assert_eq!(streamed(&mut stream).await, [] as [&str; 0]);
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 4401);
    }
    for client in [&boris, &marta, &olga] {
        let reply = try_set(client, &ticket.id, json!("WRITING")).await;
        assert_eq!(reply.code(), "UNAUTHENTICATED");
    }
    second.stop().await;
    server.stop().await;
}
