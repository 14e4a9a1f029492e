//! Merging tickets, and undoing it.

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use ticketwire::domain::account::Role;

use crate::harness::{
    Client, TestServer,
    client::{Reply, SALES, Ticket},
    mail::MailFixture,
};

const MERGE: &str = "mutation($input: MergeTicketInput!) { mergeTicket(input: $input) {
    ticket { number status mergedAt mergedInto { number } }
    into { number status mergedTickets { number } }
    userErrors { field code message } } }";
const UNMERGE: &str = "mutation($input: UnmergeTicketInput!) { unmergeTicket(input: $input) {
    ticket { number status mergedAt mergedInto { number } waitingSince assignee { name } }
    userErrors { field code message } } }";
const WAITING: &str = "query($id: ID!) { node(id: $id) { ... on Ticket { waitingSince } } }";
const UNKNOWN: &str = "VGlja2V0OjAxOTlhMDAwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDBmZg";

async fn try_merge(client: &Client, ticket: &str, into: &str) -> Reply {
    client.send(MERGE, json!({ "input": { "ticketId": ticket, "intoId": into } })).await
}

async fn merge(client: &Client, ticket: &Ticket, into: &Ticket) -> Value {
    let reply = try_merge(client, &ticket.id, &into.id).await;
    assert_eq!(reply.user_errors("mergeTicket"), [] as [&str; 0], "{}", reply.body);
    reply.at("/data/mergeTicket").clone()
}

async fn try_unmerge(client: &Client, ticket: &str) -> Reply {
    client.send(UNMERGE, json!({ "input": { "ticketId": ticket } })).await
}

async fn unmerge(client: &Client, ticket: &Ticket) -> Value {
    let reply = try_unmerge(client, &ticket.id).await;
    assert_eq!(reply.user_errors("unmergeTicket"), [] as [&str; 0], "{}", reply.body);
    reply.at("/data/unmergeTicket/ticket").clone()
}

/// The field, code and message of the only user error of a mutation.
fn rejection(reply: &Reply, mutation: &str) -> (String, String, String) {
    let errors = reply.at(&format!("/data/{mutation}/userErrors")).as_array();
    let errors = errors.unwrap_or_else(|| panic!("{}", reply.body));
    assert_eq!(errors.len(), 1, "{}", reply.body);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&errors[0]["field"][0]), text(&errors[0]["code"]), text(&errors[0]["message"]))
}

/// What a client sees of a ticket and its merges.
async fn shown(client: &Client, ticket: &Ticket) -> Value {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { status
        mergedInto { number } mergedTickets { number } } } }";
    client.ok(query, json!({ "id": ticket.id })).await["node"].clone()
}

/// The events of a ticket after its opening, those of merges with the tickets that the client sees.
async fn history(client: &Client, ticket: &Ticket) -> Vec<String> {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { timeline(first: 100) { nodes {
        __typename
        ... on TicketMerged { from { number } into { number } }
        ... on TicketUnmerged { from { number } into { number } } } } } } }";
    let data = client.ok(query, json!({ "id": ticket.id })).await;
    let nodes = data["node"]["timeline"]["nodes"].as_array().unwrap();
    nodes[1..].iter().map(described).collect()
}

fn described(event: &Value) -> String {
    let name = event["__typename"].as_str().unwrap();
    let number = |field: &str| event[field]["number"].as_str().unwrap_or("-").to_owned();
    match name {
        "TicketMerged" | "TicketUnmerged" => {
            format!("{name} {} {}", number("from"), number("into"))
        }
        name => name.to_owned(),
    }
}

async fn open_invitations(client: &Client, ticket: &Ticket) -> Vec<String> {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { invitations { email } } } }";
    let data = client.ok(query, json!({ "id": ticket.id })).await;
    let found = data["node"]["invitations"].as_array().unwrap();
    found.iter().map(|it| it["email"].as_str().unwrap().to_owned()).collect()
}

