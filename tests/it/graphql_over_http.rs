//! GraphQL over HTTP, as npm's graphql-http audits it.

use serde::Deserialize;

use crate::harness::{TestServer, npm};

/// How many audits the version in the lock file has.
const AUDITS: usize = 61;
/// Runs them one after another: an address may send only a few requests at the same time.
const SCRIPT: &str = r#"
import { serverAudits } from "graphql-http";
const results = [];
for (const audit of serverAudits({ url: process.env.TICKETWIRE_URL })) {
  const { id, name, status, reason } = await audit.fn();
  results.push({ id, name, status, reason });
}
console.log(JSON.stringify(results));
"#;

#[derive(Deserialize)]
struct Audit {
    id: String,
    name: String,
    /// `ok`; `notice`, `warn` or `error` if a MAY, a SHOULD or a MUST is not fulfilled.
    status: String,
    reason: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_of_graphql_over_http_passes_without_a_notice() {
    let server = TestServer::start().await;
    let mut node = npm::program("node");
    node.args(["--input-type=module", "--eval", SCRIPT])
        .current_dir(npm::install("docs/clients").await)
        .env("TICKETWIRE_URL", format!("http://{}/graphql", server.address()));
    let ran = node.output().await.unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{errors}");
    let audits: Vec<Audit> = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(audits.len(), AUDITS);
    let failed = audits.iter().filter(|audit| audit.status != "ok").map(|audit| {
        let reason = audit.reason.as_deref().unwrap_or_default();
        format!("{} {} {}: {reason}", audit.status, audit.id, audit.name)
    });
    assert_eq!(failed.collect::<Vec<_>>(), [] as [String; 0]);
    server.stop().await;
}
