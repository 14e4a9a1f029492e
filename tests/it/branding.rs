//! What portals show about the company.

use serde_json::json;

use crate::harness::TestServer;

const BRANDING: &str = "{ branding { name logoUrl color imprintUrl privacyUrl } }";

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_the_configured_branding() {
    let server = TestServer::start_with(&[
        ("branding.name", "Help of Example".to_owned()),
        ("branding.color", "#1a73e8".to_owned()),
        ("branding.imprint", "https://example.com/imprint".to_owned()),
    ])
    .await;
    let data = server.anonymous().ok(BRANDING, json!({})).await;
    assert_eq!(
        data["branding"],
        json!({ "name": "Help of Example", "logoUrl": null, "color": "#1a73e8",
            "imprintUrl": "https://example.com/imprint", "privacyUrl": null })
    );
    server.stop().await;
}
