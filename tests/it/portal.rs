//! The portal: how it is served, and a customer's visit in a browser.

use std::{fs, path::Path};

use reqwest::{Method, StatusCode};

use crate::harness::{Client, Reply, postgres::TestDatabase, process::Process, web_app::run};

async fn get(client: &Client, path: &str, accept: &str) -> Reply {
    client.request(Method::GET, path, |request| request.header("accept", accept)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_portal_is_served_at_its_addresses_under_a_strict_policy() {
    let database = TestDatabase::new().await;
    let process = Process::serve(&[("DATABASE_URL", &database.url)]).await;
    assert!(process.welcome.contains(&format!("Portal       http://{}/", process.address)));
    let client = Client::new(&process.address, None);
    let page = get(&client, "/", "text/html").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    assert!(policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe"));
    assert_eq!(page.headers["cache-control"], "no-cache");
    let html = page.body.as_str().unwrap().to_owned();
    for path in ["/tickets/CS-1", "/new/sales", "/account"] {
        let deep = get(&client, path, "text/html,*/*").await;
        assert_eq!((deep.status, deep.body.as_str()), (StatusCode::OK, Some(&*html)), "{path}");
    }
    let assets = html.split('"').filter(|part| part.starts_with("/assets/"));
    let mut loaded = 0;
    for path in assets {
        let asset = get(&client, path, "*/*").await;
        assert_eq!(asset.status, StatusCode::OK, "{path}");
        assert_eq!(asset.headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(asset.headers["x-content-type-options"], "nosniff");
        loaded += 1;
    }
    assert!(loaded >= 2, "{html}");
    for path in ["/assets/none.js", "/attachments", "/playground/none.js"] {
        assert_eq!(get(&client, path, "text/html").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    // What asks for no page gets none.
    assert_eq!(get(&client, "/tickets", "*/*").await.status, StatusCode::NOT_FOUND);
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_switches_the_portal_off() {
    let database = TestDatabase::new().await;
    let off = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_PORTAL", "false")];
    let process = Process::serve(&off).await;
    assert!(!process.welcome.contains("Portal"), "{}", process.welcome);
    let client = Client::new(&process.address, None);
    for path in ["/", "/tickets"] {
        let answer = get(&client, path, "text/html").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.body.as_str().unwrap().contains("/graphql"), "{path}");
    }
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_opens_a_ticket_and_follows_it_in_a_browser() {
    run("portal.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_lose_no_character_and_post_nothing_twice() {
    // `TICKETWIRE_TEST_KILLS=200` and another `TICKETWIRE_TEST_SEED` find what 15 kills don't.
    let kills = std::env::var("TICKETWIRE_TEST_KILLS").unwrap_or_else(|_| "15".to_owned());
    let seed = std::env::var("TICKETWIRE_TEST_SEED").unwrap_or_else(|_| "1".to_owned());
    run("portal-kills.js", &[&kills, &seed]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_writes_survives_what_happens_around_it() {
    run("portal-drafts.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_never_shows_the_past_as_the_present() {
    run("portal-live.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_used_by_everybody() {
    run("portal-access.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_protected_and_ends_its_sessions_in_a_browser() {
    run("portal-account.js", &[]).await;
}

#[test]
fn every_error_of_the_api_has_a_sentence_in_both_languages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let schema = read("schema.graphql");
    let codes = schema.split("enum UserErrorCode {").nth(1).unwrap().split("\n}").next().unwrap();
    let is_code = |line: &&str| {
        !line.is_empty() && line.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
    };
    let user_errors = codes.lines().map(str::trim).filter(is_code);
    let mut keys = user_errors.map(|code| format!("userError.{code}")).collect::<Vec<_>>();
    assert!(keys.len() > 25, "{keys:?}");
    let source = read("src/graphql/error.rs");
    let source = source.split("pub mod code {").nth(1).unwrap().split("\n}").next().unwrap();
    let errors = source.split("&str = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    keys.extend(errors.map(|code| format!("error.{code}")));
    for language in ["en", "ru"] {
        let catalogue = read(&format!("web/src/shared/i18n/{language}.ts"));
        for key in &keys {
            let text = catalogue.split(&format!("\"{key}\": \"")).nth(1).unwrap_or_default();
            let text = text.split('"').next().unwrap_or_default();
            // What happened, and what to do.
            assert!(text.len() > 15 && text.ends_with('.'), "{language} {key}: {text:?}");
        }
    }
}
