//! Canned answers: personal and shared, their placeholders, and who may change them.

use serde_json::{Value, json};
use ticketwire::domain::{account::Role, service_token::Scope};

use crate::{
    erasure,
    harness::{
        Client, TestServer,
        client::{Reply, SALES, TECHNICAL_SUPPORT},
    },
};

const FIELDS: &str = "id title body isShared isRetired locale category { slug } owner { name }";
const MUTATIONS: [&str; 4] = ["create", "update", "retire", "restore"];

/// Sends a mutation: its first word is `verb`.
async fn send(client: &Client, verb: &str, input: Value) -> Reply {
    let (name, kind) = (format!("{verb}CannedAnswer"), capitalized(verb));
    let document = format!(
        "mutation($input: {kind}CannedAnswerInput!) {{ {name}(input: $input) {{
            cannedAnswer {{ {FIELDS} }} userErrors {{ field code message }} }} }}"
    );
    client.send(&document, json!({ "input": input })).await
}

async fn order(client: &Client, ids: &[&Value]) -> Reply {
    let document = "mutation($ids: [ID!]!) { orderCannedAnswers(input: { ids: $ids }) {
        cannedAnswers { title } userErrors { field code message } } }";
    client.send(document, json!({ "ids": ids })).await
}

/// Sends a mutation that must succeed; returns the canned answer.
async fn succeed(client: &Client, verb: &str, input: Value) -> Value {
    let reply = send(client, verb, input).await;
    let name = format!("{verb}CannedAnswer");
    assert_eq!(reply.user_errors(&name), [] as [&str; 0], "{}", reply.body);
    reply.at(&format!("/data/{name}/cannedAnswer")).clone()
}

async fn create(client: &Client, title: &str, more: Value) -> Value {
    let mut input = json!({ "title": title, "body": format!("Text of {title}") });
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    succeed(client, "create", input).await
}

fn capitalized(verb: &str) -> String {
    let (first, rest) = verb.split_at(1);
    first.to_uppercase() + rest
}

