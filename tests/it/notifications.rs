//! Notifications: the list, marking as read, the live stream, preferences and unsubscribing.

use futures_util::future::{join_all, select_all};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use ticketwire::domain::account::Role;

use crate::harness::{Client, Socket, TestServer, mail::MailFixture, server::PASSWORD};

const LIST: &str = "{ viewer { unreadNotificationCount notifications { nodes {
    id kind readAt ticket { number } event { __typename actor { name } } } } } }";

const STREAM: &str = "subscription($after: String) { notifications(after: $after) { __typename
    ... on NotificationAdded { cursor unreadNotificationCount notification { kind ticket { number } } }
    ... on NotificationCheckpoint { cursor unreadNotificationCount } } }";

/// Waits on the live stream until this many notifications are unread; returns its socket.
async fn until_unread(client: &Client, count: i64) -> Socket {
    let mut socket = client.socket().await;
    socket.subscribe("notifications", STREAM, json!({})).await;
    loop {
        if socket.item().await["unreadNotificationCount"] == count {
            return socket;
        }
    }
}

async fn mark_read(client: &Client, input: Value) -> Value {
    let mutation = "mutation($input: MarkNotificationsReadInput!) {
        markNotificationsRead(input: $input) { unreadNotificationCount userErrors { code } } }";
    let data = client.ok(mutation, json!({ "input": input })).await;
    data["markNotificationsRead"]["unreadNotificationCount"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_report_what_others_do_until_they_are_read() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    boris.note(&ticket, "Hm.").await;
    boris.comment(&ticket, "We look into it.").await;
    until_unread(&anna, 2).await;
    let viewer = &anna.ok(LIST, json!({})).await["viewer"];
    let nodes = viewer["notifications"]["nodes"].as_array().unwrap();
    let kinds = nodes
        .iter()
        .map(|it| (it["kind"].as_str().unwrap(), it["event"]["__typename"].as_str().unwrap()));
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [("STATUS_CHANGED", "StatusChanged"), ("SUPPORT_ANSWERED", "CommentAdded")]
    );
    assert!(
        nodes.iter().all(|it| it["readAt"].is_null() && it["event"]["actor"]["name"] == "Boris")
    );

    // Somebody else can neither read nor mark them.
    assert_eq!(mark_read(&boris, json!({ "ids": [nodes[0]["id"]] })).await, 0);
    let query = "query($id: ID!) { node(id: $id) { ... on Account { notifications { nodes { id } } unreadNotificationCount mailPreferences { statusChanged } } } }";
    let seen = boris.ok(query, json!({ "id": anna.account_id().await })).await;
    assert_eq!(
        seen["node"],
        json!({ "notifications": null, "unreadNotificationCount": null, "mailPreferences": null })
    );

    assert_eq!(mark_read(&anna, json!({ "ids": [nodes[0]["id"], "nonsense"] })).await, 1);
    assert_eq!(mark_read(&anna, json!({ "ids": [nodes[0]["id"]] })).await, 1);
    let unread = "{ viewer { notifications(unreadOnly: true) { nodes { kind } } } }";
    let left = anna.ok(unread, json!({})).await;
    assert_eq!(left["viewer"]["notifications"]["nodes"], json!([{ "kind": "SUPPORT_ANSWERED" }]));
    assert_eq!(mark_read(&anna, json!({})).await, 0);
    assert_eq!(server.anonymous().send(LIST, json!({})).await.code(), "UNAUTHENTICATED");
    server.stop().await;
}

