//! Accounts, which admins manage.

use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};
use ticketwire::domain::{account::Role, service_token::Scope};
use tokio::time;

use super::second_factor::with_authenticator;
use crate::harness::{
    Client, TestServer,
    client::Reply,
    mail::{self, MailFixture},
    process,
    server::PASSWORD,
    smtp::Smtp,
};

const TIMEOUT: Duration = Duration::from_mins(1);
const CREATE: &str = "mutation($input: CreateAccountInput!) { createAccount(input: $input) {
    account { id name email role } userErrors { field code message } } }";
const SET_ROLE: &str = "mutation($input: SetAccountRoleInput!) { setAccountRole(input: $input) {
    account { role } userErrors { field code } } }";
const DISABLE: &str = "mutation($input: DisableAccountInput!) { disableAccount(input: $input) {
    account { disabledAt } userErrors { field code } } }";
const ENABLE: &str = "mutation($input: EnableAccountInput!) { enableAccount(input: $input) {
    account { disabledAt } userErrors { field code } } }";
const UPDATE: &str = "mutation($input: UpdateAccountInput!) { updateAccount(input: $input) {
    account { name locale } userErrors { field code } } }";
const RESET_FACTORS: &str =
    "mutation($input: ResetSecondFactorsInput!) { resetSecondFactors(input: $input) {
    account { name } userErrors { field code } } }";
const CREATE_TOKEN: &str =
    "mutation($input: CreateServiceTokenInput!) { createServiceToken(input: $input) {
    serviceToken { name } userErrors { field code } } }";
const SIGN_IN: &str = "mutation($input: SignInInput!) { signIn(input: $input) {
    session { token } userErrors { code } } }";
const RESET: &str = "mutation($input: ResetPasswordInput!) { resetPassword(input: $input) {
    changed userErrors { code } } }";
const REQUEST: &str = "mutation($input: RequestPasswordResetInput!) {
    requestPasswordReset(input: $input) { accepted userErrors { code } } }";
const NEW: &str = "walrus umbrella seventeen";

async fn send(client: &Client, mutation: &str, input: Value) -> Reply {
    client.send(mutation, json!({ "input": input })).await
}

/// Sends a mutation; returns its account, or the code of its first user error.
async fn outcome(client: &Client, mutation: &str, input: Value) -> Result<Value, String> {
    let data = client.ok(mutation, json!({ "input": input })).await;
    let payload = data.as_object().unwrap().values().next().unwrap().clone();
    match payload["userErrors"][0]["code"].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(payload["account"].clone()),
    }
}

fn person(email: &str) -> Value {
    json!({ "email": email, "name": "Olga", "role": "AGENT", "locale": "EN" })
}

/// The addresses of a page of accounts, and its last cursor.
async fn listed(client: &Client, variables: Value) -> (Vec<String>, Value) {
    let query = "query($first: Int, $after: String, $last: Int, $role: Role, $text: String) {
        accounts(first: $first, after: $after, last: $last, role: $role, text: $text) {
            nodes { email } pageInfo { endCursor } } }";
    let data = client.ok(query, variables).await;
    let nodes = data["accounts"]["nodes"].as_array().unwrap();
    let emails = nodes.iter().map(|node| node["email"].as_str().unwrap().to_owned()).collect();
    (emails, data["accounts"]["pageInfo"]["endCursor"].clone())
}

/// The token in the nth invitation.
async fn invitation_token(smtp: &Smtp, nth: usize) -> String {
    let text = smtp.nth(nth, "An account has been created for you").await.text;
    let rest = text.split("https://desk.example.com/reset-password#token=").nth(1).unwrap();
    rest.split_whitespace().next().unwrap().to_owned()
}

/// Waits until every mail is sent.
async fn until_all_sent(server: &TestServer) {
    server.quiet().await;
    let database = server.database.connect().await;
    let sent = "SELECT NOT EXISTS (SELECT FROM deliveries WHERE state IN ('queued', 'sending'))";
    while !database.query_one(sent, &[]).await.unwrap().get::<_, bool>(0) {}
}