/// Accepts the only invitation of a customer.
async fn accept(client: &Client) -> Reply {
    let viewer = client.ok("{ viewer { invitations { id } } }", json!({})).await;
    let invitations = viewer["viewer"]["invitations"].as_array().unwrap();
    assert_eq!(invitations.len(), 1, "{viewer}");
    client.try_accept(invitations[0]["id"].as_str().unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_ticket_is_closed_and_its_customers_are_invited_to_the_other() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (carl, dora) = (server.customer("Carl").await, server.customer("Dora").await);
    let ticket = anna.create_ticket("The site is down").await;
    let into = dora.create_ticket("The site does not open").await;
    anna.share(&ticket, &carl).await;
    let merged = merge(&boris, &ticket, &into).await;
    assert!(merged["ticket"]["mergedAt"].is_string());
    let (own, other) = (json!({ "number": ticket.number }), json!({ "number": into.number }));
    assert_eq!(
        (&merged["ticket"]["status"], &merged["ticket"]["mergedInto"]),
        (&json!("CLOSED"), &other)
    );
    assert_eq!(
        (&merged["into"]["status"], &merged["into"]["mergedTickets"]),
        (&json!("WAITING_FOR_SUPPORT"), &json!([own]))
    );
    assert_eq!(open_invitations(&boris, &into).await, ["anna@example.com", "carl@example.com"]);

    // The customers of each ticket see nothing of the other one before they take part in it.
    assert_eq!(open_invitations(&dora, &into).await, [] as [&str; 0]);
    let hidden = json!({ "status": "CLOSED", "mergedInto": null, "mergedTickets": [] });
    assert_eq!(shown(&anna, &ticket).await, hidden);
    let hidden =
        json!({ "status": "WAITING_FOR_SUPPORT", "mergedInto": null, "mergedTickets": [] });
    assert_eq!(shown(&dora, &into).await, hidden);
    let (from_number, number) = (&ticket.number, &into.number);
    let shared = ["ParticipantInvited", "ParticipantAdded"].map(str::to_owned);
    let tail = |merged: String| [&shared[..], &[merged, "StatusChanged".to_owned()]].concat();
    let invited = ["ParticipantInvited", "ParticipantInvited"].map(str::to_owned);
    let head = |merged: String| [&[merged][..], &invited[..]].concat();
    assert_eq!(
        history(&boris, &ticket).await,
        tail(format!("TicketMerged {from_number} {number}"))
    );
    assert_eq!(history(&boris, &into).await, head(format!("TicketMerged {from_number} {number}")));
    assert_eq!(history(&carl, &ticket).await, tail(format!("TicketMerged {from_number} -")));
    assert_eq!(history(&dora, &into).await, head(format!("TicketMerged - {number}")));

    let accepted = accept(&anna).await;
    assert_eq!(accepted.at("/data/acceptInvitation/ticket/number"), &json!(number));
    assert_eq!(shown(&anna, &ticket).await["mergedInto"], other);
    assert_eq!(shown(&anna, &into).await["mergedTickets"], json!([own]));
    anna.comment(&into, "It is still down.").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_invited_who_takes_part_is_invited_has_declined_or_cannot_sign_in() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (carl, dora) = (server.customer("Carl").await, server.customer("Dora").await);
    let (emil, fred) = (server.customer("Emil").await, server.customer("Fred").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let ticket = anna.create_ticket("The site is down").await;
    let into = anna.create_ticket("The site does not open").await;
    for customer in [&carl, &dora, &emil, &fred] {
        anna.share(&ticket, customer).await;
    }
    anna.share(&into, &carl).await;
    anna.invite(&into, "dora@example.com").await;
    let declined = anna.invite(&into, "emil@example.com").await;
    let decline = "mutation($id: ID!) { declineInvitation(input: { invitationId: $id }) {
        userErrors { code } } }";
    emil.ok(decline, json!({ "id": declined })).await;
    let disable =
        "mutation($id: ID!) { disableAccount(input: { id: $id }) { userErrors { code } } }";
    ilya.ok(disable, json!({ "id": fred.account_id().await })).await;
    let before = history(&boris, &into).await;
    merge(&boris, &ticket, &into).await;
    assert_eq!(open_invitations(&boris, &into).await, ["dora@example.com"]);
    let merged = format!("TicketMerged {} {}", ticket.number, into.number);
    assert_eq!(history(&boris, &into).await, [&before[..], &[merged]].concat());
    // Who was invited before stays invited.
    unmerge(&boris, &ticket).await;
    assert_eq!(open_invitations(&boris, &into).await, ["dora@example.com"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_ticket_refuses_everything_and_names_the_one_in_which_it_continues() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    let middle = anna.create_ticket("The site does not open").await;
    let last = anna.create_ticket("Nothing opens").await;
    merge(&boris, &ticket, &middle).await;
    let check = async |number: &str| {
        for client in [&anna, &boris] {
            let refused = [
                (client.try_comment(&ticket, json!({ "body": "Hello?" })).await, "addComment"),
                (client.try_update(&ticket, json!({ "status": "RESOLVED" })).await, "updateTicket"),
                (client.try_invite(&ticket.id, "x@example.com").await, "inviteParticipant"),
            ];
            for (reply, mutation) in &refused {
                let (_, code, message) = rejection(reply, mutation);
                assert_eq!(code, "TICKET_MERGED", "{mutation}");
                assert!(message.contains(number), "{message}");
            }
        }
        let bulk = "mutation($input: UpdateTicketsInput!) { updateTickets(input: $input) {
            results { userErrors { field code message } } } }";
        let input = json!({ "ticketIds": [ticket.id], "status": "RESOLVED" });
        let data = boris.ok(bulk, json!({ "input": input })).await;
        let error = &data["updateTickets"]["results"][0]["userErrors"][0];
        assert_eq!(error["code"], "TICKET_MERGED", "{data}");
        assert_eq!(error["field"], json!(["ticketIds"]));
        assert!(error["message"].as_str().unwrap().contains(number), "{data}");
    };
    check(&middle.number).await;
    // A chain leads to its end.
    merge(&boris, &middle, &last).await;
    check(&last.number).await;
    assert_eq!(shown(&boris, &ticket).await["mergedInto"]["number"], json!(middle.number));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_waits_for_support_if_one_that_waits_is_merged_into_it() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let first = anna.create_ticket("The first").await;
    let since = "query($n: String!) { ticket(number: $n) { status waitingSince } }";
    let waits = async |ticket: &Ticket| {
        let data = boris.ok(since, json!({ "n": ticket.number })).await;
        (data["ticket"]["status"].clone(), data["ticket"]["waitingSince"].clone())
    };
    let (_, waiting_since) = waits(&first).await;
    for status in ["RESOLVED", "WAITING_FOR_CUSTOMER"] {
        server.clock.advance(TimeDelta::hours(1));
        let into = anna.create_ticket(status).await;
        boris.update(&into, json!({ "status": status })).await;
        merge(&boris, &first, &into).await;
        assert_eq!(waits(&into).await, (json!("WAITING_FOR_SUPPORT"), waiting_since.clone()));
        assert_eq!(history(&boris, &into).await.last().unwrap(), "StatusChanged");
        unmerge(&boris, &first).await;
    }
    // The longer of two waits counts.
    let later = anna.create_ticket("later").await;
    merge(&boris, &first, &later).await;
    assert_eq!(waits(&later).await, (json!("WAITING_FOR_SUPPORT"), waiting_since.clone()));
    server.clock.advance(TimeDelta::hours(1));
    let last = anna.create_ticket("last").await;
    merge(&boris, &last, &later).await;
    assert_eq!(waits(&later).await, (json!("WAITING_FOR_SUPPORT"), waiting_since));
    // One that does not wait changes nothing.
    let (done, into) = (anna.create_ticket("done").await, anna.create_ticket("other").await);
    for ticket in [&done, &into] {
        boris.update(ticket, json!({ "status": "RESOLVED" })).await;
    }
    merge(&boris, &done, &into).await;
    assert_eq!(waits(&into).await.0, "RESOLVED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_merged_is_refused_with_what_to_do() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (a, b) = (anna.create_ticket("a").await, anna.create_ticket("b").await);
    let (c, d) = (anna.create_ticket("c").await, anna.create_ticket("d").await);
    let closed = anna.create_ticket("closed").await;
    boris.update(&closed, json!({ "status": "CLOSED" })).await;
    merge(&boris, &a, &b).await;
    merge(&boris, &b, &c).await;
    let before = server.content().await;
    for (ticket, into, field, code, named) in [
        (&d.id, d.id.as_str(), "intoId", "INVALID", "itself"),
        (&d.id, UNKNOWN, "intoId", "NOT_FOUND", "number"),
        (&d.id, SALES, "intoId", "NOT_FOUND", "number"),
        (&d.id, &closed.id, "intoId", "TICKET_CLOSED", &closed.number),
        (&a.id, &d.id, "ticketId", "TICKET_MERGED", &c.number),
        (&a.id, &b.id, "ticketId", "TICKET_MERGED", &c.number),
        (&d.id, &a.id, "intoId", "TICKET_MERGED", &format!("Merge into {}", c.number)),
        (&d.id, &b.id, "intoId", "TICKET_MERGED", &format!("Merge into {}", c.number)),
        (&c.id, &a.id, "intoId", "TICKET_MERGED", "nothing left to merge"),
        (&c.id, &b.id, "intoId", "TICKET_MERGED", "nothing left to merge"),
    ] {
        let reply = try_merge(&boris, ticket, into).await;
        assert_eq!(reply.at("/data/mergeTicket/ticket"), &Value::Null);
        let (of, with, message) = rejection(&reply, "mergeTicket");
        assert_eq!((of.as_str(), with.as_str()), (field, code), "{message}");
        assert!(message.contains(named), "{message}");
    }
    for id in [UNKNOWN, SALES, "nonsense"] {
        assert_eq!(try_merge(&boris, id, &d.id).await.code(), "NOT_FOUND");
        assert_eq!(try_unmerge(&boris, id).await.code(), "NOT_FOUND");
    }
    for (client, code) in [(&anna, "FORBIDDEN"), (&server.anonymous(), "UNAUTHENTICATED")] {
        assert_eq!(try_merge(client, &d.id, &c.id).await.code(), code);
        assert_eq!(try_unmerge(client, &a.id).await.code(), code);
    }
    let (field, code, _) = rejection(&try_unmerge(&boris, &d.id).await, "unmergeTicket");
    assert_eq!((field.as_str(), code.as_str()), ("ticketId", "INVALID"));
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_would_leave_too_many_participants_changes_nothing() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (carl, dora) = (server.customer("Carl").await, server.customer("Dora").await);
    let ticket = anna.create_ticket("The site is down").await;
    let into = dora.create_ticket("The site does not open").await;
    anna.share(&ticket, &carl).await;
    let database = server.database.connect().await;
    let fill = "INSERT INTO ticket_invitations
            (id, ticket_id, email, invited_by, created_at, expires_at)
        SELECT gen_random_uuid(), t.id, 'person' || n || '@example.com', t.reporter_id,
               t.created_at, t.created_at + interval '14 days'
        FROM tickets t, generate_series(1, $1) n WHERE t.summary = 'The site does not open'";
    database.execute(fill, &[&49]).await.unwrap();
    let before = server.content().await;
    let (field, code, _) = rejection(&try_merge(&boris, &ticket.id, &into.id).await, "mergeTicket");
    assert_eq!((field.as_str(), code.as_str()), ("", "TOO_MANY"));
    assert_eq!(server.content().await, before);
    let withdraw = "DELETE FROM ticket_invitations WHERE email = 'person1@example.com'";
    database.execute(withdraw, &[]).await.unwrap();
    merge(&boris, &ticket, &into).await;
    assert_eq!(open_invitations(&boris, &into).await.len(), 50);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_undone_within_a_day() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (carl, dora) = (server.customer("Carl").await, server.customer("Dora").await);
    let ticket = anna.create_ticket("The site is down").await;
    let into = dora.create_ticket("The site does not open").await;
    anna.share(&ticket, &carl).await;
    let waiting = boris.ok(WAITING, json!({ "id": ticket.id })).await["node"].clone();
    merge(&boris, &ticket, &into).await;
    accept(&carl).await;
    server.clock.advance(TimeDelta::hours(23));
    let ticket_again = unmerge(&boris, &ticket).await;
    assert_eq!(
        ticket_again,
        json!({
            "number": ticket.number, "status": "WAITING_FOR_SUPPORT", "mergedAt": null,
            "mergedInto": null, "waitingSince": waiting["waitingSince"], "assignee": null
        })
    );
    let undone = format!("TicketUnmerged {} {}", ticket.number, into.number);
    let events = history(&boris, &ticket).await;
    assert_eq!(events[events.len() - 2..], [undone.clone(), "StatusChanged".into()]);
    let events = history(&boris, &into).await;
    assert_eq!(events[events.len() - 2..], [undone, "InvitationWithdrawn".into()]);
    // Who has accepted stays; who has not is no longer invited.
    assert_eq!(open_invitations(&boris, &into).await, [] as [&str; 0]);
    carl.comment(&into, "Me too.").await;
    let hidden = anna.send(WAITING, json!({ "id": into.id })).await;
    assert_eq!(hidden.at("/data/node"), &Value::Null);
    anna.comment(&ticket, "It is still down.").await;
    let (_, code, _) = rejection(&try_unmerge(&boris, &ticket.id).await, "unmergeTicket");
    assert_eq!(code, "INVALID");

    merge(&boris, &ticket, &into).await;
    server.clock.advance(TimeDelta::hours(24));
    let before = server.content().await;
    let (field, code, message) = rejection(&try_unmerge(&boris, &ticket.id).await, "unmergeTicket");
    assert_eq!((field.as_str(), code.as_str()), ("ticketId", "TOO_LATE"), "{message}");
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_into_a_ticket_that_closed_since_is_undone_too() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (marta, ilya) = (server.agent("Marta").await, server.sign_up("Ilya", Role::Admin).await);
    let ticket = anna.create_ticket("The site is down").await;
    let into = anna.create_ticket("The site does not open").await;
    boris.update(&ticket, json!({ "assigneeId": marta.account_id().await })).await;
    boris.update(&ticket, json!({ "status": "WORKING_ON_IT" })).await;
    merge(&boris, &ticket, &into).await;
    boris.update(&into, json!({ "status": "CLOSED" })).await;
    let disable =
        "mutation($id: ID!) { disableAccount(input: { id: $id }) { userErrors { code } } }";
    ilya.ok(disable, json!({ "id": marta.account_id().await })).await;
    let unmerged = unmerge(&boris, &ticket).await;
    assert_eq!(
        (&unmerged["status"], &unmerged["assignee"]),
        (&json!("WORKING_ON_IT"), &json!(null))
    );
    assert_eq!(shown(&boris, &into).await["status"], "CLOSED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_accept_yet_is_invited_to_the_next_ticket_of_a_chain() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (carl, dora) = (server.customer("Carl").await, server.customer("Dora").await);
    let ticket = anna.create_ticket("The site is down").await;
    let middle = carl.create_ticket("The site does not open").await;
    let last = dora.create_ticket("Nothing opens").await;
    merge(&boris, &ticket, &middle).await;
    merge(&boris, &middle, &last).await;
    assert_eq!(open_invitations(&boris, &last).await, ["anna@example.com", "carl@example.com"]);
    let accepted = accept(&anna).await;
    assert_eq!(accepted.at("/data/acceptInvitation/ticket/number"), &json!(last.number));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tickets_that_are_merged_into_each_other_at_once_one_remains() {
    let server = TestServer::start().await;
    let second = server.second_node().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let marta = server.agent("Marta").await.at(&second.address().to_string());
    let mut pairs = Vec::new();
    for _ in 0..20 {
        pairs.push((anna.create_ticket("one").await, anna.create_ticket("other").await));
    }
    let merges = pairs.iter().map(async |(one, other)| {
        let merges =
            join(try_merge(&boris, &one.id, &other.id), try_merge(&marta, &other.id, &one.id));
        let (comments, (here, there)) =
            join(anna.try_comment(one, json!({ "body": "Hello?" })), merges).await;
        assert!(comments.body.get("errors").is_none(), "{}", comments.body);
        let codes = [here, there]
            .map(|reply| reply.user_errors("mergeTicket").first().map(|code| (*code).to_owned()));
        let merged = codes.iter().filter(|code| code.is_none()).count();
        let refused = codes.iter().flatten().filter(|code| *code == "TICKET_MERGED").count();
        assert_eq!((merged, refused), (1, 1), "{codes:?}");
        let shown = join(shown(&boris, one), shown(&boris, other)).await;
        let closed = [&shown.0, &shown.1].map(|it| it["status"] == "CLOSED");
        assert!(closed[0] != closed[1], "{shown:?}");
    });
    join_all(merges).await;
    // A ring of tickets: at least one remains open, and each chain ends there.
    let ring = join_all((0..8).map(|_| anna.create_ticket("ring"))).await;
    let merges = (0..8).map(|place| {
        let client = if place % 2 == 0 { &boris } else { &marta };
        try_merge(client, &ring[place].id, &ring[(place + 1) % 8].id)
    });
    for reply in join_all(merges).await {
        let codes = reply.user_errors("mergeTicket");
        assert!(codes.iter().all(|code| *code == "TICKET_MERGED"), "{codes:?}");
    }
    let statuses = join_all(ring.iter().map(|ticket| shown(&boris, ticket))).await;
    assert!(statuses.iter().any(|ticket| ticket["status"] != "CLOSED"), "{statuses:?}");
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_both_tickets_the_inbox_and_the_queue_show_a_merge() {
    const EVENT: &str = "__typename ... on TicketEvent { ticket { number status } }
        ... on TicketMerged { from { number } into { number } }
        ... on TicketUnmerged { from { number } into { number } }";
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let dora = server.customer("Dora").await;
    let ticket = anna.create_ticket("The site is down").await;
    let into = dora.create_ticket("The site does not open").await;
    let (from_number, number) = (&ticket.number, &into.number);
    let of_ticket =
        format!("subscription($id: ID!) {{ ticketEvents(ticketId: $id) {{ {EVENT} }} }}");
    let queue = format!(
        "subscription {{ queueEvents(filter: {{ status: [WAITING_FOR_SUPPORT] }}) {{ {EVENT} }} }}"
    );
    let inbox = format!("subscription {{ inboxEvents {{ {EVENT} }} }}");
    let merged = format!("TicketMerged {from_number} {number}");
    let mut expected = Vec::new();
    for (client, query, id, events) in [
        (&boris, &of_ticket, &ticket.id, vec![merged.clone(), "StatusChanged".into()]),
        (&boris, &of_ticket, &into.id, vec![merged.clone(), "ParticipantInvited".into()]),
        (&boris, &queue, &into.id, vec![merged, "StatusChanged".into()]),
        (
            &anna,
            &inbox,
            &into.id,
            vec![format!("TicketMerged {from_number} -"), "StatusChanged".into()],
        ),
        (
            &dora,
            &inbox,
            &into.id,
            vec![format!("TicketMerged - {number}"), "ParticipantInvited".into()],
        ),
    ] {
        let mut socket = client.socket().await;
        socket.subscribe("1", query, json!({ "id": id })).await;
        assert_eq!(socket.item().await["__typename"], "Checkpoint");
        expected.push((socket, events));
    }
    merge(&boris, &ticket, &into).await;
    for (mut socket, events) in expected {
        for event in events {
            assert_eq!(described(&socket.item().await), event);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_of_a_merge_says_where_the_ticket_continues() {
    let fixture = MailFixture::start().await;
    let (server, anna, boris) = (&fixture.server, &fixture.anna, &fixture.boris);
    let dora = server.customer("Dora").await;
    let ticket = anna.create_ticket("The site is down").await;
    let own = anna.create_ticket("The site does not open").await;
    let into = dora.create_ticket("Nothing opens").await;
    fixture.smtp.received(3).await;

    // To a ticket of the same customer, the link leads at once.
    merge(boris, &ticket, &own).await;
    let mail = fixture.smtp.received(4).await.remove(3);
    let number = &own.number;
    let text = mail.text.replace('\n', " ");
    assert!(mail.subject.contains(&ticket.number), "{}", mail.subject);
    assert!(
        text.contains(&format!("was merged into ticket {number}, where it continues")),
        "{text}"
    );
    assert!(text.contains(&format!("https://portal.example.com/tickets/{number}")), "{text}");
    assert!(!text.contains("New status"), "{text}");

    // To a ticket of others, it leads once they take part.
    let update = "mutation { updatePreferences(input: { locale: RU }) { userErrors { code } } }";
    anna.ok(update, json!({})).await;
    merge(boris, &own, &into).await;
    let mails = fixture.smtp.received(6).await.split_off(4);
    let about = |part: &str| {
        let found = mails.iter().find(|mail| mail.subject.contains(part));
        let mail = found.unwrap_or_else(|| panic!("no mail about {part}"));
        assert_eq!(mail.to, "anna@example.com");
        mail.text.replace('\n', " ")
    };
    let (merged, invited) = (about(&own.number), about(&into.number));
    let number = &into.number;
    assert!(merged.contains(&format!("объединена с заявкой {number}")), "{merged}");
    assert!(merged.contains(&format!("Вас пригласили в заявку {number}")), "{merged}");
    assert!(merged.contains(&format!("https://portal.example.com/tickets/{}", own.number)));
    let reason = format!("Заявка {}, в которой вы участвуете, объединена", own.number);
    assert!(invited.contains(&reason), "{invited}");
    assert!(invited.contains(&format!("https://portal.example.com/tickets/{number}")), "{invited}");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_ticket_is_merged_and_its_customers_hear_of_it() {
    let fixture = MailFixture::start().await;
    let (anna, boris) = (&fixture.anna, &fixture.boris);
    let ticket = anna.create_ticket("The site is down").await;
    let into = anna.create_ticket("The site does not open").await;
    boris.update(&ticket, json!({ "status": "CLOSED" })).await;
    fixture.smtp.received(3).await;
    merge(boris, &ticket, &into).await;
    let mail = fixture.smtp.received(4).await.remove(3);
    assert!(
        mail.text.contains(&format!("was merged into ticket {}", into.number)),
        "{}",
        mail.text
    );
    assert_eq!(unmerge(boris, &ticket).await["status"], "CLOSED");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_ticket_is_found_redacted_and_erased_like_any_other() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let dora = server.customer("Dora").await;
    let ticket = anna.create_ticket("The zeppelin is down").await;
    let into = dora.create_ticket("The site does not open").await;
    let (_, _) = anna.comment(&ticket, "It is still down.").await;
    merge(&boris, &ticket, &into).await;
    server.quiet().await;
    let search = "{ search(text: \"zeppelin\") { nodes { ticket { number } } } }";
    for client in [&anna, &boris] {
        let found = client.ok(search, json!({})).await;
        assert_eq!(found["search"]["nodes"][0]["ticket"]["number"], json!(ticket.number));
    }
    let redact = "mutation($input: RedactTicketInput!) { redactTicket(input: $input) {
        ticket { summary } userErrors { code } } }";
    let input = json!({ "ticketId": ticket.id, "text": "SUMMARY" });
    let redacted = boris.ok(redact, json!({ "input": input })).await;
    assert_eq!(redacted["redactTicket"]["ticket"]["summary"], "", "{redacted}");
    let reauthenticate = "mutation($input: ReauthenticateInput!) { reauthenticate(input: $input) {
        userErrors { code } } }";
    let password = json!({ "input": { "password": crate::harness::server::PASSWORD } });
    ilya.ok(reauthenticate, password).await;
    let erase = "mutation($id: ID!) { eraseAccount(input: { id: $id, conversations: KEEP }) {
        userErrors { code } } }";
    let erased = ilya.ok(erase, json!({ "id": anna.account_id().await })).await;
    assert_eq!(erased["eraseAccount"]["userErrors"], json!([]), "{erased}");
    assert_eq!(open_invitations(&boris, &into).await, [] as [&str; 0]);
    unmerge(&boris, &ticket).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_is_not_undone_while_the_other_ticket_is_itself_merged() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let (carl, dora) = (server.customer("Carl").await, server.customer("Dora").await);
    let ticket = anna.create_ticket("The site is down").await;
    let middle = carl.create_ticket("The site does not open").await;
    let last = dora.create_ticket("Nothing opens").await;
    merge(&boris, &ticket, &middle).await;
    merge(&boris, &middle, &last).await;
    let before = server.content().await;
    let refused = try_unmerge(&boris, &ticket.id).await;
    let (field, code, message) = rejection(&refused, "unmergeTicket");
    assert_eq!((field.as_str(), code.as_str()), ("ticketId", "TICKET_MERGED"));
    assert!(message.contains(&format!("Undo the merge of {}", middle.number)), "{message}");
    assert_eq!(server.content().await, before);
    unmerge(&boris, &middle).await;
    unmerge(&boris, &ticket).await;
    for ticket in [&middle, &last] {
        assert_eq!(open_invitations(&boris, ticket).await, [] as [&str; 0]);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_stays_until_no_merge_and_no_person_needs_it() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let dora = server.customer("Dora").await;
    let one = anna.create_ticket("The site is down").await;
    let two = anna.create_ticket("The site does not open").await;
    let into = dora.create_ticket("Nothing opens").await;
    merge(&boris, &one, &into).await;
    merge(&boris, &two, &into).await;
    unmerge(&boris, &one).await;
    assert_eq!(open_invitations(&boris, &into).await, ["anna@example.com"]);
    unmerge(&boris, &two).await;
    assert_eq!(open_invitations(&boris, &into).await, [] as [&str; 0]);
    merge(&boris, &one, &into).await;
    boris.invite(&into, "anna@example.com").await;
    merge(&boris, &two, &into).await;
    unmerge(&boris, &one).await;
    unmerge(&boris, &two).await;
    assert_eq!(open_invitations(&boris, &into).await, ["anna@example.com"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_does_not_close_over_what_the_agent_has_not_seen() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    let into = anna.create_ticket("The site does not open").await;
    let query = "mutation($input: MergeTicketInput!) { mergeTicket(input: $input) {
        ticket { status } answeredMeanwhile { body } userErrors { field code } } }";
    let seen = boris.last_event(&ticket).await;
    let (comment, _) = anna.comment(&ticket, "It is up again.").await;
    let mut input = json!({ "ticketId": ticket.id, "intoId": into.id, "seenUpTo": seen });
    let refused = boris.ok(query, json!({ "input": input })).await;
    assert_eq!(
        refused["mergeTicket"],
        json!({
            "ticket": { "status": "WAITING_FOR_SUPPORT" },
            "answeredMeanwhile": [{ "body": "It is up again." }],
            "userErrors": [{ "field": ["seenUpTo"], "code": "ANSWERED_MEANWHILE" }]
        })
    );
    input["seenUpTo"] = json!(comment);
    let merged = boris.ok(query, json!({ "input": input })).await;
    assert_eq!(
        merged["mergeTicket"],
        json!({ "ticket": { "status": "CLOSED" }, "answeredMeanwhile": [], "userErrors": [] })
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merged_ticket_says_what_its_reader_can_do() {
    let server = TestServer::start().await;
    let (boris, carl) = (server.agent("Boris").await, server.customer("Carl").await);
    let (dora, emil) = (server.customer("Dora").await, server.customer("Emil").await);
    let ticket = dora.create_ticket("The site is down").await;
    let into = emil.create_ticket("Nothing opens").await;
    let to_carl = dora.invite(&ticket, "carl@example.com").await;
    merge(&boris, &ticket, &into).await;
    let reply = carl.try_accept(&to_carl).await;
    let (field, code, message) = rejection(&reply, "acceptInvitation");
    assert_eq!((field.as_str(), code.as_str()), ("invitationId", "TICKET_MERGED"));
    assert!(message.contains(&format!("Ask to be invited to {}", into.number)), "{message}");
    let refused = async || {
        let reply = dora.try_comment(&ticket, json!({ "body": "Hello?" })).await;
        rejection(&reply, "addComment").2
    };
    let message = refused().await;
    assert!(message.contains(&format!("Accept the invitation to {}", into.number)), "{message}");
    let received = dora.ok("{ viewer { invitations { id } } }", json!({})).await;
    let decline = "mutation($id: ID!) { declineInvitation(input: { invitationId: $id }) {
        userErrors { code } } }";
    dora.ok(decline, json!({ "id": received["viewer"]["invitations"][0]["id"] })).await;
    let message = refused().await;
    assert!(message.contains("followUpToId"), "{message}");
    let new = json!({
        "categoryId": SALES, "summary": "Still down", "description": "It is still down.",
        "followUpToId": ticket.id
    });
    let reply = dora.try_create_ticket(new).await;
    assert_eq!(reply.user_errors("createTicket"), [] as [&str; 0], "{}", reply.body);
    server.stop().await;
}
