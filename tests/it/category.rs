//! Categories, which admins manage.

use serde_json::{Value, json};
use ticketwire::domain::{account::Role, service_token::Scope};

use crate::harness::{Client, TestServer, client::Reply};

const CREATE: &str = "mutation($input: CreateCategoryInput!) { createCategory(input: $input) {
    category { id slug en: name(locale: EN) ru: name(locale: RU) isRetired } userErrors { field code message } } }";
const UPDATE: &str = "mutation($input: UpdateCategoryInput!) { updateCategory(input: $input) {
    category { id slug en: name(locale: EN) ru: name(locale: RU) } userErrors { field code } } }";
const ORDER: &str = "mutation($input: OrderCategoriesInput!) { orderCategories(input: $input) {
    categories { slug } userErrors { field code message } } }";
const RETIRE: &str = "mutation($input: RetireCategoryInput!) { retireCategory(input: $input) {
    category { slug isRetired } userErrors { field code } } }";
const RESTORE: &str = "mutation($input: RestoreCategoryInput!) { restoreCategory(input: $input) {
    category { slug isRetired } userErrors { field code } } }";
const ALL: &str = "{ categories(includeRetired: true) { id slug isRetired } }";
const ACTIVE: &str = "{ categories { id slug } }";

async fn send(client: &Client, mutation: &str, input: Value) -> Reply {
    client.send(mutation, json!({ "input": input })).await
}

/// Sends a mutation that must succeed; returns its payload.
async fn succeed(client: &Client, mutation: &str, input: Value) -> Value {
    let data = client.ok(mutation, json!({ "input": input })).await;
    let payload = data.as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(payload["userErrors"], json!([]));
    payload
}

fn named(slug: &str) -> Value {
    json!({ "slug": slug, "nameEn": format!("The {slug}"), "nameRu": "Имя" })
}