/// The audit trail of an account, oldest first.
async fn trail(admin: &Client, id: &Value) -> Vec<String> {
    let query = "query($id: ID!) { accountEvents(accountId: $id, first: 50) { nodes { kind actor { name } } } }";
    let data = admin.ok(query, json!({ "id": id })).await;
    let mut nodes = data["accountEvents"]["nodes"].as_array().unwrap().clone();
    nodes.reverse();
    let kind = |node: &Value| {
        format!(
            "{} {}",
            node["kind"].as_str().unwrap(),
            node["actor"]["name"].as_str().unwrap_or("-")
        )
    };
    nodes.iter().map(kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invited_agent_sets_a_password_and_signs_in() {
    let fixture = MailFixture::start().await;
    let ilya = fixture.server.sign_up("Ilya", Role::Admin).await;
    let mut input = person(" Olga@Example.com ");
    input["idempotencyKey"] = json!("1");
    let created = outcome(&ilya, CREATE, input.clone()).await.unwrap();
    assert_eq!(
        (&created["email"], &created["role"]),
        (&json!("olga@example.com"), &json!("AGENT"))
    );
    assert_eq!(outcome(&ilya, CREATE, input.clone()).await.unwrap()["id"], created["id"]);
    input["name"] = json!("Another");
    assert_eq!(outcome(&ilya, CREATE, input).await, Err("IDEMPOTENCY_KEY_REUSED".into()));
    assert_eq!(outcome(&ilya, CREATE, person("OLGA@example.com")).await, Err("TAKEN".into()));

    let anonymous = fixture.server.anonymous();
    let token = invitation_token(&fixture.smtp, 1).await;
    // Anybody can request a reset. It does not end the invitation.
    let request =
        "mutation { requestPasswordReset(input: { email: \"olga@example.com\" }) { accepted } }";
    anonymous.ok(request, json!({})).await;
    fixture.smtp.received(2).await;
    let input = json!({ "token": token, "password": NEW, "passwordAgain": NEW });
    let set = async || {
        let data = anonymous.ok(RESET, json!({ "input": input })).await;
        data["resetPassword"]["changed"] == true
    };
    assert!(set().await);
    assert!(!set().await, "a link works once");
    let olga = anonymous.sign_in("olga@example.com", NEW).await;
    olga.ok("{ ticketCounts { total } }", json!({})).await;
    assert_eq!(trail(&ilya, &created["id"]).await[0], "ROLE_CHANGED Ilya");
    fixture.smtp.nth(1, "password of your account").await;
    until_all_sent(&fixture.server).await;
    assert_eq!(fixture.smtp.mails().len(), 3, "an invitation, a link and a security notice");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_repeated_on_two_nodes_creates_one_account() {
    let fixture = MailFixture::start().await;
    let ilya = fixture.server.sign_up("Ilya", Role::Admin).await;
    let flags = mail::settings(&fixture.smtp.url());
    let node = fixture.server.another_node(&flags).await.unwrap();
    let nodes = [ilya.clone(), ilya.at(&node.address().to_string())];
    let mut input = person("olga@example.com");
    input["idempotencyKey"] = json!("1");
    let racing = (0..8).map(|n| outcome(&nodes[n % 2], CREATE, input.clone()));
    let created = join_all(racing).await;
    assert!(created.iter().all(|it| it.is_ok() && it == &created[0]), "{created:?}");
    let without_a_key = (0..4).map(|n| outcome(&nodes[n % 2], CREATE, person("vera@example.com")));
    let created = join_all(without_a_key).await;
    assert_eq!(created.iter().filter(|it| it.is_ok()).count(), 1, "{created:?}");
    node.stop().await;
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_can_be_repeated_after_mail_was_switched_off() {
    let mut fixture = MailFixture::start().await;
    let ilya = fixture.server.sign_up("Ilya", Role::Admin).await;
    let mut input = person("olga@example.com");
    input["idempotencyKey"] = json!("1");
    let created = outcome(&ilya, CREATE, input.clone()).await;
    fixture.server.restart().await;
    fixture
        .server
        .database
        .connect()
        .await
        .batch_execute("UPDATE installation SET mail_enabled = false")
        .await
        .unwrap();
    let ilya = ilya.at(&fixture.server.address());
    assert_eq!(outcome(&ilya, CREATE, input).await, created);
    let another = person("vera@example.com");
    assert_eq!(outcome(&ilya, CREATE, another).await, Err("NOT_AVAILABLE".into()));
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_former_staff_are_returned_past_one_that_cannot_be() {
    let server = TestServer::start().await;
    let (anna, ilya) = (server.customer("Anna").await, server.sign_up("Ilya", Role::Admin).await);
    let boris = server.agent("Boris").await.account_id().await;
    let mut tickets = vec![];
    for summary in ["one", "two", "three"] {
        let ticket = anna.create_ticket(summary).await;
        ilya.update(&ticket, json!({ "assigneeId": boris })).await;
        tickets.push(ticket);
    }
    let database = server.database.connect().await;
    database.batch_execute(&refuse_changes_of("two")).await.unwrap();
    outcome(&ilya, DISABLE, json!({ "id": boris })).await.unwrap();
    let assigned = "SELECT string_agg(summary, ' ') FROM tickets WHERE assignee_id IS NOT NULL";
    let summaries = async || {
        let row = database.query_one(assigned, &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    };
    let wait = async { while summaries().await != "two" {} };
    time::timeout(TIMEOUT, wait).await.expect("the others in the queue");
    let recorded = "SELECT count(*) FROM former_staff";
    assert_eq!(database.query_one(recorded, &[]).await.unwrap().get::<_, i64>(0), 1);
    server.stop().await;
}

/// SQL that has the database refuse changes of one ticket.
pub fn refuse_changes_of(summary: &str) -> String {
    format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE 'this ticket cannot be changed'; END $$;
         CREATE TRIGGER refuse BEFORE UPDATE ON tickets
         FOR EACH ROW WHEN (OLD.summary = '{summary}') EXECUTE FUNCTION refuse()"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_or_demoted_agent_loses_access_at_once() {
    let server = TestServer::start().await;
    let (ilya, marta) = (server.sign_up("Ilya", Role::Admin).await, server.agent("Marta").await);
    let id = json!(marta.account_id().await);
    let mut socket = marta.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    let disabled = outcome(&ilya, DISABLE, json!({ "id": id })).await.unwrap();
    assert!(disabled["disabledAt"].is_string());
    assert_eq!(socket.close_code().await, 4401);
    assert_eq!(marta.send("{ viewer { name } }", json!({})).await.code(), "UNAUTHENTICATED");
    let input = json!({ "email": "marta@example.com", "password": PASSWORD });
    let refused = server.anonymous().ok(SIGN_IN, json!({ "input": input })).await;
    assert_eq!(refused["signIn"]["userErrors"][0]["code"], "INVALID_CREDENTIALS");
    assert_eq!(outcome(&ilya, DISABLE, json!({ "id": id })).await, Ok(disabled));

    let enabled = outcome(&ilya, ENABLE, json!({ "id": id })).await.unwrap();
    assert_eq!(enabled["disabledAt"], Value::Null);
    let marta = server.anonymous().sign_in("marta@example.com", PASSWORD).await;
    let mut socket = marta.socket().await;
    socket.watch_inbox("1", None).await;
    socket.caught_up().await;
    let demoted = outcome(&ilya, SET_ROLE, json!({ "id": id, "role": "CUSTOMER" })).await.unwrap();
    assert_eq!(demoted["role"], "CUSTOMER");
    assert_eq!(socket.close_code().await, 4401);
    assert_eq!(marta.send("{ viewer { name } }", json!({})).await.code(), "UNAUTHENTICATED");
    let marta = server.anonymous().sign_in("marta@example.com", PASSWORD).await;
    assert_eq!(marta.send("{ ticketCounts { total } }", json!({})).await.code(), "FORBIDDEN");

    let renamed = json!({ "id": id, "name": " Marta L. ", "locale": "RU" });
    let renamed = outcome(&ilya, UPDATE, renamed).await.unwrap();
    assert_eq!(renamed, json!({ "name": "Marta L.", "locale": "RU" }));
    let nobody = json!({ "id": id, "name": "" });
    assert_eq!(outcome(&ilya, UPDATE, nobody).await, Err("REQUIRED".into()));
    let events = trail(&ilya, &id).await;
    let events = events.iter().filter(|it| it.ends_with("Ilya")).collect::<Vec<_>>();
    let kinds = ["ACCOUNT_DISABLED", "ACCOUNT_ENABLED", "ROLE_CHANGED", "PROFILE_CHANGED"];
    for kind in kinds {
        assert_eq!(events.iter().filter(|it| it.starts_with(kind)).count(), 1, "{events:?}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_admin_remains_even_if_two_demote_each_other() {
    let server = TestServer::start().await;
    let (ilya, olga) =
        (server.sign_up("Ilya", Role::Admin).await, server.sign_up("Olga", Role::Admin).await);
    let (olga_id, ilya_id) = (json!(olga.account_id().await), json!(ilya.account_id().await));
    for (mutation, input) in
        [(SET_ROLE, json!({ "id": ilya_id, "role": "AGENT" })), (DISABLE, json!({ "id": ilya_id }))]
    {
        assert_eq!(outcome(&ilya, mutation, input).await, Err("OWN_ACCOUNT".into()));
    }
    let database = server.database.connect().await;
    let left = async || {
        let left = "SELECT coalesce(min(email), ''), count(*) FROM accounts
            WHERE role = 'admin' AND disabled_at IS NULL";
        let row = database.query_one(left, &[]).await.unwrap();
        (row.get::<_, String>(0), row.get::<_, i64>(1))
    };
    for _ in 0..5 {
        let ilya = server.anonymous().sign_in("ilya@example.com", PASSWORD).await;
        let olga = server.anonymous().sign_in("olga@example.com", PASSWORD).await;
        let (one, other) = tokio::join!(
            send(&ilya, SET_ROLE, json!({ "id": olga_id, "role": "AGENT" })),
            send(&olga, DISABLE, json!({ "id": ilya_id }))
        );
        assert_eq!(left().await.1, 1, "{} {}", one.body, other.body);
        let both = "UPDATE accounts SET role = 'admin', disabled_at = NULL";
        database.batch_execute(both).await.unwrap();
    }
    // The command line does not demote the last admin either.
    database.batch_execute("UPDATE accounts SET role = 'agent' WHERE name = 'Olga'").await.unwrap();
    let variables = [("DATABASE_URL", server.database.url.as_str())];
    let command = ["user", "set-role", "ilya@example.com", "customer"];
    let refused = process::run(&command, &variables, "").await;
    assert!(!refused.success && refused.stderr.contains("last admin"), "{}", refused.stderr);
    assert_eq!(left().await, ("ilya@example.com".to_owned(), 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_receives_no_mail_or_links() {
    let fixture = MailFixture::start().await;
    let ilya = fixture.server.sign_up("Ilya", Role::Admin).await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    fixture.smtp.received(1).await;
    let anna = fixture.anna.account_id().await;
    outcome(&ilya, DISABLE, json!({ "id": anna })).await.unwrap();
    ilya.comment(&ticket, "We look into it.").await;
    let query = "query($number: String!) { ticket(number: $number) { reporter { name } } }";
    let seen = ilya.ok(query, json!({ "number": ticket.number })).await;
    assert_eq!(seen["ticket"]["reporter"]["name"], "Anna");

    let olga = outcome(&ilya, CREATE, person("olga@example.com")).await.unwrap();
    let token = invitation_token(&fixture.smtp, 1).await;
    outcome(&ilya, DISABLE, json!({ "id": olga["id"] })).await.unwrap();
    let anonymous = fixture.server.anonymous();
    for email in ["anna@example.com", "olga@example.com"] {
        anonymous.ok(REQUEST, json!({ "input": { "email": email } })).await;
    }
    until_all_sent(&fixture.server).await;
    // The link that was mailed before is invalid, even after the account is enabled again.
    let input = json!({ "token": token, "password": NEW, "passwordAgain": NEW });
    let set = async || {
        let data = anonymous.ok(RESET, json!({ "input": input })).await;
        data["resetPassword"]["userErrors"][0]["code"].clone()
    };
    assert_eq!(set().await, "EXPIRED");
    outcome(&ilya, ENABLE, json!({ "id": olga["id"] })).await.unwrap();
    assert_eq!(set().await, "EXPIRED");
    until_all_sent(&fixture.server).await;
    let subjects = fixture.smtp.mails().into_iter().map(|mail| mail.subject).collect::<Vec<_>>();
    assert_eq!(subjects, ["[CS-100001] The site is down", "Help Desk: set up your account"]);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_an_earlier_version_stored_is_taken_in_every_spelling() {
    let fixture = MailFixture::start().await;
    let (server, ilya) = (&fixture.server, fixture.server.sign_up("Ilya", Role::Admin).await);
    let (anna, boris) = (fixture.anna.account_id().await, fixture.boris.account_id().await);
    let database = server.database.connect().await;
    let spell = "UPDATE accounts SET email = 'anna@xn--80a1acny.xn--p1ai' WHERE name = 'Anna'";
    assert_eq!(database.execute(spell, &[]).await.unwrap(), 1);
    let change = async |id: &str| {
        outcome(&ilya, UPDATE, json!({ "id": id, "email": "anna@почта.рф" })).await
    };
    assert_eq!(change(&boris).await, Err("TAKEN".into()));
    // Another spelling of the own address changes nothing else.
    change(&anna).await.unwrap();
    fixture.anna.ok("{ viewer { id } }", json!({})).await;
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_changes_the_address_of_a_member_of_staff() {
    let fixture = MailFixture::start().await;
    let (server, ilya) = (&fixture.server, fixture.server.sign_up("Ilya", Role::Admin).await);
    let boris = json!(fixture.boris.account_id().await);
    let change =
        async |email: &str| outcome(&ilya, UPDATE, json!({ "id": boris, "email": email })).await;
    assert_eq!(change("Anna@example.com").await, Err("TAKEN".into()));
    assert_eq!(change("nonsense").await, Err("INVALID".into()));
    assert_eq!(change(" Boris@example.com ").await, Ok(json!({ "name": "Boris", "locale": "EN" })));
    fixture.boris.ok("{ viewer { id } }", json!({})).await;
    change("boris@example.org").await.unwrap();
    assert_eq!(fixture.boris.send("{ viewer { id } }", json!({})).await.code(), "UNAUTHENTICATED");
    server.anonymous().sign_in("boris@example.org", PASSWORD).await;
    assert_eq!(
        trail(&ilya, &boris).await.iter().filter(|it| *it == "EMAIL_CHANGED Ilya").count(),
        1
    );
    let changed = "The e-mail address of your account was changed";
    let (one, other) = (fixture.smtp.nth(1, changed).await, fixture.smtp.nth(2, changed).await);
    let mut notified = [one.to, other.to];
    notified.sort();
    assert_eq!(notified, ["boris@example.com", "boris@example.org"]);

    // Somebody who was invited at a wrong address is invited again.
    let olga = outcome(&ilya, CREATE, person("olag@example.com")).await.unwrap();
    let first = invitation_token(&fixture.smtp, 1).await;
    outcome(&ilya, UPDATE, json!({ "id": olga["id"], "email": "olga@example.com" })).await.unwrap();
    let second = invitation_token(&fixture.smtp, 2).await;
    for (token, changed) in [(first, false), (second, true)] {
        let input = json!({ "token": token, "password": NEW, "passwordAgain": NEW });
        let data = server.anonymous().ok(RESET, json!({ "input": input })).await;
        assert_eq!(data["resetPassword"]["changed"], changed, "{data}");
    }
    server.clock.advance(TimeDelta::minutes(10));
    assert_eq!(change("b@example.org").await, Err("REAUTHENTICATION_REQUIRED".into()));
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_open_tickets_of_a_disabled_or_demoted_agent_go_back_to_the_queue() {
    let server = TestServer::start().await;
    let (anna, ilya) = (server.customer("Anna").await, server.sign_up("Ilya", Role::Admin).await);
    let take_access = [
        ("Boris", DISABLE, json!({})),
        ("Vera", SET_ROLE, json!({ "role": "CUSTOMER" })),
        ("Olga", SET_ROLE, json!({ "role": "ADMIN" })),
    ];
    for (name, mutation, mut input) in take_access {
        let id = json!(server.agent(name).await.account_id().await);
        let mut tickets = Vec::new();
        // More than one batch.
        for _ in 0..21 {
            let ticket = anna.create_ticket("The site is down").await;
            tickets.push(ilya.update(&ticket, json!({ "assigneeId": id })).await);
        }
        ilya.update(&tickets[0], json!({ "status": "CLOSED" })).await;
        let mut socket = ilya.socket().await;
        socket.watch_inbox("1", None).await;
        socket.caught_up().await;
        input["id"] = id;
        outcome(&ilya, mutation, input).await.unwrap();
        let keeps = name == "Olga";
        let unassigned = if keeps { 0 } else { 20 };
        let mut seen = 0;
        while seen < unassigned {
            let message = socket.message().await;
            let event = &message["payload"]["data"]["inboxEvents"];
            seen += i32::from(event["__typename"] == "AssigneeChanged");
        }
        let query = "query($id: ID!) { node(id: $id) { ... on Ticket { assignee { name }
            timeline(last: 1) { nodes { __typename actor { name } } } } } }";
        for (n, ticket) in tickets.iter().enumerate() {
            let seen = ilya.ok(query, json!({ "id": ticket.id })).await["node"].clone();
            let assignee = if n == 0 || keeps { json!({ "name": name }) } else { Value::Null };
            assert_eq!(seen["assignee"], assignee, "{name} {n}");
            assert_eq!(seen["timeline"]["nodes"][0]["actor"]["name"], "Ilya", "{seen}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_wait_for_their_return_are_returned_after_a_restart() {
    let mut server = TestServer::start().await;
    let (anna, ilya) = (server.customer("Anna").await, server.sign_up("Ilya", Role::Admin).await);
    let boris = server.agent("Boris").await.account_id().await;
    let ticket = anna.create_ticket("The site is down").await;
    ilya.update(&ticket, json!({ "assigneeId": boris })).await;
    let database = server.database.connect().await;
    // Disabled by a version that left the ticket with him.
    database
        .batch_execute("UPDATE accounts SET disabled_at = now() WHERE name = 'Boris'")
        .await
        .unwrap();
    server
        .restart_after(async || {
            let down = include_str!("../../migrations/2026-11-26-000044_former_staff/down.sql");
            let up = include_str!("../../migrations/2026-11-26-000044_former_staff/up.sql");
            for script in [down, up] {
                database.batch_execute(script).await.unwrap();
            }
        })
        .await;
    let returned = "SELECT assignee_id IS NULL FROM tickets";
    let wait =
        async { while !database.query_one(returned, &[]).await.unwrap().get::<_, bool>(0) {} };
    time::timeout(TIMEOUT, wait).await.expect("the ticket in the queue");
    let actor =
        "SELECT actor_id IS NULL FROM events WHERE kind = 'assignee_changed' ORDER BY id DESC";
    assert!(database.query(actor, &[]).await.unwrap()[0].get::<_, bool>(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_staff_whom_a_node_of_the_version_before_disabled_are_returned() {
    let mut server = TestServer::start().await;
    let (anna, ilya) = (server.customer("Anna").await, server.sign_up("Ilya", Role::Admin).await);
    let boris = server.agent("Boris").await.account_id().await;
    let (ticket, closed) = (anna.create_ticket("one").await, anna.create_ticket("two").await);
    for ticket in [&ticket, &closed] {
        ilya.update(ticket, json!({ "assigneeId": boris })).await;
    }
    ilya.update(&closed, json!({ "status": "CLOSED" })).await;
    let database = server.database.connect().await;
    let disable = "UPDATE accounts SET disabled_at = now() WHERE name = 'Boris'";
    server.restart_after(async || database.batch_execute(disable).await.unwrap()).await;
    let assigned = "SELECT summary FROM tickets WHERE assignee_id IS NOT NULL ORDER BY summary";
    let summaries = async || {
        let rows = database.query(assigned, &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>()
    };
    // A closed ticket keeps its assignee.
    let wait = async { while summaries().await != ["two"] {} };
    time::timeout(TIMEOUT, wait).await.expect("the ticket in the queue");
    let recorded = "SELECT count(*) FROM former_staff";
    let wait =
        async { while database.query_one(recorded, &[]).await.unwrap().get::<_, i64>(0) != 0 {} };
    time::timeout(TIMEOUT, wait).await.expect("no record");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_list_accounts_page_by_page() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    for name in ["Anna", "Boris", "Clara"] {
        server.customer(name).await;
    }
    server.agent("Marta").await;
    let all = ["anna", "boris", "clara", "ilya", "marta"].map(|name| format!("{name}@example.com"));
    let (first, cursor) = listed(&ilya, json!({ "first": 2 })).await;
    let (rest, _) = listed(&ilya, json!({ "first": 9, "after": cursor })).await;
    assert_eq!([first, rest].concat(), all);
    assert_eq!(listed(&ilya, json!({ "last": 2 })).await.0, all[3..]);
    assert_eq!(listed(&ilya, json!({ "role": "AGENT" })).await.0, ["marta@example.com"]);
    assert_eq!(listed(&ilya, json!({ "text": "bOr" })).await.0, ["boris@example.com"]);
    assert_eq!(listed(&ilya, json!({ "text": "%" })).await.0, [] as [&str; 0]);
    let query = "query($after: String, $text: String) { accounts(after: $after, text: $text) { nodes { id } } }";
    // "x" is no base64, and "AAAA" is three NUL characters.
    for variables in [
        json!({ "after": "x" }),
        json!({ "after": "AAAA" }),
        json!({ "text": "" }),
        json!({ "text": "a\0" }),
    ] {
        assert_eq!(ilya.send(query, variables).await.code(), "BAD_REQUEST");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_manage_accounts() {
    let server = TestServer::start_with(&[("second_factor.staff", "required".to_owned())]).await;
    let jonas = server.customer("Jonas").await.account_id().await;
    let confined = server.sign_up("Ilya", Role::Admin).await;
    let before = server.content().await;
    refuse_all(&jonas, &[(confined, "SECOND_FACTOR_REQUIRED")]).await;
    assert_eq!(server.content().await, before);
    server.stop().await;

    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let jonas = server.customer("Jonas").await.account_id().await;
    let clients = [
        (server.anonymous(), "UNAUTHENTICATED"),
        (server.customer("Anna").await, "FORBIDDEN"),
        (server.agent("Marta").await, "FORBIDDEN"),
        (server.machine(&Scope::ALL).await, "FORBIDDEN"),
    ];
    let before = server.content().await;
    refuse_all(&jonas, &clients).await;
    for (mutation, input) in [
        (SET_ROLE, json!({ "id": "x", "role": "AGENT" })),
        (DISABLE, json!({ "id": "x" })),
        (ENABLE, json!({ "id": "x" })),
        (UPDATE, json!({ "id": "x" })),
    ] {
        assert_eq!(send(&ilya, mutation, input).await.code(), "NOT_FOUND");
    }
    // Without mail nobody could set a password.
    assert_eq!(
        outcome(&ilya, CREATE, person("olga@example.com")).await,
        Err("NOT_AVAILABLE".into())
    );
    assert_eq!(server.content().await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_proves_who_they_are_before_they_change_who_has_access() {
    let fixture = MailFixture::start().await;
    let (server, ilya) = (&fixture.server, fixture.server.sign_up("Ilya", Role::Admin).await);
    let (anna, boris) = (fixture.anna.account_id().await, fixture.boris.account_id().await);
    with_authenticator(server, &fixture.boris).await;
    let token = json!({ "name": "panel", "scopes": ["CREATE_HANDOFFS"] });
    let changes = [
        (CREATE, person("olga@example.com")),
        (SET_ROLE, json!({ "id": boris, "role": "ADMIN" })),
        (DISABLE, json!({ "id": anna })),
        (ENABLE, json!({ "id": anna })),
        (RESET_FACTORS, json!({ "accountId": boris })),
        (CREATE_TOKEN, token),
    ];
    // For their own factors and address a sign-in is not enough.
    let own = json!(ilya.account_id().await);
    for (mutation, input) in [
        (RESET_FACTORS, json!({ "accountId": own })),
        (UPDATE, json!({ "id": own, "email": "i@example.com" })),
    ] {
        let refused = outcome(&ilya, mutation, input).await;
        assert_eq!(refused, Err("REAUTHENTICATION_REQUIRED".into()), "{mutation}");
    }
    server.clock.advance(TimeDelta::minutes(10));
    let before = server.content().await;
    for (mutation, input) in changes.clone() {
        let refused = outcome(&ilya, mutation, input.clone()).await;
        assert_eq!(refused, Err("REAUTHENTICATION_REQUIRED".into()), "{mutation}");
        // Those who may not do it are not asked for a proof.
        assert_eq!(send(&fixture.boris, mutation, input).await.code(), "FORBIDDEN");
    }
    assert_eq!(server.content().await, before);
    // Reading needs no proof, and neither does what makes access smaller at once.
    listed(&ilya, json!({})).await;
    outcome(&ilya, UPDATE, json!({ "id": anna, "name": "Anne" })).await.unwrap();

    let proof = "mutation($password: String!) { reauthenticate(input: { password: $password }) { validUntil } }";
    ilya.ok(proof, json!({ "password": PASSWORD })).await;
    for (mutation, input) in changes {
        outcome(&ilya, mutation, input).await.unwrap();
    }
    let notice = fixture.smtp.nth(1, "removed all second factors").await;
    assert!(
        !notice.text.contains("127.0.0.1") && !notice.text.contains("Device"),
        "{}",
        notice.text
    );
    fixture.server.stop().await;
}

async fn refuse_all(id: &str, clients: &[(Client, &str)]) {
    for (client, code) in clients {
        for (mutation, input) in [
            (CREATE, person("")),
            (SET_ROLE, json!({ "id": id, "role": "ADMIN" })),
            (DISABLE, json!({ "id": id })),
            (ENABLE, json!({ "id": id })),
            (UPDATE, json!({ "id": id, "name": "x" })),
        ] {
            let reply = send(client, mutation, input).await;
            assert_eq!(reply.code(), *code, "{mutation}: {}", reply.body);
        }
        let reply = client.send("{ accounts(after: \"x\") { nodes { id } } }", json!({})).await;
        assert_eq!(reply.code(), *code, "{}", reply.body);
    }
}