async fn titles(client: &Client, arguments: &str) -> Vec<String> {
    let data = client.ok(&format!("{{ cannedAnswers{arguments} {{ title }} }}"), json!({})).await;
    let all = data["cannedAnswers"].as_array().unwrap().iter();
    all.map(|answer| answer["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_see_shared_canned_answers_and_their_own_in_their_order() {
    let server = TestServer::start().await;
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let shared = json!({ "isShared": true });
    let hello = create(&ilya, "hello", shared.clone()).await;
    let bye = create(&ilya, "bye", shared.clone()).await;
    let input = json!({ "categoryId": SALES, "locale": "RU", "idempotencyKey": "1" });
    let mine = create(&marta, " mine ", input.clone()).await;
    assert_eq!(create(&marta, " mine ", input).await["id"], mine["id"]);
    assert_eq!(
        mine,
        json!({ "id": mine["id"], "title": "mine", "body": "Text of  mine", "isShared": false,
            "isRetired": false, "locale": "RU", "category": { "slug": "sales" },
            "owner": { "name": "Marta" } })
    );
    let other = create(&marta, "other", json!({})).await;
    create(&oleg, "Oleg's", json!({})).await;
    assert_eq!(titles(&marta, "").await, ["hello", "bye", "mine", "other"]);
    assert_eq!(titles(&oleg, "").await, ["hello", "bye", "Oleg's"]);
    assert_eq!(titles(&ilya, "").await, ["hello", "bye"]);

    assert_eq!(
        order(&marta, &[&other["id"], &mine["id"]]).await.user_errors("orderCannedAnswers"),
        [] as [&str; 0]
    );
    let reply = order(&ilya, &[&bye["id"], &hello["id"]]).await;
    assert_eq!(
        reply.at("/data/orderCannedAnswers/cannedAnswers"),
        &json!([{ "title": "bye" }, { "title": "hello" }])
    );
    assert_eq!(titles(&marta, "").await, ["bye", "hello", "other", "mine"]);

    let changes = json!({ "id": mine["id"], "title": "Mine", "categoryId": null, "locale": null });
    let changed = succeed(&marta, "update", changes).await;
    assert_eq!(
        (&changed["title"], &changed["body"], &changed["category"], &changed["locale"]),
        (&json!("Mine"), &mine["body"], &Value::Null, &Value::Null)
    );

    let retired = succeed(&marta, "retire", json!({ "id": other["id"] })).await;
    assert_eq!(retired["isRetired"], true);
    assert_eq!(titles(&marta, "").await, ["bye", "hello", "Mine"]);
    succeed(&ilya, "retire", json!({ "id": bye["id"] })).await;
    let all = "(includeRetired: true)";
    assert_eq!(titles(&marta, all).await, ["hello", "bye", "Mine", "other"]);
    succeed(&marta, "restore", json!({ "id": other["id"] })).await;
    succeed(&ilya, "restore", json!({ "id": bye["id"] })).await;
    assert_eq!(titles(&marta, "").await, ["hello", "bye", "Mine", "other"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_answers_that_fit_a_ticket_are_offered_for_it() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    for (title, category, locale) in [
        ("all", None, None),
        ("sales", Some(SALES), None),
        ("support", Some(TECHNICAL_SUPPORT), Some("EN")),
        ("russian", None, Some("RU")),
    ] {
        create(&marta, title, json!({ "categoryId": category, "locale": locale })).await;
    }
    let ticket = anna.create_ticket("one").await;
    let category = marta.ok(
        "query($id: ID!) { node(id: $id) { ... on Ticket { category { slug } } } }",
        json!({ "id": ticket.id }),
    );
    assert_eq!(category.await["node"]["category"]["slug"], "technical-support");
    let fitting = format!("(ticketId: {:?})", ticket.id);
    assert_eq!(titles(&marta, &fitting).await, ["all", "support"]);
    let database = server.database.connect().await;
    let russian = "UPDATE accounts SET locale = 'ru' WHERE name = 'Anna'";
    database.execute(russian, &[]).await.unwrap();
    marta.update(&ticket, json!({ "categoryId": SALES })).await;
    assert_eq!(titles(&marta, &fitting).await, ["all", "sales", "russian"]);
    for unknown in ["garbage".to_owned(), marta.account_id().await] {
        let query = format!("{{ cannedAnswers(ticketId: {unknown:?}) {{ id }} }}");
        assert_eq!(marta.send(&query, json!({})).await.code(), "NOT_FOUND");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placeholders_are_filled_in_for_a_ticket_once() {
    let server =
        TestServer::start_with(&[("links.ticket", "https://desk.example/t/{number}".to_owned())])
            .await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("{{agent.name}} {{ticket.summary}} =1+1").await;
    let database = server.database.connect().await;
    let odd = "UPDATE accounts SET name = 'Anna {{ticket.number}}' WHERE name = 'Anna'";
    database.execute(odd, &[]).await.unwrap();
    let body = "Hello {{reporter.name}}, {{ ticket.number }} ({{ticket.link}}) is about \
                {{ticket.summary}}. {{category.name}}: {{agent.name}} {{unclosed} }}";
    let answer = succeed(&marta, "create", json!({ "title": "a", "body": body })).await;
    assert_eq!(answer["body"], body);
    let query = "query($id: ID!, $ticket: ID!) {
        node(id: $id) { ... on CannedAnswer { text(ticketId: $ticket) } } }";
    let data = marta.ok(query, json!({ "id": answer["id"], "ticket": ticket.id })).await;
    let number = marta.ok(
        "query($id: ID!) { node(id: $id) { ... on Ticket { number } } }",
        json!({ "id": ticket.id }),
    );
    let number = number.await["node"]["number"].as_str().unwrap().to_owned();
    let text = format!(
        "Hello Anna {{{{ticket.number}}}}, {number} (https://desk.example/t/{number}) is about \
         {{{{agent.name}}}} {{{{ticket.summary}}}} =1+1. Technical Support: Marta {{{{unclosed}} }}}}"
    );
    assert_eq!(data["node"]["text"], text);

    // The category is named in the language of the answer, or else in the customer's.
    let russian = json!({ "title": "b", "body": "{{category.name}}", "locale": "RU" });
    let russian = succeed(&marta, "create", russian).await;
    let data = marta.ok(query, json!({ "id": russian["id"], "ticket": ticket.id })).await;
    assert_eq!(data["node"]["text"], "Техническая поддержка");

    // A backslash makes a placeholder text. A redacted summary is named as such.
    let redact = "UPDATE tickets SET summary = ''";
    database.execute(redact, &[]).await.unwrap();
    let body = r"\{{site.url}} {{ticket.summary}}";
    let literal = json!({ "title": "d", "body": body, "locale": "RU" });
    let literal = succeed(&marta, "create", literal).await;
    let data = marta.ok(query, json!({ "id": literal["id"], "ticket": ticket.id })).await;
    assert_eq!(data["node"]["text"], "{{site.url}} (удалено)");
    let restore = "UPDATE tickets SET summary = '{{agent.name}} {{ticket.summary}} =1+1'";
    database.execute(restore, &[]).await.unwrap();
    succeed(&marta, "retire", json!({ "id": literal["id"] })).await;

    // One that is too long once it is filled in does not hide the others.
    let long = format!("{}{{{{ticket.summary}}}}", "я".repeat(65_536 - 18));
    let long = succeed(&marta, "create", json!({ "title": "c", "body": long })).await;
    let all = "query($ticket: ID!) { cannedAnswers { title text(ticketId: $ticket) } }";
    let reply = marta.send(all, json!({ "ticket": ticket.id })).await;
    assert_eq!(reply.code(), "BAD_REQUEST");
    let message = reply.at("/errors/0/message").as_str().unwrap();
    assert!(message.contains("at most 65536 characters long, but has 65556"), "{message}");
    let texts = reply.at("/data/cannedAnswers").as_array().unwrap();
    let texts = texts.iter().map(|it| it["text"].is_string()).collect::<Vec<_>>();
    assert_eq!(texts, [true, true, false]);
    let reply = marta.send(query, json!({ "id": long["id"], "ticket": "garbage" })).await;
    assert_eq!(reply.code(), "NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canned_answers_refuse_invalid_input_and_name_what_is_wrong() {
    let server = TestServer::start().await;
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let shared = create(&ilya, "shared", json!({ "isShared": true })).await;
    let (one, two) =
        (create(&marta, "one", json!({})).await, create(&marta, "two", json!({})).await);
    let retired = create(&marta, "retired", json!({})).await;
    succeed(&marta, "retire", json!({ "id": retired["id"] })).await;
    let olegs = create(&oleg, "one", json!({})).await;
    let before = server.content().await;
    for (input, codes) in [
        (json!({ "title": "", "body": " " }), vec!["REQUIRED"; 2]),
        (json!({ "title": "x".repeat(121), "body": "x".repeat(65_537) }), vec!["TOO_LONG"; 2]),
        (json!({ "title": "a\nb", "body": "a\u{7}" }), vec!["INVALID"; 2]),
        (json!({ "title": "a", "body": "b", "categoryId": "garbage" }), vec!["NOT_FOUND"]),
        (json!({ "title": "a", "body": "b", "categoryId": one["id"] }), vec!["NOT_FOUND"]),
    ] {
        let reply = send(&marta, "create", input.clone()).await;
        assert_eq!(reply.user_errors("createCannedAnswer"), codes, "{}", reply.body);
    }
    let update = json!({ "id": one["id"], "title": "", "body": "{{}}" });
    let reply = send(&marta, "update", update).await;
    assert_eq!(reply.user_errors("updateCannedAnswer"), ["REQUIRED", "INVALID"]);
    let unknown = json!({ "title": "a", "body": "{{agent.name}} {{ reporter.nam }} {{x}}" });
    let reply = send(&marta, "create", unknown).await;
    assert_eq!(
        reply.at("/data/createCannedAnswer/userErrors"),
        &json!([{ "field": ["body"], "code": "INVALID", "message":
            "There is no placeholder {{reporter.nam}}. Use one of these: {{reporter.name}}, \
             {{ticket.number}}, {{ticket.link}}, {{agent.name}}, {{category.name}}, {{ticket.summary}}. \
             If it is text, write a backslash directly before it: \\{{reporter.nam}}." }])
    );

    for (ids, code, part) in [
        (vec![], "REQUIRED", "every active one"),
        (vec![&one["id"]], "REQUIRED", "“two” is missing"),
        (vec![&one["id"], &one["id"]], "INVALID", "“one” is listed twice"),
        (vec![&one["id"], &two["id"], &retired["id"]], "NOT_FOUND", "Item 3 of `ids`"),
        (vec![&one["id"], &shared["id"], &two["id"]], "NOT_FOUND", "Item 2 of `ids`"),
        (vec![&olegs["id"]], "NOT_FOUND", "Item 1 of `ids`"),
    ] {
        let reply = order(&marta, &ids).await;
        assert_eq!(reply.user_errors("orderCannedAnswers"), [code], "{}", reply.body);
        let message = reply.at("/data/orderCannedAnswers/userErrors/0/message").as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(server.content().await, before);

    // The lists are bounded, retired ones included.
    let fill =
        "INSERT INTO canned_answers (id, account_id, title, body, position, created_at, updated_at)
        SELECT gen_random_uuid(), a.id, n::text, 'x', n, now(), now()
        FROM generate_series(1, 499) n LEFT JOIN accounts a ON a.name = $1 WHERE n <= $2";
    let database = server.database.connect().await;
    database.execute(fill, &[&"Marta", &196]).await.unwrap();
    database.execute(fill, &[&"nobody", &498]).await.unwrap();
    for (client, is_shared) in [(&marta, false), (&ilya, true)] {
        create(client, "last", json!({ "isShared": is_shared })).await;
        let input = json!({ "title": "more", "body": "x", "isShared": is_shared });
        let reply = send(client, "create", input).await;
        assert_eq!(reply.user_errors("createCannedAnswer"), ["TOO_MANY"]);
    }
    assert_eq!(titles(&marta, "(includeRetired: true)").await.len(), 700);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_write_shared_answers_and_owners_their_own_and_nobody_else_either() {
    let server = TestServer::start().await;
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let shared = create(&ilya, "shared", json!({ "isShared": true })).await;
    let mine = create(&marta, "SECRET", json!({})).await;
    let outsiders = [
        (server.anonymous(), "UNAUTHENTICATED"),
        (server.customer("Anna").await, "FORBIDDEN"),
        (server.machine(&Scope::ALL).await, "FORBIDDEN"),
    ];
    let before = server.content().await;
    for (client, code) in &outsiders {
        for verb in MUTATIONS {
            let input = match verb {
                "create" => json!({ "title": "a", "body": "b" }),
                _ => json!({ "id": shared["id"] }),
            };
            assert_eq!(send(client, verb, input).await.code(), *code, "{verb}");
        }
        assert_eq!(order(client, &[&shared["id"]]).await.code(), *code);
        let reply = client.send("{ cannedAnswers { id } }", json!({})).await;
        assert_eq!(reply.code(), *code);
    }
    let node = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on CannedAnswer { title } } }";
    let ids = json!({ "ids": [shared["id"], mine["id"]] });
    assert_eq!(outsiders[1].0.ok(node, ids.clone()).await["nodes"], json!([null, null]));
    let seen = json!([{ "title": "shared" }, { "title": "SECRET" }]);
    assert_eq!(marta.ok(node, ids.clone()).await["nodes"], seen);
    for client in [&oleg, &ilya] {
        assert_eq!(
            client.ok(node, ids.clone()).await["nodes"],
            json!([{ "title": "shared" }, null])
        );
        for verb in &MUTATIONS[1..] {
            let reply = send(client, verb, json!({ "id": mine["id"] })).await;
            assert_eq!(reply.code(), "NOT_FOUND", "{verb}");
        }
    }
    for verb in &MUTATIONS[1..] {
        let reply = send(&marta, verb, json!({ "id": shared["id"] })).await;
        assert_eq!(reply.code(), "FORBIDDEN", "{verb}");
        assert_eq!(send(&ilya, verb, json!({ "id": "garbage" })).await.code(), "NOT_FOUND");
    }
    let new = json!({ "title": "a", "body": "b", "isShared": true });
    assert_eq!(send(&marta, "create", new).await.code(), "FORBIDDEN");
    assert_eq!(order(&marta, &[&shared["id"]]).await.code(), "FORBIDDEN");
    assert_eq!(server.content().await, before);

    // Changes of shared ones are audited, and no others. A mutation that changes nothing is none.
    let other = create(&ilya, "other", json!({ "isShared": true })).await;
    for _ in 0..2 {
        succeed(&ilya, "update", json!({ "id": shared["id"], "body": "New" })).await;
        order(&ilya, &[&other["id"], &shared["id"]]).await;
    }
    for verb in ["retire", "retire", "restore", "restore"] {
        succeed(&ilya, verb, json!({ "id": other["id"] })).await;
    }
    create(&ilya, "personal", json!({})).await;
    let trail = "query($id: ID!) { accountEvents(accountId: $id, first: 6) { nodes {
        kind cannedAnswerId actor { name } } } }";
    let trail = ilya.ok(trail, json!({ "id": ilya.account_id().await })).await;
    let event = |kind: &str, id: &Value| json!({ "kind": kind, "cannedAnswerId": id, "actor": { "name": "Ilya" } });
    assert_eq!(
        trail["accountEvents"]["nodes"],
        json!([
            event("CANNED_ANSWER_RESTORED", &other["id"]),
            event("CANNED_ANSWER_RETIRED", &other["id"]),
            event("CANNED_ANSWERS_ORDERED", &Value::Null),
            event("CANNED_ANSWER_UPDATED", &shared["id"]),
            event("CANNED_ANSWER_CREATED", &other["id"]),
            event("CANNED_ANSWER_CREATED", &shared["id"]),
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_canned_answers_do_not_overwrite_each_other() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let olga = server.sign_up("Olga", Role::Admin).await;
    let shared = create(&ilya, "shared", json!({ "isShared": true })).await;
    for round in 0..5 {
        let (title, body) = (format!("title {round}"), format!("body {round}"));
        tokio::join!(
            succeed(&ilya, "update", json!({ "id": shared["id"], "title": title })),
            succeed(&olga, "update", json!({ "id": shared["id"], "body": body })),
            create(&ilya, "a", json!({ "isShared": true })),
            create(&olga, "b", json!({ "isShared": true })),
            create(&olga, "c", json!({})),
        );
        let query = "query($id: ID!) { node(id: $id) { ... on CannedAnswer { title body } } }";
        let seen = ilya.ok(query, json!({ "id": shared["id"] })).await;
        assert_eq!(seen["node"], json!({ "title": title, "body": body }));
    }
    let places = "SELECT count(*), count(DISTINCT position) FROM canned_answers
        WHERE account_id IS NULL";
    let row = server.database.connect().await.query_one(places, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (11, 11));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_account_leaves_none_of_its_own_canned_answers_and_views() {
    let server = TestServer::start().await;
    let (marta, ada) = (server.agent("Marta").await, erasure::admin(&server).await);
    create(&marta, "martas-answer", json!({})).await;
    create(&ada, "shared-answer", json!({ "isShared": true })).await;
    let view = "mutation($name: String!, $shared: Boolean!) { createSavedView(input: {
        name: $name, filter: {}, isShared: $shared }) { userErrors { code } } }";
    marta.ok(view, json!({ "name": "martas-view", "shared": false })).await;
    ada.ok(view, json!({ "name": "shared-view", "shared": true })).await;
    let reply = erasure::erase(&ada, &marta.account_id().await, "KEEP").await;
    assert_eq!(reply.user_errors("eraseAccount"), [] as [&str; 0], "{}", reply.body);
    for (text, tables) in [
        ("martas-answer", vec![]),
        ("martas-view", vec![]),
        ("shared-answer", vec!["canned_answers"]),
        ("shared-view", vec!["saved_views"]),
    ] {
        assert_eq!(server.tables_with(text).await, tables, "{text}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_who_leave_while_they_write_keep_no_canned_answer() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let (mut blocker, observer) =
        (server.database.connect().await, server.database.connect().await);
    let waiting = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for (name, change, shared) in [
        ("Marta", "role = 'customer'", false),
        ("Oleg", "disabled_at = now()", false),
        ("Ilya", "role = 'agent'", true),
    ] {
        let client = if shared { ilya.clone() } else { server.agent(name).await };
        let blocking = blocker.transaction().await.unwrap();
        let leave = format!("UPDATE accounts SET {change} WHERE name = '{name}'");
        blocking.execute(&leave, &[]).await.unwrap();
        let release = async {
            while observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) < 1 {}
            blocking.commit().await.unwrap();
        };
        let input = json!({ "title": "a", "body": "b", "isShared": shared });
        let (reply, ()) = tokio::join!(send(&client, "create", input), release);
        assert_eq!(reply.code(), "FORBIDDEN", "{name}: {}", reply.body);
    }
    let count = observer.query_one("SELECT count(*) FROM canned_answers", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_erasure_by_an_older_version_has_left_is_pruned() {
    let server = TestServer::start().await;
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    for client in [&marta, &oleg] {
        create(client, "left-answer", json!({})).await;
        let view = "mutation { createSavedView(input: { name: \"left-view\", filter: {} }) {
            userErrors { code } } }";
        client.ok(view, json!({})).await;
    }
    let database = server.database.connect().await;
    let erased = "INSERT INTO erasures (account_id, erased_at, redacts)
        SELECT id, now(), false FROM accounts WHERE name = 'Marta'";
    database.execute(erased, &[]).await.unwrap();
    server.prune(&[]).await;
    for table in ["canned_answers", "saved_views"] {
        let owners = format!(
            "SELECT string_agg(a.name, ' ') FROM {table} t JOIN accounts a ON a.id = t.account_id"
        );
        let row = database.query_one(&owners, &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "Oleg", "{table}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_titles_reads_no_texts_and_costs_what_it_may_return() {
    let server = TestServer::start_with(&[("limits.response_bytes", "65536".to_owned())]).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    for title in ["a", "b", "c"] {
        let body = "x".repeat(60_000);
        create(&marta, title, json!({ "body": body })).await;
    }
    assert_eq!(titles(&marta, "").await, ["a", "b", "c"]);
    let reply = marta.send("{ cannedAnswers { title body } }", json!({})).await;
    assert_ne!(reply.body["errors"], Value::Null);
    // 700 answers with more than 28 fields each are more than a request may ask for.
    let fields = (0..3).map(|n| format!("t{n}: text(ticketId: $id) ")).collect::<String>();
    let query = format!("query($id: ID!) {{ cannedAnswers {{ {fields} }} }}");
    let reply = marta.send(&query, json!({ "id": ticket.id })).await;
    assert!(
        reply.body["errors"][0]["message"].as_str().unwrap().contains("complex"),
        "{}",
        reply.body
    );
    server.stop().await;
}
