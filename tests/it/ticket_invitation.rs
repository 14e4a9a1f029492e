//! Invitations: nobody sees a ticket or is mailed about it before they have consented, and inviting
//! an address does not reveal whether it has an account.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::{
    harness::{
        Client, TestServer,
        client::{Reply, Ticket},
        mail::MailFixture,
        server::PASSWORD,
    },
    writes::until_waiting,
};

/// Texts of the ticket that an invited person must not see.
const TEXTS: [&str; 3] = ["private-summary", "It does not work", "private-comment"];

async fn received(client: &Client) -> Vec<Value> {
    let query = "{ viewer { invitations { id ticketNumber invitedByName expiresAt } } }";
    let data = client.ok(query, json!({})).await;
    data["viewer"]["invitations"].as_array().unwrap().clone()
}

/// The addresses of a ticket's open invitations, or null.
async fn open(client: &Client, ticket: &Ticket) -> Value {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket { invitations { email } } } }";
    let data = client.ok(query, json!({ "id": ticket.id })).await;
    let Some(found) = data["node"]["invitations"].as_array() else { return Value::Null };
    found.iter().map(|it| it["email"].clone()).collect()
}

async fn try_decline(client: &Client, invitation: &str) -> Reply {
    let mutation = "mutation($input: DeclineInvitationInput!) { declineInvitation(input: $input) {
        userErrors { field code } } }";
    client.send(mutation, json!({ "input": { "invitationId": invitation } })).await
}

async fn try_withdraw(client: &Client, invitation: &str) -> Reply {
    let mutation =
        "mutation($input: WithdrawInvitationInput!) { withdrawInvitation(input: $input) {
        ticket { number } userErrors { field code } } }";
    client.send(mutation, json!({ "input": { "invitationId": invitation } })).await
}

/// The kinds of a ticket's events, with who caused them.
async fn history(client: &Client, ticket: &Ticket) -> Vec<(String, Value)> {
    let query = "query($id: ID!) { node(id: $id) { ... on Ticket {
        timeline(first: 100) { nodes { __typename actor { name } } } } } }";
    let data = client.ok(query, json!({ "id": ticket.id })).await;
    let nodes = data["node"]["timeline"]["nodes"].as_array().unwrap().clone();
    let of =
        |it: Value| (it["__typename"].as_str().unwrap().to_owned(), it["actor"]["name"].clone());
    nodes.into_iter().map(of).collect()
}