async fn listed(client: &Client, query: &str, field: &str) -> Vec<String> {
    let data = client.ok(query, json!({})).await;
    let all = data["categories"].as_array().unwrap().clone();
    all.iter().map(|it| it[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_creates_renames_orders_retires_and_restores_categories() {
    let server = TestServer::start().await;
    let (ilya, anna) = (server.sign_up("Ilya", Role::Admin).await, server.customer("Anna").await);
    let input = json!({ "slug": "domains", "nameEn": " Domains ", "nameRu": "Домены", "idempotencyKey": "1" });
    let created = succeed(&ilya, CREATE, input.clone()).await["category"].clone();
    let id = created["id"].clone();
    assert_eq!(
        created,
        json!({ "id": id, "slug": "domains", "en": "Domains", "ru": "Домены", "isRetired": false })
    );
    assert_eq!(succeed(&ilya, CREATE, input).await["category"]["id"], id);
    let slugs = ["technical-support", "sales", "financial-issues", "domains"];
    assert_eq!(listed(&anna, ACTIVE, "slug").await, slugs);

    let renamed = succeed(&ilya, UPDATE, json!({ "id": id, "nameRu": "Имена" })).await;
    let category = &renamed["category"];
    assert_eq!(
        (&category["slug"], &category["en"], &category["ru"]),
        (&json!("domains"), &json!("Domains"), &json!("Имена"))
    );

    let before = listed(&ilya, ACTIVE, "id").await;
    let mut order = before.clone();
    order.reverse();
    succeed(&ilya, ORDER, json!({ "ids": order })).await;
    assert_eq!(
        listed(&anna, ACTIVE, "slug").await,
        ["domains", "financial-issues", "sales", "technical-support"]
    );

    let input = json!({ "categoryId": id, "summary": "one", "description": "x" });
    let opened = anna.try_create_ticket(input.clone()).await;
    let ticket = opened.at("/data/createTicket/ticket/id").clone();
    let retired = succeed(&ilya, RETIRE, json!({ "id": id })).await;
    assert_eq!(retired["category"], json!({ "slug": "domains", "isRetired": true }));
    let refused = anna.try_create_ticket(input.clone()).await;
    assert_eq!(refused.user_errors("createTicket"), ["CATEGORY_RETIRED"]);
    let category =
        "query($id: ID!) { node(id: $id) { ... on Ticket { category { slug isRetired } } } }";
    assert_eq!(
        anna.ok(category, json!({ "id": ticket })).await["node"]["category"],
        json!({ "slug": "domains", "isRetired": true })
    );
    assert_eq!(
        listed(&ilya, ALL, "slug").await,
        ["financial-issues", "sales", "technical-support", "domains"]
    );
    assert_eq!(listed(&anna, ACTIVE, "slug").await.len(), 3);

    succeed(&ilya, RESTORE, json!({ "id": id })).await;
    assert_eq!(listed(&anna, ACTIVE, "slug").await.last().map(String::as_str), Some("domains"));
    let again = anna.try_create_ticket(input).await;
    assert_eq!(again.user_errors("createTicket"), [] as [&str; 0]);

    // A mutation that changes nothing appends no event.
    succeed(&ilya, RESTORE, json!({ "id": id })).await;
    succeed(&ilya, UPDATE, json!({ "id": id, "nameRu": "Имена" })).await;
    succeed(&ilya, ORDER, json!({ "ids": listed(&ilya, ACTIVE, "id").await })).await;
    let trail = "query($id: ID!) { accountEvents(accountId: $id, first: 5) { nodes {
        kind categoryId fromCategoryIds toCategoryIds actor { name } } } }";
    let trail = ilya.ok(trail, json!({ "id": ilya.account_id().await })).await;
    let event = |kind: &str| {
        json!({ "kind": kind, "categoryId": id, "fromCategoryIds": null, "toCategoryIds": null,
                "actor": { "name": "Ilya" } })
    };
    let ordered = json!({ "kind": "CATEGORIES_ORDERED", "categoryId": null, "fromCategoryIds": before,
        "toCategoryIds": order, "actor": { "name": "Ilya" } });
    assert_eq!(
        trail["accountEvents"]["nodes"],
        json!([
            event("CATEGORY_RESTORED"),
            event("CATEGORY_RETIRED"),
            ordered,
            event("CATEGORY_RENAMED"),
            event("CATEGORY_CREATED"),
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn category_mutations_refuse_invalid_input() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let before = server.content().await;
    for (input, codes) in [
        (json!({ "slug": "", "nameEn": "", "nameRu": " " }), vec!["REQUIRED"; 3]),
        (json!({ "slug": "A b", "nameEn": "a\u{7}", "nameRu": "x" }), vec!["INVALID"; 2]),
        (
            json!({ "slug": "x".repeat(65), "nameEn": "x".repeat(81), "nameRu": "я".repeat(81) }),
            vec!["TOO_LONG"; 3],
        ),
        (named("sales"), vec!["TAKEN"]),
    ] {
        let reply = send(&ilya, CREATE, input).await;
        assert_eq!(reply.user_errors("createCategory"), codes, "{}", reply.body);
    }
    let ids = listed(&ilya, ACTIVE, "id").await;
    let update = json!({ "id": ids[0], "nameEn": "", "nameRu": "x".repeat(81) });
    let reply = send(&ilya, UPDATE, update).await;
    assert_eq!(reply.user_errors("updateCategory"), ["REQUIRED", "TOO_LONG"]);
    let me = ilya.account_id().await;
    for (order, code, part) in [
        (vec![&ids[0], &ids[1]], "REQUIRED", "`financial-issues`"),
        (vec![&ids[0], &ids[1], &ids[1]], "INVALID", "`sales` is listed twice"),
        (vec![&ids[0], &me, &ids[1], &ids[2]], "NOT_FOUND", "Item 2 of `ids`"),
    ] {
        let reply = send(&ilya, ORDER, json!({ "ids": order })).await;
        assert_eq!(reply.user_errors("orderCategories"), [code]);
        let message = reply.at("/data/orderCategories/userErrors/0/message").as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    for id in [json!("garbage"), json!(me)] {
        for mutation in [UPDATE, RETIRE, RESTORE] {
            assert_eq!(send(&ilya, mutation, json!({ "id": id })).await.code(), "NOT_FOUND");
        }
    }
    assert_eq!(server.content().await, before);
    for id in &ids[..2] {
        succeed(&ilya, RETIRE, json!({ "id": id })).await;
    }
    let last = send(&ilya, RETIRE, json!({ "id": ids[2] })).await;
    assert_eq!(last.user_errors("retireCategory"), ["LAST_CATEGORY"]);
    // A retired category keeps its slug.
    let duplicate = send(&ilya, CREATE, named("sales")).await;
    assert_eq!(duplicate.user_errors("createCategory"), ["TAKEN"]);
    for n in 3..100 {
        succeed(&ilya, CREATE, named(&format!("c{n}"))).await;
    }
    let full = send(&ilya, CREATE, named("c100")).await;
    assert_eq!(full.user_errors("createCategory"), ["TOO_MANY"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_manage_categories() {
    let server = TestServer::start_with(&[("second_factor.staff", "required".to_owned())]).await;
    let before = server.content().await;
    let clients = [
        (server.anonymous(), "UNAUTHENTICATED"),
        (server.customer("Anna").await, "FORBIDDEN"),
        (server.machine(&Scope::ALL).await, "FORBIDDEN"),
        (server.sign_up("Ilya", Role::Admin).await, "SECOND_FACTOR_REQUIRED"),
    ];
    refuse_all(&clients).await;
    let categories = |content: String| content.lines().filter(|it| it.contains("sales")).count();
    assert_eq!(categories(server.content().await), categories(before));
    server.stop().await;
    let server = TestServer::start().await;
    refuse_all(&[(server.agent("Marta").await, "FORBIDDEN")]).await;
    server.stop().await;
}

async fn refuse_all(clients: &[(Client, &str)]) {
    for (client, code) in clients {
        for (mutation, input) in [
            (CREATE, named("mine")),
            (UPDATE, json!({ "id": "x" })),
            (ORDER, json!({ "ids": [] })),
            (RETIRE, json!({ "id": "x" })),
            (RESTORE, json!({ "id": "x" })),
        ] {
            assert_eq!(send(client, mutation, input).await.code(), *code, "{mutation}");
        }
        assert_eq!(client.send(ALL, json!({})).await.code(), *code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_categories_do_not_overwrite_each_other() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let olga = server.sign_up("Olga", Role::Admin).await;
    let ids = listed(&ilya, ACTIVE, "id").await;

    // Each admin changes the name in one language.
    for round in 0..10 {
        let name = format!("Name {round}");
        tokio::join!(
            succeed(&ilya, UPDATE, json!({ "id": ids[0], "nameEn": name })),
            succeed(&olga, UPDATE, json!({ "id": ids[0], "nameRu": name })),
        );
        let names = "{ categories { en: name(locale: EN) ru: name(locale: RU) } }";
        let seen = ilya.ok(names, json!({})).await["categories"][0].clone();
        assert_eq!(seen, json!({ "en": name, "ru": name }));
    }

    // Of two categories with the same slug one is created; different ones get different positions.
    for round in 0..5 {
        let slug = format!("same-{round}");
        let (a, b) =
            tokio::join!(send(&ilya, CREATE, named(&slug)), send(&olga, CREATE, named(&slug)));
        let errors = [a.user_errors("createCategory"), b.user_errors("createCategory")].concat();
        assert_eq!(errors, ["TAKEN"]);
        let (a, b) = (format!("a-{round}"), format!("b-{round}"));
        tokio::join!(succeed(&ilya, CREATE, named(&a)), succeed(&olga, CREATE, named(&b)));
    }
    let places = "SELECT count(*), count(DISTINCT position), max(position)::bigint FROM categories";
    let database = server.database.connect().await;
    let row = database.query_one(places, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (18, 18, 18));

    // Of the last two categories only one can be retired.
    for id in &listed(&ilya, ACTIVE, "id").await[2..] {
        succeed(&ilya, RETIRE, json!({ "id": id })).await;
    }
    for _ in 0..5 {
        let left = listed(&ilya, ACTIVE, "id").await;
        let (a, b) = tokio::join!(
            send(&ilya, RETIRE, json!({ "id": left[0] })),
            send(&olga, RETIRE, json!({ "id": left[1] })),
        );
        let errors = [a.user_errors("retireCategory"), b.user_errors("retireCategory")].concat();
        assert_eq!(errors, ["LAST_CATEGORY"]);
        for id in left {
            succeed(&ilya, RESTORE, json!({ "id": id })).await;
        }
    }
    server.stop().await;
}
