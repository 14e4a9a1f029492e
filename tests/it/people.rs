//! Searching for people.

use serde_json::{Value, json};

use ticketwire::domain::account::Role;

use crate::harness::{Client, TestServer};

const PEOPLE: &str = "query($text: String!, $isStaff: Boolean) { people(text: $text, isStaff: $isStaff) { name email } }";

async fn names(client: &Client, text: &str, is_staff: Option<bool>) -> Vec<String> {
    let data = client.ok(PEOPLE, json!({ "text": text, "isStaff": is_staff })).await;
    let people = data["people"].as_array().unwrap();
    people.iter().map(|person| person["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_found_by_prefix_and_despite_typos() {
    let server = TestServer::start().await;
    let marta = server.agent("Marta").await;
    for name in ["Anna", "Mark", "Katherine", "Martin"] {
        server.customer(name).await;
    }
    let database = server.database.connect().await;
    let rename = "UPDATE accounts SET name = 'Анна Петрова' WHERE name = 'Anna';
        UPDATE accounts SET disabled_at = created_at WHERE name = 'Martin'";
    database.batch_execute(rename).await.unwrap();
    assert_eq!(names(&marta, "mar", None).await, ["Mark", "Marta"]);
    assert_eq!(names(&marta, "mar", Some(true)).await, ["Marta"]);
    assert_eq!(names(&marta, "mar", Some(false)).await, ["Mark"]);
    assert_eq!(names(&marta, "петр", None).await, ["Анна Петрова"]);
    assert_eq!(names(&marta, "anna@ex", None).await, ["Анна Петрова"]);
    assert_eq!(names(&marta, "Kathrine", None).await, ["Katherine"]);
    for nobody in ["%", "_", "\\", "'", "zz", "?!"] {
        assert_eq!(names(&marta, nobody, None).await, [] as [&str; 0], "{nobody}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_found_whatever_accents_and_spellings_are_typed() {
    let server = TestServer::start().await;
    let ilya = server.sign_up("Ilya", Role::Admin).await;
    let people = [
        ("Фёдор Ёлкин", "fedor@почта.рф", "Федор;елк;ФЁДОР;fedor@xn--80a1acny.xn--p1ai"),
        ("Sinéad O’Neil", "s@example.com", "sinead;Sine\u{301}ad;o'neil"),
        ("María Núñez", "m@example.com", "Maria;nunez;Nu\u{301}n\u{303}ez"),
        ("Łukasz Jørgensen-Weiß", "l@example.com", "lukasz;jorgensen;Łukasz Jørgensen‑weiss"),
        ("И\u{306}ордан", "j@example.com", "Йордан"),
    ];
    let database = server.database.connect().await;
    for (index, (name, email, _)) in people.iter().enumerate() {
        let any = format!("Any{index}");
        server.customer(&any).await;
        let rename = "UPDATE accounts SET name = $1, email = $2 WHERE name = $3";
        database.execute(rename, &[name, email, &any]).await.unwrap();
    }
    let accounts = "query($text: String!) { accounts(text: $text) { nodes { name } } }";
    for (name, _, texts) in people {
        for text in texts.split(';') {
            assert_eq!(
                names(&ilya, text, None).await.first().map(String::as_str),
                Some(name),
                "{text}"
            );
            let data = ilya.ok(accounts, json!({ "text": text })).await;
            assert_eq!(data["accounts"]["nodes"], json!([{ "name": name }]), "{text}");
        }
    }
    let data = ilya.ok(accounts, json!({ "text": "\u{AD}" })).await;
    assert_eq!(data["accounts"]["nodes"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_staff_may_search_for_people() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    for (client, text, code) in [
        (&anna, "Anna", "FORBIDDEN"),
        (&server.anonymous(), "Anna", "UNAUTHENTICATED"),
        (&marta, " ", "BAD_REQUEST"),
        (&marta, "a\0", "BAD_REQUEST"),
        (&marta, &"a".repeat(10_240), "BAD_REQUEST"),
    ] {
        let reply = client.send(PEOPLE, json!({ "text": text })).await;
        assert_eq!((reply.code(), reply.at("/data")), (code, &Value::Null), "{}", reply.body);
    }
    let query = "{ people(text: \"a\", first: 101) { name } }";
    assert_eq!(marta.send(query, json!({})).await.code(), "BAD_REQUEST");
    server.stop().await;
}