/// Everything that lists, counts, searches, streams and notifications show of tickets.
async fn seen(client: &Client, ticket: &Ticket, cursor: &str) -> String {
    let query = "query($id: ID!, $number: String!) { node(id: $id) { ... on Ticket { summary } }
        ticket(number: $number) { summary } tickets { nodes { summary } }
        search(text: \"private\") { nodes { ticket { summary } } }
        viewer { openTicketCount unreadTicketCount notifications { nodes { ticket { summary } } } } }";
    let variables = json!({ "id": ticket.id, "number": ticket.number });
    let mut seen = client.send(query, variables).await.at("/data").to_string();
    let mut socket = client.socket().await;
    socket.watch_inbox("1", Some(cursor)).await;
    loop {
        let item = socket.item().await;
        if item["__typename"] == "Checkpoint" {
            return seen;
        }
        seen.push_str(&item.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_sees_the_number_and_who_invites_and_nothing_else_before_they_accept() {
    let fixture = MailFixture::start().await;
    let (server, anna, boris) = (&fixture.server, &fixture.anna, &fixture.boris);
    let carl = server.customer("Carl").await;
    let cursor = carl.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let cursor = cursor.as_str().unwrap();
    let ticket = anna.create_ticket("private-summary").await;
    let nothing = seen(&carl, &ticket, cursor).await;
    anna.comment(&ticket, "private-comment").await;
    let invitation = anna.invite(&ticket, " CARL@example.com ").await;
    boris.comment(&ticket, "private-comment of staff").await;
    server.quiet().await;

    assert_eq!(seen(&carl, &ticket, cursor).await, nothing);
    assert!(nothing.contains("openTicketCount") && !nothing.contains("private"), "{nothing}");
    let open_invitations = received(&carl).await;
    assert_eq!(open_invitations.len(), 1);
    assert_eq!(open_invitations[0]["id"], json!(invitation));
    assert_eq!(open_invitations[0]["ticketNumber"], json!(ticket.number));
    assert_eq!(open_invitations[0]["invitedByName"], "Anna");
    // Three mails to Anna (opened, a comment and the status), and one to Carl.
    let carls = async || {
        let mails = fixture.smtp.mails();
        mails.into_iter().filter(|mail| mail.to == "carl@example.com").collect::<Vec<_>>()
    };
    while carls().await.is_empty() {
        tokio::task::yield_now().await;
    }
    server.quiet().await;
    let mails = carls().await;
    let whole = format!("{}\n{}\n{}", mails[0].subject, mails[0].text, mails[0].html);
    assert!(whole.contains(&ticket.number), "{whole}");
    for text in TEXTS.iter().chain(&["Anna"]) {
        assert!(!whole.contains(text), "{text} in {whole}");
    }

    let accepted = carl.try_accept(&invitation).await;
    assert_eq!(
        accepted.at("/data/acceptInvitation"),
        &json!({ "ticket": { "number": ticket.number, "participants": [{ "name": "Carl" }] }, "userErrors": [] })
    );
    let after = seen(&carl, &ticket, cursor).await;
    assert!(after.contains("private-summary") && after.contains("ParticipantAdded"), "{after}");
    assert_eq!(received(&carl).await, [] as [Value; 0]);
    assert_eq!(carl.try_accept(&invitation).await.code(), "NOT_FOUND");
    let kinds = history(&carl, &ticket).await;
    assert_eq!(kinds[2], ("ParticipantInvited".to_owned(), json!("Anna")));
    assert_eq!(kinds.last().unwrap(), &("ParticipantAdded".to_owned(), json!("Carl")));
    boris.comment(&ticket, "private-comment after it").await;
    server.quiet().await;
    while carls().await.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(carls().await[1].text.contains("private-comment after it"));
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_an_account_and_one_without_look_the_same_to_who_invites() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    let carl = server.customer("Carl").await;
    let dora = server.customer("Dora").await;
    disable(server, "dora@example.com").await;
    let ticket = anna.create_ticket("mine").await;
    let mut replies = Vec::new();
    for email in ["carl@example.com", "nobody@example.com", "dora@example.com"] {
        let reply = anna.try_invite(&ticket.id, email).await;
        let id = reply.at("/data/inviteParticipant/invitation/id").as_str().unwrap().to_owned();
        // Inviting somebody again returns the same invitation, and mails it again.
        assert_eq!(anna.try_invite(&ticket.id, &email.to_uppercase()).await.body, reply.body);
        let mut body = reply.body.clone();
        let invitation = body.pointer_mut("/data/inviteParticipant/invitation").unwrap();
        for time in ["createdAt", "expiresAt"] {
            invitation[time] = json!("…");
        }
        replies.push(body.to_string().replace(email, "…").replace(&id, "…"));
    }
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0], replies[2]);
    let all = json!(["carl@example.com", "nobody@example.com", "dora@example.com"]);
    assert_eq!(open(anna, &ticket).await, all);
    assert_eq!(open(&fixture.boris, &ticket).await, all);
    let kinds = history(anna, &ticket).await;
    assert_eq!(kinds[1..], vec![("ParticipantInvited".to_owned(), json!("Anna")); 3]);
    // Only the one with an account is mailed.
    let states = "SELECT address || ' ' || state::text FROM deliveries WHERE priority ORDER BY seq";
    let database = server.database.connect().await;
    let mut mails = Vec::new();
    while mails.len() != 6 || mails.iter().any(|it: &String| it.ends_with("ing")) {
        let rows = database.query(states, &[]).await.unwrap();
        mails = rows.iter().map(|row| row.get(0)).collect();
        mails.retain(|mail| !mail.ends_with("queued"));
    }
    let outcomes =
        ["carl@example.com sent", "nobody@example.com cancelled", "dora@example.com cancelled"];
    assert_eq!(mails, outcomes.map(|outcome| [outcome; 2]).concat());

    // The address without an account gets one, and accepts.
    let nobody = server.customer("Nobody").await;
    let invitation = received(&nobody).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(carl.try_accept(&invitation).await.code(), "NOT_FOUND");
    assert_eq!(try_decline(&carl, &invitation).await.code(), "NOT_FOUND");
    nobody.try_accept(&invitation).await;
    // Others on the ticket do not see who is invited.
    assert_eq!(open(&nobody, &ticket).await, Value::Null);
    // To Anna, inviting the address of a participant looks like any other.
    let again = anna.try_invite(&ticket.id, "nobody@example.com").await;
    assert!(again.at("/data/inviteParticipant/invitation/id").is_string(), "{}", again.body);
    assert_eq!(received(&nobody).await, [] as [Value; 0]);
    drop(dora);
    fixture.server.stop().await;
}

async fn disable(server: &TestServer, email: &str) {
    let database = server.database.connect().await;
    let disable = "UPDATE accounts SET disabled_at = now() WHERE email = $1";
    database.execute(disable, &[&email]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_cannot_be_is_refused_and_changes_nothing() {
    let server = TestServer::start().await;
    let (anna, eve) = (server.customer("Anna").await, server.customer("Eve").await);
    let (carl, marta) = (server.customer("Carl").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("mine").await;
    anna.share(&ticket, &carl).await;
    let before = server.content().await;
    let refused = async |client: &Client, email: &str| {
        let reply = client.try_invite(&ticket.id, email).await;
        let errors = reply.user_errors("inviteParticipant");
        errors.iter().map(|&code| code.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(refused(&anna, "Anna@Example.com").await, ["INVALID"]);
    assert_eq!(refused(&anna, "marta@example.com").await, ["INVALID"]);
    assert_eq!(refused(&anna, "no address").await, ["INVALID"]);
    assert_eq!(refused(&anna, "").await, ["REQUIRED"]);
    assert_eq!(refused(&marta, "marta@example.com").await, ["INVALID"]);
    assert_eq!(refused(&marta, "anna@example.com").await, ["INVALID"]);
    assert_eq!(refused(&marta, "carl@example.com").await, ["INVALID"]);
    for (client, code) in
        [(&eve, "NOT_FOUND"), (&carl, "FORBIDDEN"), (&server.anonymous(), "UNAUTHENTICATED")]
    {
        assert_eq!(client.try_invite(&ticket.id, "new@example.com").await.code(), code);
    }
    assert_eq!(anna.try_invite("nonsense", "new@example.com").await.code(), "NOT_FOUND");
    assert_eq!(server.content().await, before);

    let invitation = anna.invite(&ticket, "eve@example.com").await;
    // Neither another customer nor staff can answer it, and only those who may share withdraw it.
    assert_eq!(carl.try_accept(&invitation).await.code(), "NOT_FOUND");
    assert_eq!(marta.try_accept(&invitation).await.code(), "NOT_FOUND");
    assert_eq!(try_withdraw(&carl, &invitation).await.code(), "FORBIDDEN");
    assert_eq!(try_withdraw(&eve, &invitation).await.code(), "NOT_FOUND");
    assert_eq!(eve.try_accept("nonsense").await.code(), "NOT_FOUND");
    marta.update(&ticket, json!({ "status": "CLOSED" })).await;
    assert_eq!(received(&eve).await, [] as [Value; 0]);
    assert_eq!(
        eve.try_accept(&invitation).await.user_errors("acceptInvitation"),
        ["TICKET_CLOSED"]
    );
    assert_eq!(refused(&anna, "new@example.com").await, ["TICKET_CLOSED"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_ends_when_it_is_declined_withdrawn_or_expired() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    server.agent("Marta").await;
    let ticket = anna.create_ticket("mine").await;
    let expired = ["EXPIRED"];

    // Declined: its address cannot be invited again before it would have expired.
    let declined = anna.invite(&ticket, "carl@example.com").await;
    for _ in 0..2 {
        let reply = try_decline(&carl, &declined).await;
        assert_eq!(reply.user_errors("declineInvitation"), [] as [&str; 0], "{}", reply.body);
    }
    assert_eq!(received(&carl).await, [] as [Value; 0]);
    assert_eq!(open(&anna, &ticket).await, json!([]));
    assert_eq!(carl.try_accept(&declined).await.user_errors("acceptInvitation"), expired);
    assert_eq!(try_withdraw(&anna, &declined).await.user_errors("withdrawInvitation"), expired);
    let again = anna.try_invite(&ticket.id, "carl@example.com").await;
    assert_eq!(again.user_errors("inviteParticipant"), ["NOT_AVAILABLE"]);

    // Expired.
    let sign_in = async |name: &str| {
        let email = format!("{name}@example.com");
        server.anonymous().sign_in(&email, PASSWORD).await
    };
    server.clock.advance(TimeDelta::days(14));
    let (anna, carl) = (sign_in("anna").await, sign_in("carl").await);
    let ignored = anna.invite(&ticket, "carl@example.com").await;
    assert_eq!(received(&carl).await.len(), 1);
    server.clock.advance(TimeDelta::days(14));
    let (anna, carl, marta) =
        (sign_in("anna").await, sign_in("carl").await, sign_in("marta").await);
    assert_eq!(received(&carl).await, [] as [Value; 0]);
    assert_eq!(open(&marta, &ticket).await, json!([]));
    assert_eq!(carl.try_accept(&ignored).await.user_errors("acceptInvitation"), expired);
    assert_eq!(try_decline(&carl, &ignored).await.user_errors("declineInvitation"), expired);
    server.prune(&[]).await;
    assert_eq!(carl.try_accept(&ignored).await.code(), "NOT_FOUND");

    // Withdrawn, by staff.
    let withdrawn = anna.invite(&ticket, "carl@example.com").await;
    let reply = try_withdraw(&marta, &withdrawn).await;
    assert_eq!(reply.at("/data/withdrawInvitation/ticket/number"), &json!(ticket.number));
    assert_eq!(try_withdraw(&marta, &withdrawn).await.code(), "NOT_FOUND");
    assert_eq!(carl.try_accept(&withdrawn).await.code(), "NOT_FOUND");
    let kinds = history(&anna, &ticket).await;
    let by = |kind: &str, name: Value| (kind.to_owned(), name);
    assert_eq!(
        kinds[1..],
        [
            by("ParticipantInvited", json!("Anna")),
            by("InvitationDeclined", Value::Null),
            by("ParticipantInvited", json!("Anna")),
            by("ParticipantInvited", json!("Anna")),
            by("InvitationWithdrawn", json!("Marta")),
        ]
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_invitation_is_mailed_again_as_often_as_the_limits_allow() {
    let fixture = MailFixture::start().await;
    let (server, anna) = (&fixture.server, &fixture.anna);
    let carl = server.customer("Carl").await;
    let ticket = anna.create_ticket("mine").await;
    let mailed = async |count: usize| {
        let is_carls = |mail: &&crate::harness::smtp::Received| mail.to == "carl@example.com";
        while fixture.smtp.mails().iter().filter(is_carls).count() != count {
            tokio::task::yield_now().await;
        }
    };
    let invitation = anna.invite(&ticket, "carl@example.com").await;
    mailed(1).await;
    for count in 2..=3 {
        assert_eq!(anna.invite(&ticket, "carl@example.com").await, invitation);
        mailed(count).await;
    }
    let limited = anna.try_invite(&ticket.id, "carl@example.com").await;
    assert_eq!(limited.code(), "RATE_LIMITED", "{}", limited.body);
    // It is one invitation, of which the history tells once.
    assert_eq!(received(&carl).await.len(), 1);
    let kinds = history(anna, &ticket).await;
    let invited = kinds.iter().filter(|(kind, _)| kind == "ParticipantInvited").count();
    assert_eq!(invited, 1, "{kinds:?}");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_acceptance_and_a_withdrawal_at_the_same_time_one_succeeds() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    for _ in 0..5 {
        let ticket = anna.create_ticket("mine").await;
        let invitation = anna.invite(&ticket, "carl@example.com").await;
        let (accepted, withdrawn, twice) = tokio::join!(
            carl.try_accept(&invitation),
            try_withdraw(&anna, &invitation),
            carl.try_accept(&invitation)
        );
        let done = [
            accepted.at("/data/acceptInvitation/ticket/number"),
            withdrawn.at("/data/withdrawInvitation/ticket/number"),
            twice.at("/data/acceptInvitation/ticket/number"),
        ];
        assert_eq!(done.iter().filter(|it| it.is_string()).count(), 1, "{done:?}");
        let kinds = history(&anna, &ticket).await;
        assert_eq!(kinds.len(), 3, "{kinds:?}");
        // The address can be invited again in between.
        server.clock.advance(TimeDelta::days(1));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_becomes_staff_while_it_accepts_does_not_take_part() {
    let server = TestServer::start().await;
    let (anna, carl) = (server.customer("Anna").await, server.customer("Carl").await);
    let ticket = anna.create_ticket("mine").await;
    let invitation = anna.invite(&ticket, "carl@example.com").await;
    let (database, holder) = (server.database.connect().await, server.database.connect().await);
    holder.batch_execute("BEGIN; SELECT FROM tickets FOR UPDATE").await.unwrap();
    let promoting = async {
        until_waiting(&server, "%").await;
        let promote = "UPDATE accounts SET role = 'agent' WHERE email = 'carl@example.com'; COMMIT";
        holder.batch_execute(promote).await.unwrap();
    };
    let (reply, ()) = tokio::join!(carl.try_accept(&invitation), promoting);
    assert_eq!(reply.code(), "FORBIDDEN", "{}", reply.body);
    let taking_part = "SELECT EXISTS (SELECT FROM tickets WHERE participant_ids <> '{}')";
    assert!(!database.query_one(taking_part, &[]).await.unwrap().get::<_, bool>(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_invitations_is_bounded_per_ticket_person_and_address() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("popular").await;
    // An address that somebody withdraws and invites again is not mailed without end.
    for _ in 0..3 {
        let invitation = anna.invite(&ticket, "carl@example.com").await;
        try_withdraw(&anna, &invitation).await;
    }
    let limited = anna.try_invite(&ticket.id, "carl@example.com").await;
    assert_eq!(limited.code(), "RATE_LIMITED", "{}", limited.body);
    // Failed calls count too.
    for _ in 0..16 {
        anna.try_invite(&ticket.id, "anna@example.com").await;
    }
    assert_eq!(anna.try_invite(&ticket.id, "new@example.com").await.code(), "RATE_LIMITED");
    for n in 0..50 {
        marta.invite(&ticket, &format!("c{n}@example.com")).await;
    }
    let refused = marta.try_invite(&ticket.id, "new@example.com").await;
    assert_eq!(refused.user_errors("inviteParticipant"), ["TOO_MANY"]);
    assert_eq!(open(&marta, &ticket).await.as_array().unwrap().len(), 50);
    server.stop().await;
}
