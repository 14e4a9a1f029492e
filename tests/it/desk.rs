//! The desk: how it is served, and staff at work in a browser.

use reqwest::{Method, StatusCode};

use crate::harness::{Client, Reply, postgres::TestDatabase, process::Process, web_app::run};

async fn get(client: &Client, path: &str) -> Reply {
    client.request(Method::GET, path, |request| request.header("accept", "text/html")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_is_served_at_its_addresses_under_the_portals_policy() {
    let database = TestDatabase::new().await;
    let process = Process::serve(&[("DATABASE_URL", &database.url)]).await;
    assert!(process.welcome.contains(&format!("Desk         http://{}/desk", process.address)));
    let client = Client::new(&process.address, None);
    let portal = get(&client, "/").await;
    let desk = get(&client, "/desk").await;
    assert_eq!(desk.status, StatusCode::OK, "{}", desk.body);
    assert_ne!(desk.body, portal.body);
    for header in ["content-security-policy", "cache-control", "x-frame-options"] {
        assert_eq!(desk.headers[header], portal.headers[header], "{header}");
    }
    for path in ["/desk/", "/desk/tickets/CS-1", "/desk/admin"] {
        let deep = get(&client, path).await;
        assert_eq!((deep.status, deep.body), (StatusCode::OK, desk.body.clone()), "{path}");
    }
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_switches_the_desk_off_and_leaves_the_portal() {
    let database = TestDatabase::new().await;
    let off = [("DATABASE_URL", database.url.as_str()), ("TICKETWIRE_DESK", "false")];
    let process = Process::serve(&off).await;
    assert!(!process.welcome.contains("Desk"), "{}", process.welcome);
    let client = Client::new(&process.address, None);
    let page = get(&client, "/desk").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.body.as_str().unwrap().contains("TICKETWIRE_DESK"), "{}", page.body);
    assert_eq!(get(&client, "/desk/tickets/CS-1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&client, "/").await.status, StatusCode::OK);
    process.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_works_a_day_by_keyboard_alone() {
    run("desk.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_never_answer_unseen() {
    run("desk-together.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_moves_and_nothing_jumps() {
    run("desk-queue.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_an_agent_at_work_no_word_is_lost() {
    run("desk-rough.js", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_the_desk_can_be_used_by_everybody() {
    run("desk-access.js", &[]).await;
}
