//! Participants: what customers may see and do on tickets that others opened, and how their removal
//! ends that at once.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::harness::{
    Client, Socket, TestServer,
    client::{Reply, Ticket},
    mail::MailFixture,
    socket::Incoming,
};

pub async fn try_remove(client: &Client, ticket: &str, account: &str) -> Reply {
    let mutation = "mutation($input: RemoveParticipantInput!) { removeParticipant(input: $input) {
        ticket { participants { name } } userErrors { field code } } }";
    client.send(mutation, json!({ "input": { "ticketId": ticket, "accountId": account } })).await
}

async fn remove(client: &Client, ticket: &Ticket, account: &str) {
    let reply = try_remove(client, &ticket.id, account).await;
    assert_eq!(reply.user_errors("removeParticipant"), [] as [&str; 0], "{}", reply.body);
}

async fn numbers(client: &Client, arguments: &str) -> Vec<String> {
    let query = format!("{{ tickets({arguments}) {{ nodes {{ number }} }} }}");
    let data = client.ok(&query, json!({})).await;
    let nodes = data["tickets"]["nodes"].as_array().unwrap().clone();
    nodes.iter().map(|it| it["number"].as_str().unwrap().to_owned()).collect()
}

/// The cursor after everything that has happened.
async fn current_cursor(client: &Client) -> String {
    let mut socket = client.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await
}

