//! The alert rules and the dashboard in `ops/`.

use std::{collections::BTreeSet, fs, path::Path, process::Command, process::Stdio};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use crate::{harness::TestServer, metrics::start_with_metrics};

const INSTALL: &str = "promtool is missing; install it with: scripts/setup test";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Runs promtool in `ops/prometheus`.
fn promtool(arguments: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/prometheus");
    let output = Command::new("promtool").args(arguments).current_dir(folder).output();
    let output = output.expect(INSTALL);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{}{}", text(output.stdout), text(output.stderr));
}

#[test]
fn the_alert_rules_are_valid_and_fire_when_they_should() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts_test.yml"]);
}

#[test]
fn every_alert_is_tested_and_has_a_page_for_incidents() {
    let (rules, tests) =
        (read("ops/prometheus/alerts.yml"), read("ops/prometheus/alerts_test.yml"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names = names.collect::<BTreeSet<_>>();
    assert!(names.len() > 15, "{names:?}");
    let tested = tests.split("- interval").filter(|test| test.contains("exp_labels"));
    let tested = tested.filter_map(|test| test.split("alertname: ").nth(1)?.lines().next());
    assert_eq!(names, tested.collect::<BTreeSet<_>>());
    let page = read("docs/OPERATIONS.md");
    let incidents = page.split("\n## Incidents\n").nth(1).expect("a section");
    let incidents = incidents.split("\n## ").next().unwrap();
    let headings = incidents.lines().filter_map(|line| line.strip_prefix("### "));
    assert_eq!(names, headings.collect::<BTreeSet<_>>());
    for name in names {
        let link = format!("docs/OPERATIONS.md#{}", name.to_lowercase());
        assert!(rules.contains(&link), "{link}");
    }
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    // Not a file of the package, such as ticketwire_0.1.0_amd64.deb.
    let is_package = |word: &str| word.starts_with("ticketwire_0");
    let is_metric = |word: &&str| {
        (word.starts_with("ticketwire_") && !is_package(word)) || word.starts_with("process_")
    };
    words.filter(is_metric).collect()
}

/// The metrics of a server, as text of the format 0.0.4.
async fn exposed(server: &TestServer) -> String {
    // A metric with labels exists once something was counted.
    server.customer("Anna").await;
    server.quiet().await;
    let backup = "UPDATE installation SET last_backup_at = now()";
    server.database.connect().await.batch_execute(backup).await.unwrap();
    let url = format!("http://{}/metrics", server.admin_address());
    let request = reqwest::Client::new().get(url).header("accept", "text/plain;version=0.0.4");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    response.text().await.unwrap()
}

#[test]
fn every_metric_of_the_alerts_is_on_the_dashboard() {
    let (rules, dashboard) =
        (read("ops/prometheus/alerts.yml"), read("ops/grafana/ticketwire.json"));
    let shown = named(&dashboard);
    let absent = named(&rules).into_iter().filter(|name| !shown.contains(name));
    assert_eq!(absent.collect::<Vec<_>>(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_alerts_the_dashboard_and_the_manual_exists() {
    let server = start_with_metrics(&[]).await;
    let text = exposed(&server).await;
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let declared = declared.collect::<BTreeSet<_>>();
    let dashboard = read("ops/grafana/ticketwire.json");
    let document = serde_json::from_str::<Value>(&dashboard).unwrap();
    assert!(document["panels"].as_array().unwrap().len() > 20);
    let (rules, manual) = (read("ops/prometheus/alerts.yml"), read("docs/OPERATIONS.md"));
    let exists = |name: &&&str| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        declared.contains(*name) || family.is_some_and(|family| declared.contains(family))
    };
    for source in [&dashboard, &rules, &manual] {
        let named = named(source);
        let missing = named.iter().filter(|name| !exists(name)).collect::<Vec<_>>();
        assert_eq!(missing, [] as [&&str; 0]);
        assert!(named.len() > 15, "{named:?}");
    }
    // And every metric is in the manual, or is known to every client library.
    let documented = named(&manual);
    let undocumented = declared
        .iter()
        .filter(|name| name.starts_with("ticketwire_") && !documented.contains(**name));
    assert_eq!(undocumented.collect::<Vec<_>>(), [] as [&&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_follow_the_conventions_of_prometheus() {
    let server = start_with_metrics(&[]).await;
    let text = exposed(&server).await;
    assert!(!text.contains("# EOF") && !text.contains("# UNIT"), "{text}");
    let mut checking = tokio::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(INSTALL);
    checking.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = checking.wait_with_output().await.unwrap();
    let problems = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && problems.is_empty(), "{problems}\n{text}");
    server.stop().await;
}
