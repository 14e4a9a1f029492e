//! Writing on a ticket only if nobody else has commented since it was read.

use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::harness::{Client, Reply, TestServer, client::Ticket};

const FIELDS: &str =
    "answeredMeanwhile { id body } ticket { id version } userErrors { field code }";

async fn comment(client: &Client, ticket: &Ticket, mut input: Value) -> Reply {
    let document = "mutation($input: AddCommentInput!) { addComment(input: $input) { comment { id } FIELDS } }";
    input["ticketId"] = json!(ticket.id);
    client.send(&document.replace("FIELDS", FIELDS), json!({ "input": input })).await
}

async fn update(client: &Client, ticket: &Ticket, mut input: Value) -> Reply {
    let document =
        "mutation($input: UpdateTicketInput!) { updateTicket(input: $input) { FIELDS } }";
    input["ticketId"] = json!(ticket.id);
    client.send(&document.replace("FIELDS", FIELDS), json!({ "input": input })).await
}

fn bodies(comments: &Value) -> Vec<&str> {
    comments.as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_said_meanwhile_is_returned_instead_of_writing() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let seen = marta.last_event(&ticket).await;
    anna.comment(&ticket, "It is urgent.").await;
    anna.comment(&ticket, "Very urgent.").await;
    let before = server.content().await;
    let said = ["It is urgent.", "Very urgent."];
    let input = json!({ "body": "Is it urgent?", "seenUpTo": seen, "idempotencyKey": "k" });
    let reply = comment(&marta, &ticket, input).await;
    assert_eq!(reply.user_errors("addComment"), ["ANSWERED_MEANWHILE"]);
    assert_eq!(bodies(reply.at("/data/addComment/answeredMeanwhile")), said);
    assert_eq!(*reply.at("/data/addComment/comment"), Value::Null);
    assert_eq!(reply.at("/data/addComment/ticket/id"), &json!(ticket.id));
    for changes in
        [json!({ "status": "RESOLVED" }), json!({ "assigneeId": marta.account_id().await })]
    {
        let mut changes = changes;
        changes["seenUpTo"] = seen.clone();
        let reply = update(&marta, &ticket, changes).await;
        assert_eq!(reply.user_errors("updateTicket"), ["ANSWERED_MEANWHILE"]);
        assert_eq!(bodies(reply.at("/data/updateTicket/answeredMeanwhile")), said);
    }
    assert_eq!(server.content().await, before);
    // Who has read them can write.
    let seen = marta.last_event(&ticket).await;
    let reply = comment(&marta, &ticket, json!({ "body": "At once.", "seenUpTo": seen })).await;
    assert_eq!(reply.user_errors("addComment"), [] as [&str; 0]);
    assert_eq!(*reply.at("/data/addComment/answeredMeanwhile"), json!([]));
    // What one says oneself, and changes, are no answers.
    let reply = update(&marta, &ticket, json!({ "priority": "HIGH", "seenUpTo": seen })).await;
    assert_eq!(reply.user_errors("updateTicket"), [] as [&str; 0]);
    let reply = comment(&marta, &ticket, json!({ "body": "Done.", "seenUpTo": seen })).await;
    assert_eq!(reply.user_errors("addComment"), [] as [&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_what_was_said_meanwhile_names_the_last_comment_of_it() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (ticket, other) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    let seen = marta.last_event(&ticket).await;
    anna.comment(&ticket, "It is urgent.").await;
    let input = json!({ "body": "At once.", "seenUpTo": seen, "idempotencyKey": "k" });
    let reply = comment(&marta, &ticket, input.clone()).await;
    let read = reply.at("/data/addComment/answeredMeanwhile/0/id");
    anna.comment(&ticket, "Very urgent.").await;
    let again = json!({ "body": "At once.", "seenUpTo": read, "idempotencyKey": "k" });
    let reply = comment(&marta, &ticket, again).await;
    assert_eq!(reply.user_errors("addComment"), ["ANSWERED_MEANWHILE"]);
    let said = reply.at("/data/addComment/answeredMeanwhile");
    assert_eq!(bodies(said), ["Very urgent."]);
    let last = &said[0]["id"];
    let again = json!({ "body": "At once.", "seenUpTo": last, "idempotencyKey": "k" });
    for _ in 0..2 {
        let reply = comment(&marta, &ticket, again.clone()).await;
        assert_eq!(reply.user_errors("addComment"), [] as [&str; 0]);
    }
    let reply = update(&marta, &ticket, json!({ "status": "RESOLVED", "seenUpTo": last })).await;
    assert_eq!(reply.user_errors("updateTicket"), [] as [&str; 0]);
    // What was redacted was seen all the same.
    let redact =
        "mutation($id: ID!) { redactComment(input: { commentId: $id }) { userErrors { code } } }";
    let redacted = server.sign_up("Ada", Role::Admin).await.ok(redact, json!({ "id": last })).await;
    assert_eq!(redacted["redactComment"]["userErrors"], json!([]));
    let reply = update(&marta, &ticket, json!({ "priority": "HIGH", "seenUpTo": last })).await;
    assert_eq!(reply.user_errors("updateTicket"), [] as [&str; 0]);
    // Nobody learns of comments that they may not see.
    let (note, _) = marta.note(&ticket, "A secret.").await;
    let (elsewhere, _) = anna.comment(&other, "Elsewhere.").await;
    for unknown in [json!(note), json!(elsewhere), json!(ticket.id)] {
        let reply = comment(&anna, &ticket, json!({ "body": "x", "seenUpTo": unknown })).await;
        assert_eq!(reply.user_errors("addComment"), ["NOT_FOUND"], "{unknown}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_agents_who_answer_at_once_one_reads_the_other_first() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let (marta, ilya) = (server.agent("Marta").await, server.agent("Ilya").await);
    let ticket = anna.create_ticket("one").await;
    for round in 0..100 {
        let seen = marta.last_event(&ticket).await;
        let answer = |name: &str| json!({ "body": format!("{name} {round}"), "seenUpTo": seen });
        let (of_marta, of_ilya) = tokio::join!(
            comment(&marta, &ticket, answer("Marta")),
            comment(&ilya, &ticket, answer("Ilya")),
        );
        let marta_was_first = of_marta.user_errors("addComment").is_empty();
        let (first, refused) =
            if marta_was_first { ("Marta", of_ilya) } else { ("Ilya", of_marta) };
        assert_eq!(refused.user_errors("addComment"), ["ANSWERED_MEANWHILE"], "{round}");
        let said = refused.at("/data/addComment/answeredMeanwhile");
        assert_eq!(bodies(said), [format!("{first} {round}")], "{round}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_and_events_that_a_customer_may_not_see_are_no_answers_to_them() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (ticket, other) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    let seen = anna.last_event(&ticket).await;
    marta.note(&ticket, "A secret.").await;
    let note = marta.last_event(&ticket).await;
    let reply = comment(&anna, &ticket, json!({ "body": "Hello?", "seenUpTo": seen })).await;
    assert_eq!(reply.user_errors("addComment"), [] as [&str; 0]);
    let elsewhere = anna.last_event(&other).await;
    for unknown in [note, elsewhere, json!("nonsense")] {
        let reply = comment(&anna, &ticket, json!({ "body": "x", "seenUpTo": unknown })).await;
        assert_eq!(reply.user_errors("addComment"), ["NOT_FOUND"], "{unknown}");
        assert_eq!(*reply.at("/data/addComment/answeredMeanwhile"), json!([]));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_twenty_comments_of_others_are_returned() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    let seen = marta.last_event(&ticket).await;
    for n in 0..22 {
        anna.comment(&ticket, &format!("{n}")).await;
    }
    let reply = comment(&marta, &ticket, json!({ "body": "x", "seenUpTo": seen })).await;
    let said = reply.at("/data/addComment/answeredMeanwhile").as_array().unwrap();
    assert_eq!((said.len(), &said[19]["body"]), (20, &json!("19")));
    server.stop().await;
}