/// Waits for the next event and skips checkpoints.
async fn next_event(socket: &mut Socket) -> Value {
    loop {
        let item = socket.item().await;
        if item["__typename"] != "Checkpoint" {
            return item;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_may_read_comment_and_leave_but_not_manage_the_ticket() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let (dora, marta) = (server.customer("Dora").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("The site is down").await;
    marta.note(&ticket, "between us").await;
    anna.comment(&ticket, "anybody?").await;
    assert_eq!(anna.share(&ticket, &carl).await, ["Carl"]);
    // Staff may share tickets too.
    assert_eq!(marta.share(&ticket, &dora).await, ["Carl", "Dora"]);

    let query = "query($id: ID!, $anna: ID!) {
        anna: node(id: $anna) { ... on Account { name email } }
        node(id: $id) { ... on Ticket { number version reporter { id name email } participants { name }
            timeline { nodes { __typename actor { name }
                ... on CommentAdded { comment { body author { name } } }
                ... on ParticipantAdded { participant { name } } } } } } }";
    let ids = json!({ "id": ticket.id, "anna": anna.account_id().await });
    let seen = carl.ok(query, ids.clone()).await;
    let node = &seen["node"];
    assert_eq!((&node["number"], &node["version"]), (&json!(ticket.number), &json!(1)));
    assert_eq!(
        (&node["reporter"]["name"], &node["reporter"]["email"]),
        (&json!("Anna"), &json!(null))
    );
    assert_eq!(seen["anna"], json!({ "name": "Anna", "email": null }));
    let nodes = node["timeline"]["nodes"].as_array().unwrap();
    let kinds = nodes.iter().map(|it| it["__typename"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        kinds,
        [
            "TicketCreated",
            "CommentAdded",
            "ParticipantInvited",
            "ParticipantAdded",
            "ParticipantInvited",
            "ParticipantAdded"
        ]
    );
    assert_eq!(nodes[5]["participant"]["name"], "Dora");

    // A comment of a participant changes the status, and shows its author.
    let waiting = marta.update(&ticket, json!({ "status": "WAITING_FOR_CUSTOMER" })).await;
    let (comment, moved) = carl.comment(&waiting, "It is up again.").await;
    assert_eq!(moved.status, "WAITING_FOR_SUPPORT");
    let query_comment = "query($id: ID!) { node(id: $id) { ... on Comment { author { name } } } }";
    let seen = anna.ok(query_comment, json!({ "id": comment })).await;
    assert_eq!(seen["node"]["author"]["name"], "Carl");

    // Participants may neither manage participants nor change the ticket.
    let dora_id = dora.account_id().await;
    assert_eq!(carl.try_invite(&ticket.id, "dora@example.com").await.code(), "FORBIDDEN");
    assert_eq!(try_remove(&carl, &ticket.id, &dora_id).await.code(), "FORBIDDEN");
    let refused = carl.try_update(&moved, json!({ "status": "CLOSED" })).await;
    assert_eq!(refused.user_errors("updateTicket"), ["ILLEGAL_TRANSITION"]);
    assert_eq!(carl.try_update(&moved, json!({ "priority": "HIGH" })).await.code(), "FORBIDDEN");
    assert_eq!(
        carl.try_comment(&moved, json!({ "body": "x", "visibility": "INTERNAL" })).await.code(),
        "FORBIDDEN"
    );

    // A participant who leaves no longer sees the ticket. The others still see the history.
    let carl_id = carl.account_id().await;
    let left = try_remove(&carl, &ticket.id, &carl_id).await;
    assert_eq!(left.at("/data/removeParticipant"), &json!({ "ticket": null, "userErrors": [] }));
    for (id, account) in [(&ids["id"], &ids["id"]), (&ids["anna"], &ids["anna"])] {
        let gone = carl.send(query, json!({ "id": id, "anna": account })).await;
        let nothing = json!({ "anna": null, "node": null });
        assert_eq!((gone.code(), gone.at("/data")), ("NOT_FOUND", &nothing));
    }
    assert_eq!(carl.try_comment(&moved, json!({ "body": "x" })).await.code(), "NOT_FOUND");
    assert_eq!(try_remove(&carl, &ticket.id, &carl_id).await.code(), "NOT_FOUND");
    assert_eq!(carl.send(query_comment, json!({ "id": comment })).await.code(), "NOT_FOUND");
    let seen = dora.ok(query, ids).await;
    let nodes = seen["node"]["timeline"]["nodes"].as_array().unwrap().clone();
    assert_eq!(nodes.last().unwrap()["__typename"], "ParticipantRemoved");
    assert!(nodes.iter().any(|it| it["comment"]["author"]["name"] == "Carl"));
    assert_eq!(seen["node"]["participants"], json!([{ "name": "Dora" }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ticket_lists_merge_opened_and_shared_tickets_in_one_order() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    for round in 0..4 {
        let (whose, other) = if round % 2 == 0 { (&anna, &carl) } else { (&carl, &anna) };
        let shared = whose.create_ticket("shared").await;
        whose.share(&shared, other).await;
        other.create_ticket("own").await;
        server.clock.advance(TimeDelta::seconds(1));
    }
    for client in [&anna, &carl] {
        let all = numbers(client, "first: 100").await;
        assert_eq!(all.len(), 6, "four shared and two own: {all:?}");
        for order in [
            "",
            ", orderBy: { field: PRIORITY }",
            ", orderBy: { field: UPDATED_AT, direction: ASC }",
        ] {
            let whole = numbers(client, &format!("first: 100{order}")).await;
            let mut paged = Vec::new();
            let mut after = json!(null);
            loop {
                let query = format!(
                    "query($after: String) {{ tickets(first: 2, after: $after{order}) {{ nodes {{ number }} pageInfo {{ endCursor hasNextPage }} }} }}"
                );
                let data = client.ok(&query, json!({ "after": after })).await;
                let nodes = data["tickets"]["nodes"].as_array().unwrap().clone();
                paged.extend(nodes.iter().map(|it| it["number"].as_str().unwrap().to_owned()));
                after = data["tickets"]["pageInfo"]["endCursor"].clone();
                if data["tickets"]["pageInfo"]["hasNextPage"] == false {
                    break;
                }
            }
            assert_eq!(paged, whole, "{order}");
            let last = numbers(client, &format!("last: 3{order}")).await;
            assert_eq!(last, whole[3..], "{order}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_participant_ends_their_streams_at_that_event_on_every_node() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let marta = server.agent("Marta").await;
    let carl_id = carl.account_id().await;
    let node = server.second_node().await;
    let elsewhere = carl.at(&node.address().to_string());
    let ticket = anna.create_ticket("shared").await;
    let own = carl.create_ticket("own").await;
    let start = &current_cursor(&carl).await;
    anna.share(&ticket, &carl).await;

    let mut sockets = vec![carl.socket().await, elsewhere.socket().await];
    for socket in &mut sockets {
        socket.watch_ticket("ticket", &ticket.id, None).await;
        socket.caught_up().await;
    }
    let mut inboxes = vec![carl.socket().await, elsewhere.socket().await];
    for inbox in &mut inboxes {
        inbox.watch_inbox("inbox", Some(start)).await;
        assert_eq!(next_event(inbox).await["__typename"], "ParticipantAdded");
    }
    let mut staff = marta.socket().await;
    staff.watch_ticket("ticket", &ticket.id, None).await;
    staff.caught_up().await;

    anna.comment(&ticket, "for all").await;
    for stream in sockets.iter_mut().chain(&mut inboxes) {
        assert_eq!(next_event(stream).await["comment"]["body"], "for all");
    }
    remove(&anna, &ticket, &carl_id).await;
    anna.comment(&ticket, "not for Carl").await;
    carl.comment(&own, "mine").await;

    for socket in &mut sockets {
        let lost = next_event(socket).await;
        assert_eq!(
            (&lost["__typename"], &lost["ticketId"]),
            (&json!("AccessRevoked"), &json!(ticket.id))
        );
        assert_eq!(
            socket.incoming().await,
            Incoming::Message(json!({ "type": "complete", "id": "ticket" }))
        );
    }
    let mut cursors = Vec::new();
    for inbox in &mut inboxes {
        let lost = next_event(inbox).await;
        assert_eq!(
            (&lost["__typename"], &lost["ticketId"]),
            (&json!("AccessRevoked"), &json!(ticket.id))
        );
        cursors.push(lost["cursor"].as_str().unwrap().to_owned());
        assert_eq!(next_event(inbox).await["comment"]["body"], "mine");
    }
    assert_eq!(cursors[0], cursors[1]);
    // The others see an event.
    assert_eq!(next_event(&mut staff).await["__typename"], "CommentAdded");
    assert_eq!(next_event(&mut staff).await["__typename"], "ParticipantRemoved");

    // A stream from an old cursor shows the removal only, and nothing from the time before it; on
    // both nodes, from memory or from the database.
    for client in [&carl, &elsewhere] {
        let mut late = client.socket().await;
        late.watch_inbox("inbox", Some(start)).await;
        let lost = next_event(&mut late).await;
        assert_eq!(
            (&lost["__typename"], &lost["cursor"]),
            (&json!("AccessRevoked"), &json!(cursors[0]))
        );
        assert_eq!(next_event(&mut late).await["comment"]["body"], "mine");
        let mut refused = client.socket().await;
        refused.watch_ticket("ticket", &ticket.id, Some(start)).await;
        let message = refused.message().await;
        assert_eq!(message["payload"][0]["extensions"]["code"], "NOT_FOUND", "{message}");
    }

    // A participant who is added again can resume after their last cursor.
    anna.share(&ticket, &carl).await;
    let mut again = elsewhere.socket().await;
    again.watch_ticket("ticket", &ticket.id, Some(&cursors[0])).await;
    assert_eq!(next_event(&mut again).await["__typename"], "ParticipantAdded");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_after_lost_access_is_the_same_from_the_database_and_from_memory() {
    let mut server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let start = &current_cursor(&carl).await;
    let retained = anna.create_ticket("retained").await;
    let lost = anna.create_ticket("lost").await;
    for ticket in [&retained, &lost] {
        anna.share(ticket, &carl).await;
        anna.comment(ticket, "hello").await;
    }
    remove(&anna, &lost, &carl.account_id().await).await;
    anna.comment(&lost, "not for Carl").await;
    anna.comment(&retained, "bye").await;
    for from_memory in [true, false] {
        if !from_memory {
            server.restart().await;
        }
        let mut socket = carl.at(&server.address()).socket().await;
        socket.watch_inbox("inbox", Some(start)).await;
        let mut seen = Vec::new();
        for _ in 0..4 {
            let item = next_event(&mut socket).await;
            seen.push(item["__typename"].as_str().unwrap().to_owned());
        }
        assert_eq!(
            seen,
            ["ParticipantAdded", "CommentAdded", "AccessRevoked", "CommentAdded"],
            "{from_memory}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_participant_ask_together_whether_they_still_see_a_ticket() {
    let server = TestServer::start_logged().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let ticket = anna.create_ticket("one").await;
    anna.share(&ticket, &carl).await;
    let mut socket = carl.socket().await;
    for id in 0..20 {
        socket.watch_ticket(&id.to_string(), &ticket.id, None).await;
        socket.caught_up().await;
    }
    let statements = server.statements_of(async || {
        anna.comment(&ticket, "hello").await;
        for _ in 0..20 {
            assert_eq!(next_event(&mut socket).await["comment"]["body"], "hello");
        }
    });
    let asked = "SELECT \"tickets\".\"id\" FROM \"tickets\"";
    let asked = statements.await.into_iter().filter(|line| line.contains(asked)).count();
    assert!((1..20).contains(&asked), "{asked}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn participants_are_notified_and_mailed_until_they_are_removed() {
    let fixture = MailFixture::start_with(&[("mail.window_seconds", "30")]).await;
    let (anna, boris) = (&fixture.anna, &fixture.boris);
    let carl = fixture.server.customer("Carl").await;
    let window = TimeDelta::seconds(31);
    let ticket = anna.create_ticket("The site is down").await;
    let invitation = anna.invite(&ticket, "carl@example.com").await;
    // Without waiting for the mail, it could be cancelled because the invitation was accepted.
    fixture.smtp.received(1).await;
    carl.try_accept(&invitation).await;
    boris.comment(&ticket, "We look into it.").await;
    fixture.server.quiet().await;
    assert_eq!(notification_kinds(&carl).await, ["STATUS_CHANGED", "SUPPORT_ANSWERED"]);
    fixture.server.clock.advance(window);
    // The first one is the invitation.
    let mails = fixture.smtp.received(3).await;
    let last_to = |to: &str| mails.iter().rfind(|mail| mail.to == to).unwrap();
    let text = &last_to("carl@example.com").text;
    assert!(text.contains("Boris wrote:\n\nWe look into it."), "{text}");

    // A planned mail that has not been sent is cancelled, and the notifications are gone.
    boris.comment(&ticket, "One more thing.").await;
    fixture.server.quiet().await;
    assert_eq!(notification_kinds(&carl).await.len(), 3);
    remove(anna, &ticket, &carl.account_id().await).await;
    boris.comment(&ticket, "And another.").await;
    fixture.server.quiet().await;
    assert_eq!(notification_kinds(&carl).await, [] as [&str; 0]);
    fixture.server.clock.advance(window);
    let query =
        "query($id: ID!) { node(id: $id) { ... on Ticket { deliveries { recipient state } } } }";
    let mut states = json!(null);
    while states[3]["state"] != "CANCELLED" || states[2]["state"] != "SENT" {
        let data = boris.ok(query, json!({ "id": ticket.id })).await;
        states = data["node"]["deliveries"].clone();
    }
    assert_eq!(states[3]["recipient"], "carl@example.com", "{states}");
    assert_eq!(states.as_array().unwrap().len(), 4, "{states}");
    assert_eq!(fixture.smtp.mails().len(), 4);
    fixture.server.stop().await;
}

/// The kinds of somebody's notifications, newest first.
async fn notification_kinds(client: &Client) -> Vec<String> {
    let query =
        "{ viewer { unreadNotificationCount notifications { nodes { kind ticket { number } } } } }";
    let data = client.ok(query, json!({})).await;
    let nodes = data["viewer"]["notifications"]["nodes"].as_array().unwrap();
    assert_eq!(data["viewer"]["unreadNotificationCount"], nodes.len());
    nodes.iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_participants_can_be_removed_and_only_by_those_who_may_share_the_ticket() {
    let server = TestServer::start().await;
    let (anna, eve) = (server.customer("Anna").await, server.customer("Eve").await);
    let marta = server.agent("Marta").await;
    let ticket = anna.create_ticket("mine").await;
    let anna_id = anna.account_id().await;
    assert_eq!(try_remove(&eve, &ticket.id, &anna_id).await.code(), "NOT_FOUND");
    let stays = try_remove(&marta, &ticket.id, &anna_id).await;
    assert_eq!(stays.user_errors("removeParticipant"), ["INVALID"]);
    let no_account = try_remove(&anna, &ticket.id, "nonsense").await;
    assert_eq!(no_account.user_errors("removeParticipant"), ["NOT_FOUND"]);
    remove(&anna, &ticket, &marta.account_id().await).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_has_at_most_fifty_participants() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let marta = server.agent("Marta").await;
    let ticket = anna.create_ticket("popular").await;
    let database = server.database.connect().await;
    let many = "WITH created AS (
            INSERT INTO accounts (id, email, name, role, locale, created_at)
            SELECT gen_random_uuid(), 'c' || n || '@example.com', 'C' || n, 'customer', 'en', now()
            FROM generate_series(1, 50) n RETURNING id)
        UPDATE tickets SET participant_ids = (SELECT array_agg(id) FROM created)";
    database.execute(many, &[]).await.unwrap();
    let eve = server.customer("Eve").await;
    let refused = marta.try_invite(&ticket.id, "eve@example.com").await;
    assert_eq!(refused.user_errors("inviteParticipant"), ["TOO_MANY"]);
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { participants { id name } } } }";
    let seen = anna.ok(query, json!({ "id": ticket.id })).await;
    let all = seen["node"]["participants"].as_array().unwrap();
    assert_eq!(all.len(), 50);
    remove(&anna, &ticket, all[0]["id"].as_str().unwrap()).await;
    assert_eq!(marta.share(&ticket, &eve).await.last().unwrap(), "Eve");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_leave_a_ticket_that_many_have_left() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let ticket = anna.create_ticket("popular").await;
    anna.share(&ticket, &carl).await;
    let database = server.database.connect().await;
    let many = "UPDATE tickets SET past_participant_ids =
        (SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 200))";
    database.execute(many, &[]).await.unwrap();
    remove(&carl, &ticket, &carl.account_id().await).await;
    let gone = carl.try_comment(&ticket, json!({ "body": "still there?" })).await;
    assert_eq!(gone.code(), "NOT_FOUND");
    let refused = anna.try_invite(&ticket.id, "carl@example.com").await;
    assert_eq!(refused.user_errors("inviteParticipant"), ["TOO_MANY"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_at_the_end_of_the_log_is_sent_once_and_then_the_checkpoint() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let ticket = anna.create_ticket("shared").await;
    anna.share(&ticket, &carl).await;
    let mut reporter = anna.socket().await;
    reporter.watch_ticket("ticket", &ticket.id, None).await;
    let start = reporter.caught_up().await;
    remove(&anna, &ticket, &carl.account_id().await).await;
    let removed = reporter.item().await;
    assert_eq!(removed["__typename"], "ParticipantRemoved");
    let mut inbox = carl.socket().await;
    inbox.watch_inbox("inbox", Some(&start)).await;
    let revoked = inbox.item().await;
    assert_eq!(
        (&revoked["__typename"], &revoked["cursor"]),
        (&json!("AccessRevoked"), &removed["cursor"])
    );
    assert_eq!(json!(inbox.caught_up().await), removed["cursor"]);
    server.stop().await;
}

/// Nobody learns from a wait that a ticket exists, or takes its lock.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_a_ticket_does_not_wait_for_it() {
    let server = TestServer::start().await;
    let (anna, jonas) = (server.customer("Anna").await, server.customer("Jonas").await);
    let ticket = anna.create_ticket("The site is down").await;
    let invitation = anna.invite(&ticket, "emil@example.com").await;
    let mut database = server.database.connect().await;
    let held = database.transaction().await.unwrap();
    held.batch_execute("SELECT FROM tickets FOR UPDATE").await.unwrap();
    let own = jonas.account_id().await;
    let invitation = json!({ "id": invitation });
    for (document, variables) in [
        (
            "mutation($id: ID!, $account: ID!) {
                removeParticipant(input: { ticketId: $id, accountId: $account }) { ticket { id } } }",
            json!({ "id": ticket.id, "account": own }),
        ),
        (
            "mutation($id: ID!) { withdrawInvitation(input: { invitationId: $id }) { ticket { id } } }",
            invitation.clone(),
        ),
        (
            "mutation($id: ID!) { acceptInvitation(input: { invitationId: $id }) { ticket { id } } }",
            invitation.clone(),
        ),
        (
            "mutation($id: ID!) { declineInvitation(input: { invitationId: $id }) { userErrors { code } } }",
            invitation,
        ),
    ] {
        assert_eq!(jonas.send(document, variables).await.code(), "NOT_FOUND", "{document}");
    }
    held.rollback().await.unwrap();
    server.stop().await;
}
