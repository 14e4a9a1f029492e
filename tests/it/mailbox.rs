//! Mail for newcomers and operators: the demo's mailbox page, `doctor`, `mail test`, and the
//! settings that a server checks when it starts.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{
    Client, TestServer,
    mail::{borrowed, settings, variables},
    postgres::{DataFolder, TestDatabase},
    process::{Process, run},
    smtp::{Behaviour, Smtp, SmtpOptions},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_demos_mailbox_page_shows_its_mails_without_running_their_scripts() {
    let folder = DataFolder::new("mailbox");
    let variables =
        [("TICKETWIRE_DATA_DIR", folder.path()), ("TICKETWIRE_MAIL_WINDOW_SECONDS", "0")];
    let server = Process::serve(&variables).await;
    assert!(server.welcome.contains(&format!("http://{}/mailbox", server.address)));
    let anyone = Client::new(&server.address, None);
    let get = async |path: &str| anyone.request(Method::GET, path, |request| request).await;
    assert!(get("/mailbox").await.body.as_str().unwrap().contains("No mail yet"));

    let email = server.welcome.lines().find(|line| line.contains("customer")).unwrap();
    let email = email.split_whitespace().nth(1).unwrap();
    let customer = anyone.sign_in(email, "ticketwire-demo").await;
    customer.create_ticket("<script>alert(1)</script>").await;
    let mut list = String::new();
    while !list.contains("/mailbox/0") {
        list = get("/mailbox").await.body.as_str().unwrap().to_owned();
    }
    assert!(list.contains("&lt;script&gt;") && !list.contains("<script"), "{list}");
    let link = list.split("href=\"").nth(1).unwrap().split('"').next().unwrap();
    let mail = get(link).await;
    let text = mail.body.as_str().unwrap();
    assert!(text.contains("iframe sandbox=\"allow-popups ") && !text.contains("<script"), "{text}");
    let html = get(&format!("{link}/html")).await;
    assert!(html.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    assert!(!html.body.as_str().unwrap().contains("<script"));
    // Refused: a request under another host name, as DNS rebinding makes it, and paths out of the
    // folder.
    let rebound =
        anyone.request(Method::GET, link, |request| request.header("host", "evil.example"));
    assert_eq!(rebound.await.status, StatusCode::NOT_FOUND);
    assert_eq!(get("/mailbox/signing.key").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get("/mailbox/..%2F..%2Fsigning.key").await.status, StatusCode::NOT_FOUND);
    let key = std::fs::metadata(folder.0.join("mail/signing.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let mails = std::fs::read_dir(folder.0.join("mail")).unwrap();
    let mut modes = mails.map(|mail| mail.unwrap().metadata().unwrap().permissions().mode());
    assert!(modes.all(|mode| mode & 0o077 == 0), "others can read mails");
    let attachments = std::fs::metadata(folder.0.join("attachments")).unwrap();
    assert_eq!(attachments.permissions().mode() & 0o077, 0);
    assert!(server.terminate(rustix::process::Signal::TERM).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_its_own_database_has_no_mailbox_page() {
    let server = TestServer::start().await;
    let reply = server.anonymous().request(Method::GET, "/mailbox", |request| request).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_mail_test_report_what_is_misconfigured() {
    let database = TestDatabase::new().await;
    let smtp =
        Smtp::start_with(SmtpOptions { auth: Some("AGRlc2sAc2VjcmV0"), ..SmtpOptions::default() })
            .await;
    let good = variables(&smtp.named_url("smtp", "desk:secret@", ""), &database.url);
    let healthy = run(&["doctor"], &borrowed(&good), "").await;
    assert!(healthy.success, "{}{}", healthy.stdout, healthy.stderr);
    assert!(healthy.stdout.lines().all(|line| line.starts_with("ok")), "{}", healthy.stdout);
    let sent =
        run(&["mail", "test", "op@example.com", "--locale", "ru"], &borrowed(&good), "").await;
    assert!(sent.success, "{}", sent.stderr);
    assert_eq!(smtp.received(1).await[0].subject, "Тестовое письмо Ticketwire");

    let wrong = variables(&smtp.named_url("smtp", "desk:wrong@", ""), &database.url);
    let ill = run(&["doctor"], &borrowed(&wrong), "").await;
    assert!(
        !ill.success && ill.stdout.contains("FAILED  mail") && ill.stdout.contains("535"),
        "{}",
        ill.stdout
    );
    let mut misspelt = good.clone();
    misspelt.retain(|(name, _)| name != "TICKETWIRE_MAIL_STAFF_ADDRESSES");
    misspelt.push(("TICKETWIRE_MAIL_STAFF_ADDRESSES".to_owned(), "slaes=a@example.com".to_owned()));
    let ill = run(&["doctor"], &borrowed(&misspelt), "").await;
    assert!(!ill.success && ill.stdout.contains("FAILED  staff addresses"), "{}", ill.stdout);

    let secret =
        Smtp::start_with(SmtpOptions { implicit_tls: true, ..SmtpOptions::default() }).await;
    smtp.script([Behaviour::Rcpt("550 5.1.1 no such user")]);
    let plain = Smtp::start().await;
    plain.script([Behaviour::DropMidData]);
    for (variables, address, expected) in [
        (&wrong, "op@example.com", "wrong password"),
        (&good, "op@example.com", "no such user"),
        (&good, "nonsense", "it has no @"),
        (
            &variables(&smtp.named_url("smtp", "", "?tls=required"), &database.url),
            "op@example.com",
            "offers no STARTTLS on this port: name its port for submission",
        ),
        (
            &variables(&plain.named_url("smtp", "", ""), &database.url),
            "op@example.com",
            "not sent: the mail server closed the connection without an answer",
        ),
        (
            &variables(&plain.named_url("smtps", "", ""), &database.url),
            "op@example.com",
            "does not speak TLS on this port: name its port for implicit TLS",
        ),
        (
            &variables(&plain.named_url("smtp", "desk:secret@", ""), &database.url),
            "op@example.com",
            "for signing in without encryption: add ?tls=required",
        ),
        (
            &variables(
                &plain.named_url("smtp", "desk:secret@", "?tls=opportunistic"),
                &database.url,
            ),
            "op@example.com",
            "neither PLAIN nor LOGIN for signing in: leave user and password out",
        ),
        (
            &variables(&secret.named_url("smtps", "", ""), &database.url),
            "op@example.com",
            "is from an authority that this machine does not trust: name the certificate of the authority in `mail.ca_file`",
        ),
        (&variables("smtp://127.0.0.1:1", &database.url), "op@example.com", "refused"),
        (&variables("http://127.0.0.1", &database.url), "op@example.com", "mail.smtp_url"),
        (
            &vec![("DATABASE_URL".to_owned(), database.url.clone())],
            "op@example.com",
            "mail.smtp_url",
        ),
    ] {
        let failed = run(&["mail", "test", address], &borrowed(variables), "").await;
        assert!(!failed.success && failed.stderr.contains(expected), "{}", failed.stderr);
        assert!(!failed.stderr.contains("secret") && !failed.stderr.contains("desk:wrong"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_incomplete_mail_settings_does_not_start() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("ticket_created")).unwrap();
    std::fs::write(folder.path().join("ticket_created/text.en.txt"), "one\n{{ two").unwrap();
    let templates = folder.path().display().to_string();
    let without = |key: &str| {
        let mut flags = settings("smtp://127.0.0.1:1");
        flags.retain(|(name, _)| *name != key);
        flags
    };
    for (flags, more, expected) in [
        (without("mail.from"), None, "`mail.from`"),
        (without("links.base_url"), None, "`links.base_url`"),
        (without("mail.signing_key"), None, "`mail.signing_key`"),
        (without(""), Some(("mail.signing_key", "short".to_owned())), "`mail.signing_key`"),
        (without(""), Some(("mail.from", "a\r\nBcc: b@c".to_owned())), "`mail.from`"),
        (without(""), Some(("mail.staff_addresses", "sales".to_owned())), "`mail.staff_addresses`"),
        (
            without(""),
            Some(("mail.staff_addresses", "slaes=a@example.com".to_owned())),
            "`mail.staff_addresses` names the unknown category `slaes`; the categories are",
        ),
        (without(""), Some(("mail.ca_file", "/nowhere".to_owned())), "`mail.ca_file`"),
        (without(""), Some(("mail.templates_dir", templates)), "ticket_created/text.en.txt:2"),
    ] {
        let flags = flags.into_iter().chain(more).collect::<Vec<_>>();
        let error = server.another_node(&flags).await.err().expect("a refusal").to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(server.anonymous().ok("{ __typename }", json!({})).await["__typename"], "Query");
    server.stop().await;
}