/// As after a failover that has lost nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_open_while_an_epoch_began_can_be_resumed() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    server.quiet().await;
    let mut socket = anna.socket().await;
    socket.subscribe("1", STREAM, json!({})).await;
    socket.item().await;
    let promote = "UPDATE feed_epochs SET timeline = timeline - 1";
    server.database.connect().await.batch_execute(promote).await.unwrap();
    boris.comment(&ticket, "We look into it.").await;
    let cursor = loop {
        let item = socket.item().await;
        if item["notification"]["kind"] == "SUPPORT_ANSWERED" {
            break item["cursor"].clone();
        }
    };
    let epochs = "SELECT count(*) FROM feed_epochs";
    let row = server.database.connect().await.query_one(epochs, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    let mut socket = anna.socket().await;
    socket.subscribe("1", STREAM, json!({ "after": cursor })).await;
    let last = loop {
        let item = socket.item().await;
        if item["__typename"] != "NotificationAdded" {
            break item;
        }
    };
    assert_eq!(last["__typename"], "NotificationCheckpoint");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_listed_page_by_page() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    for _ in 0..5 {
        boris.comment(&ticket, "Still at it.").await;
    }
    until_unread(&anna, 6).await;
    let query = "query($after: String) { viewer { notifications(first: 4, after: $after) {
        pageInfo { hasNextPage endCursor } nodes { id } } } }";
    let first = anna.ok(query, json!({})).await["viewer"]["notifications"].clone();
    let after = json!({ "after": first["pageInfo"]["endCursor"] });
    let second = anna.ok(query, after).await["viewer"]["notifications"].clone();
    assert_eq!(
        (&first["pageInfo"]["hasNextPage"], &second["pageInfo"]["hasNextPage"]),
        (&json!(true), &json!(false))
    );
    let mut ids = [&first, &second].map(|page| page["nodes"].as_array().unwrap().clone()).concat();
    assert_eq!(ids.len(), 6);
    ids.dedup();
    assert_eq!(ids.len(), 6);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notification_stream_resumes_after_its_cursor_on_any_node() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ticket = anna.create_ticket("The site is down").await;
    let mut socket = until_unread(&anna, 0).await;
    boris.comment(&ticket, "First.").await;
    let first = socket.item().await;
    assert_eq!(first["__typename"], "NotificationAdded", "{first}");
    assert_eq!(first["notification"]["kind"], "SUPPORT_ANSWERED");
    assert_eq!(socket.item().await["notification"]["kind"], "STATUS_CHANGED");
    drop(socket);
    boris.comment(&ticket, "Second.").await;
    boris.comment(&ticket, "Third.").await;

    let second = server.second_node().await;
    let mut socket = anna.at(&second.address().to_string()).socket().await;
    socket.subscribe("notifications", STREAM, json!({ "after": first["cursor"] })).await;
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        let item = socket.item().await;
        if item["__typename"] == "NotificationAdded" {
            kinds.push(item["notification"]["kind"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(kinds, ["STATUS_CHANGED", "SUPPORT_ANSWERED", "SUPPORT_ANSWERED"]);
    // A notification from one node arrives at the other.
    boris.comment(&ticket, "Fourth.").await;
    loop {
        let item = socket.item().await;
        if item["__typename"] == "NotificationAdded" {
            assert_eq!(item["unreadNotificationCount"], 5);
            break;
        }
    }
    anna.ok("mutation { signOut { signedOut } }", json!({})).await;
    assert_eq!(socket.close_code().await, 4401);
    second.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_lacks_because_it_is_not_stored_yet_comes_in_the_stream() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let holder = server.database.connect().await;
    holder.batch_execute("BEGIN; SELECT FROM consumer_offsets FOR UPDATE").await.unwrap();
    let mut socket = anna.socket().await;
    socket.watch_ticket("ticket", &ticket.id, None).await;
    socket.caught_up().await;
    marta.note(&ticket, "Nobody is notified of this.").await;
    marta.comment(&ticket, "An answer").await;
    while socket.item().await["comment"]["body"] != "An answer" {}
    let read = "{ eventCursor viewer { notifications { nodes { kind } } } }";
    let seen = anna.ok(read, json!({})).await;
    assert_eq!(seen["viewer"]["notifications"]["nodes"], json!([]));
    holder.batch_execute("COMMIT").await.unwrap();
    server.quiet().await;
    let after = json!({ "after": seen["eventCursor"] });
    let mut socket = anna.socket().await;
    socket.subscribe("notifications", STREAM, after).await;
    let kinds = [socket.item().await, socket.item().await];
    let kinds = kinds.map(|item| item["notification"]["kind"].clone());
    assert_eq!(kinds, ["SUPPORT_ANSWERED", "STATUS_CHANGED"]);
    assert_eq!(socket.item().await["__typename"], "NotificationCheckpoint");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignee_is_notified_of_the_assignment_and_of_customer_answers() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let carol = server.agent("Carol").await;
    let ticket = anna.create_ticket("The site is down").await;
    carol.update(&ticket, json!({ "assigneeId": boris.account_id().await })).await;
    anna.comment(&ticket, "Hello?").await;
    until_unread(&boris, 2).await;
    let viewer = boris.ok(LIST, json!({})).await;
    let nodes = viewer["viewer"]["notifications"]["nodes"].as_array().unwrap();
    let kinds = nodes.iter().map(|it| it["kind"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(kinds, ["CUSTOMER_ANSWERED", "TICKET_ASSIGNED"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_agent_is_shown_the_notifications_of_visible_tickets_only() {
    let server = TestServer::start().await;
    let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let ticket = anna.create_ticket("The site is down").await;
    ilya.update(&ticket, json!({ "assigneeId": boris.account_id().await })).await;
    drop(until_unread(&boris, 1).await);
    ilya.make_customer(&boris.account_id().await).await;

    let boris = server.anonymous().sign_in("boris@example.com", PASSWORD).await;
    let own = boris.create_ticket("My own site is down").await;
    ilya.comment(&own, "We look into it.").await;
    let mut socket = until_unread(&boris, 2).await;
    let viewer = &boris.ok(LIST, json!({})).await["viewer"];
    let nodes = viewer["notifications"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|it| it["ticket"]["number"] == own.number), "{nodes:?}");
    assert_eq!((viewer["unreadNotificationCount"].clone(), nodes.len()), (json!(2), 2));
    assert_eq!(mark_read(&boris, json!({})).await, 0);
    ilya.comment(&own, "Solved.").await;
    let solved = loop {
        let item = socket.item().await;
        if item["unreadNotificationCount"] == 1 {
            break item;
        }
    };
    assert_eq!(solved["notification"]["ticket"]["number"], own.number);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_chooses_the_language_and_the_kinds_of_their_mails() {
    let fixture = MailFixture::start().await;
    let update = "mutation($input: UpdatePreferencesInput!) { updatePreferences(input: $input) {
        account { locale mailPreferences { ticketCreated supportAnswered statusChanged ticketClosed } } userErrors { code } } }";
    let input =
        json!({ "locale": "RU", "mail": { "ticketCreated": false, "ticketClosed": false } });
    let data = fixture.anna.ok(update, json!({ "input": input })).await;
    let expected = json!({ "ticketCreated": false, "supportAnswered": true, "statusChanged": true, "ticketClosed": false });
    assert_eq!(
        data["updatePreferences"]["account"],
        json!({ "locale": "RU", "mailPreferences": expected })
    );
    let ticket = fixture.anna.create_ticket("Сайт не открывается").await;
    fixture.boris.comment(&ticket, "Смотрим.").await;
    let mails = fixture.smtp.received(1).await;
    assert_eq!(mails[0].subject, "[CS-100001] Сайт не открывается");
    assert!(
        mails[0].text.contains("Boris пишет:") && mails[0].text.contains("Новый статус: В работе")
    );
    fixture.boris.update(&ticket, json!({ "status": "CLOSED" })).await;
    fixture.anna.ok(update, json!({ "input": { "mail": { "ticketCreated": true } } })).await;
    fixture.anna.create_ticket("Ещё одна").await;
    assert!(fixture.smtp.received(2).await[1].subject.contains("Ещё одна"));
    assert_eq!(
        fixture.server.anonymous().send(update, json!({ "input": {} })).await.code(),
        "UNAUTHENTICATED"
    );
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_preferences_are_all_kept() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let update = "mutation($mail: MailPreferencesInput!) { updatePreferences(input: { mail: $mail }) {
        account { mailPreferences { ticketCreated supportAnswered statusChanged ticketClosed } } } }";
    anna.ok(update, json!({ "mail": { "ticketClosed": true } })).await;
    let (mut blocker, observer) =
        (server.database.connect().await, server.database.connect().await);
    // Both changes have read what they read before the first of them is written.
    let blocking = blocker.transaction().await.unwrap();
    blocking.execute("SELECT FROM mail_preferences FOR UPDATE", &[]).await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let changes = async |field: &str| anna.ok(update, json!({ "mail": { field: false } })).await;
    let release = async {
        while observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < 2 {}
        blocking.commit().await.unwrap();
    };
    tokio::join!(changes("ticketCreated"), changes("statusChanged"), release);
    let data = anna.ok(update, json!({ "mail": {} })).await;
    assert_eq!(
        data["updatePreferences"]["account"]["mailPreferences"],
        json!({ "ticketCreated": false, "supportAnswered": true, "statusChanged": false, "ticketClosed": true })
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_mail_can_be_switched_on_and_off_separately() {
    let fixture = MailFixture::start().await;
    let kinds = ["ticketCreated", "supportAnswered", "statusChanged", "ticketClosed"];
    let update = "mutation($input: UpdatePreferencesInput!) {
        updatePreferences(input: $input) { userErrors { code } } }";
    let working = "New status: Working on it";
    let expected: [&[&str]; 4] = [
        &["We have received your ticket"],
        &["We look into it."],
        &[working, "New status: Waiting for customer"],
        &["New status: Closed"],
    ];
    let mut received = 0;
    for (enabled, expected) in kinds.iter().zip(expected) {
        let mail = kinds.iter().map(|kind| ((*kind).to_owned(), json!(kind == enabled)));
        let mail = mail.collect::<serde_json::Map<_, _>>();
        fixture.anna.ok(update, json!({ "input": { "mail": mail } })).await;
        let ticket = fixture.anna.create_ticket(enabled).await;
        fixture.boris.comment(&ticket, "We look into it.").await;
        fixture.boris.update(&ticket, json!({ "status": "WAITING_FOR_CUSTOMER" })).await;
        fixture.boris.update(&ticket, json!({ "status": "CLOSED" })).await;
        // Preferences apply when a mail is planned.
        fixture.server.quiet().await;
        let mails = fixture.smtp.received(received + expected.len()).await.split_off(received);
        received += expected.len();
        assert_eq!(mails.len(), expected.len(), "{enabled}");
        for (mail, part) in mails.iter().zip(expected) {
            assert!(mail.subject.contains(&ticket.number) && mail.text.contains(part), "{enabled}");
            assert!(mail.text.contains(working) == (*part == working), "{}", mail.text);
        }
    }
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_click_leads_to_the_server_whatever_page_people_use() {
    for (base, offers_one_click) in [("https://api.example.com", true), ("http://10.0.0.7", false)]
    {
        let page = ("links.unsubscribe", "https://portal.example.com/stop#token={token}");
        let fixture = MailFixture::start_with(&[page, ("links.base_url", base)]).await;
        fixture.anna.create_ticket("The site is down").await;
        let mail = fixture.smtp.received(1).await.remove(0);
        assert!(mail.text.contains("https://portal.example.com/stop#token="));
        let header = format!("List-Unsubscribe: <{base}/unsubscribe?token=");
        assert!(mail.raw.contains(&header), "{}", mail.raw);
        assert_eq!(mail.raw.contains("List-Unsubscribe-Post:"), offers_one_click);
        fixture.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_click_unsubscribes_from_the_mails_of_one_ticket_only() {
    let fixture = MailFixture::start().await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    let mail = fixture.smtp.received(1).await.remove(0);
    assert!(mail.raw.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
    let link = mail.raw.split("List-Unsubscribe: <").nth(1).unwrap().split('>').next().unwrap();
    assert!(mail.text.contains(link) && mail.html.contains("unsubscribe?token="));
    let path = link.strip_prefix("https://desk.example.com").unwrap();
    let stranger = fixture.server.anonymous();

    // Opening the page changes nothing.
    let page = stranger.request(Method::GET, path, |request| request).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.as_str().unwrap().contains("Stop receiving mail about ticket CS-100001?"));
    assert!(
        page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'")
    );
    fixture.boris.comment(&ticket, "First.").await;
    fixture.smtp.received(2).await;

    let click = async |path: &str| {
        let form = "application/x-www-form-urlencoded";
        let post = stranger.request(Method::POST, path, |request| {
            request.header("content-type", form).body("List-Unsubscribe=One-Click")
        });
        post.await.status
    };
    assert_eq!(click(path).await, StatusCode::OK);
    assert_eq!(click(path).await, StatusCode::OK);
    fixture.boris.comment(&ticket, "Second.").await;
    fixture.anna.create_ticket("Another").await;
    assert!(fixture.smtp.received(3).await[2].subject.contains("Another"));

    for forged in
        ["/unsubscribe", "/unsubscribe?token=", "/unsubscribe?token=AAAA", &path[..path.len() - 2]]
    {
        assert_eq!(click(forged).await, StatusCode::NOT_FOUND, "{forged}");
    }
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_mails_count_as_requests_of_the_network() {
    let fixture = MailFixture::start_with(&[("limits.anonymous_requests_per_address", "3")]).await;
    fixture.anna.create_ticket("The site is down").await;
    let mail = fixture.smtp.received(1).await.remove(0);
    let link = mail.raw.split("List-Unsubscribe: <").nth(1).unwrap().split('>').next().unwrap();
    let path = link.strip_prefix("https://desk.example.com").unwrap();
    let mut other = fixture.server.database.connect().await;
    let holder = other.transaction().await.unwrap();
    holder.execute("LOCK TABLE mail_unsubscriptions", &[]).await.unwrap();
    let stranger = fixture.server.anonymous();
    let click = || Box::pin(stranger.request(Method::POST, path, |request| request));
    let (refused, _, waiting) = select_all([click(), click(), click(), click()]).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.body.to_string().contains("too many requests from your network"));
    holder.commit().await.unwrap();
    for followed in join_all(waiting).await {
        assert_eq!(followed.status, StatusCode::OK);
    }
    other.batch_execute("ALTER TABLE mail_unsubscriptions RENAME TO away").await.unwrap();
    let failed = click().await;
    assert_eq!(failed.status, StatusCode::SERVICE_UNAVAILABLE, "{}", failed.body);
    assert_eq!(failed.headers["retry-after"], "5");
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_unsubscribed_by_mistake_subscribes_again_by_one_click_or_by_the_api() {
    let fixture = MailFixture::start().await;
    let ticket = fixture.anna.create_ticket("The site is down").await;
    let mail = fixture.smtp.received(1).await.remove(0);
    let link = mail.raw.split("List-Unsubscribe: <").nth(1).unwrap().split('>').next().unwrap();
    let path = link.strip_prefix("https://desk.example.com").unwrap();
    let stranger = fixture.server.anonymous();
    let open = async |method: Method, path: &str| {
        let page = stranger.request(method, path, |request| request).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        page.body.as_str().unwrap().to_owned()
    };
    let action = |page: &str| {
        let action = page.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
        action.replace("&#x2f;", "/").replace("&amp;", "&")
    };
    let unsubscribed = open(Method::POST, path).await;
    // Opened later, the link says the same.
    for page in [unsubscribed, open(Method::GET, path).await] {
        assert!(page.contains("You have unsubscribed from ticket CS-100001"), "{page}");
        assert!(page.contains("<button>Subscribe again</button>"), "{page}");
    }
    let again = action(&open(Method::GET, path).await);
    let page = open(Method::POST, &again).await;
    assert!(page.contains("You will get mail about ticket CS-100001 again"), "{page}");
    assert!(action(&page).starts_with("/unsubscribe?token="));
    fixture.boris.comment(&ticket, "First.").await;
    assert!(fixture.smtp.received(2).await[1].text.contains("First."));

    let set = "mutation($input: SetTicketMailInput!) { setTicketMail(input: $input) {
        ticket { number } userErrors { code } } }";
    let list = "{ viewer { mailPreferences { unsubscribedTickets { number } } } }";
    let listed = async || {
        fixture.anna.ok(list, json!({})).await["viewer"]["mailPreferences"]["unsubscribedTickets"]
            .clone()
    };
    for (is_on, expected) in [(false, json!([{ "number": "CS-100001" }])), (true, json!([]))] {
        for _ in 0..2 {
            let input = json!({ "ticketId": ticket.id, "isOn": is_on });
            let data = fixture.anna.ok(set, json!({ "input": input })).await;
            assert_eq!(data["setTicketMail"]["ticket"]["number"], "CS-100001");
            assert_eq!(listed().await, expected);
        }
        fixture.boris.comment(&ticket, if is_on { "Heard." } else { "Unheard." }).await;
        fixture.server.quiet().await;
    }
    assert!(fixture.smtp.received(3).await[2].text.contains("Heard."));
    let foreign = fixture.server.customer("Jonas").await;
    let input = json!({ "ticketId": ticket.id, "isOn": false });
    assert_eq!(foreign.send(set, json!({ "input": input })).await.code(), "NOT_FOUND");

    // Those that the person may not see any more leave no gap.
    let input = json!({ "ticketId": ticket.id, "isOn": false });
    fixture.anna.ok(set, json!({ "input": input })).await;
    let hidden = foreign.create_ticket("Not Anna's").await;
    let database = fixture.server.database.connect().await;
    let insert = format!(
        "INSERT INTO mail_unsubscriptions (address, ticket_id, created_at)
         SELECT 'anna@example.com', id, now() + interval '1 day' FROM tickets
         WHERE '{}' LIKE '%' || number",
        hidden.number
    );
    assert_eq!(database.execute(&insert, &[]).await.unwrap(), 1);
    let first = "{ viewer { mailPreferences { unsubscribedTickets(first: 1) { number } } } }";
    let data = fixture.anna.ok(first, json!({})).await;
    let listed = &data["viewer"]["mailPreferences"]["unsubscribedTickets"];
    assert_eq!(*listed, json!([{ "number": "CS-100001" }]));
    fixture.server.stop().await;
}
