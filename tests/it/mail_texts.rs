//! What mails say and whom they reach: addresses, subjects, white space and files.

use serde_json::{Value, json};
use ticketwire::domain::service_token::Scope;

use crate::{
    attachment::{COMMENT, CREATE, ticket, upload},
    harness::{
        TestServer,
        client::TECHNICAL_SUPPORT,
        mail::{MailFixture, settings},
        smtp::{Received, Smtp, SmtpOptions},
    },
};

/// The value of a header as it was sent.
fn header(mail: &Received, name: &str) -> String {
    let start = format!("\r\n{name}: ");
    let head = format!("\r\n{}", mail.raw.split("\r\n\r\n").next().unwrap());
    let rest = head.split(&start).nth(1).unwrap_or_else(|| panic!("no {name}: {head}"));
    rest.replace("\r\n ", " ").split("\r\n").next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_can_have_an_address_at_an_internationalised_domain() {
    for smtputf8 in [false, true] {
        let smtp = Smtp::start_with(SmtpOptions { smtputf8, ..SmtpOptions::default() }).await;
        let mut flags = settings(&smtp.url());
        flags.push(("mail.from", "Поддержка <support@пример.рф>".into()));
        let server = TestServer::start_with(&flags).await;
        server.customer("Anna").await.create_ticket("The site is down").await;
        let mail = smtp.received(1).await.remove(0);
        assert_eq!(mail.from, "support@xn--e1afmkfd.xn--p1ai");
        let from = header(&mail, "From");
        assert!(from.ends_with("<support@xn--e1afmkfd.xn--p1ai>") && from.is_ascii(), "{from}");
        let id = header(&mail, "Message-ID");
        assert!(id.starts_with('<') && id.ends_with("@xn--e1afmkfd.xn--p1ai>"), "{id}");
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_not_ascii_refuses_no_mail_if_the_mail_server_cannot_send_it() {
    for smtputf8 in [false, true] {
        let smtp = Smtp::start_with(SmtpOptions { smtputf8, ..SmtpOptions::default() }).await;
        let mut flags = settings(&smtp.url());
        flags.push(("mail.from", "Поддержка <поддержка@пример.рф>".into()));
        let server = TestServer::start_with(&flags).await;
        let (anna, boris) = (server.customer("Anna").await, server.agent("Boris").await);
        anna.create_ticket("The site is down").await;
        if smtputf8 {
            assert_eq!(smtp.received(1).await[0].from, "поддержка@xn--e1afmkfd.xn--p1ai");
        } else {
            let query = "{ ticket(number: \"CS-100001\") { deliveries { state lastError } } }";
            let delivery = loop {
                let found = boris.ok(query, json!({})).await["ticket"]["deliveries"][0].clone();
                if found["lastError"].is_string() {
                    break found;
                }
            };
            assert_eq!(delivery["state"], "QUEUED");
            assert!(delivery["lastError"].as_str().unwrap().contains("mail.from"), "{delivery}");
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_that_is_accepted_is_mailed() {
    let fixture = MailFixture::start().await;
    let panel = fixture.server.machine(&Scope::ALL).await;
    let database = fixture.server.database.connect().await;
    let provision = "mutation($input: ProvisionCustomerInput!) {
        provisionCustomer(input: $input) { account { id } userErrors { message } } }";
    let addresses = [
        ("a..b@example.com", "\"a..b\"@example.com"),
        ("\"a.b\"@example.com", "a.b@example.com"),
        ("o'neil+x=y/z@example.com", "o'neil+x=y/z@example.com"),
        ("anna@xn--80a1acny.xn--p1ai", "anna@xn--80a1acny.xn--p1ai"),
        ("anna@bücher。example", "anna@xn--bcher-kva.example"),
        ("anna@localhost", "anna@localhost"),
    ];
    for (index, (address, _)) in addresses.iter().enumerate() {
        let input =
            json!({ "externalId": index.to_string(), "email": address, "name": "=?utf-8?Q?X?=" });
        let data = panel.ok(provision, json!({ "input": input })).await;
        assert_eq!(data["provisionCustomer"]["userErrors"], json!([]), "{address}");
        // Anna's next ticket is this customer's.
        let ticket = fixture.anna.create_ticket("one").await;
        let mails = fixture.smtp.received(2 * index + 1).await;
        assert_eq!(mails[2 * index].to, "anna@example.com");
        let give =
            "UPDATE tickets SET reporter_id = (SELECT id FROM accounts WHERE external_id = $1)
            WHERE 'CS-' || number = $2";
        database.execute(give, &[&index.to_string(), &ticket.number]).await.unwrap();
        fixture.boris.comment(&ticket, "We look into it.").await;
        fixture.smtp.received(2 * index + 2).await;
    }
    let mails = fixture.smtp.mails();
    for (mail, (address, wire)) in mails.iter().skip(1).step_by(2).zip(addresses) {
        assert_eq!(mail.to, wire, "{address}");
        assert_eq!(header(mail, "To"), format!("=?utf-8?b?PT91dGYtOD9RP1g/PQ==?= <{wire}>"));
    }
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_mailed_to_the_address_of_the_account_not_to_the_one_that_was_typed() {
    let smtp = Smtp::start_with(SmtpOptions { smtputf8: true, ..SmtpOptions::default() }).await;
    let server = TestServer::start_with(&settings(&smtp.url())).await;
    server.customer("Anna").await;
    // As an older version has stored it: the typed one may be another mailbox.
    let rename = "UPDATE accounts SET email = 'jose' || U&'\\0301' || '@xn--80a1acny.xn--p1ai'";
    server.database.connect().await.batch_execute(rename).await.unwrap();
    let reset = "mutation($email: String!) { requestPasswordReset(input: { email: $email }) {
        userErrors { code } } }";
    server.anonymous().ok(reset, json!({ "email": "José@ПОЧТА.РФ" })).await;
    assert_eq!(smtp.received(1).await[0].to, "jose\u{301}@xn--80a1acny.xn--p1ai");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_shows_what_was_written() {
    let fixture = MailFixture::start().await;
    for (index, summary) in [
        "=?utf-8?B?0J/RgNC40LLQtdGC?= shows up as subject in my mails",
        "Тема =?utf-8?Q?=41?= и ещё   три пробела",
        "two  spaces",
    ]
    .into_iter()
    .enumerate()
    {
        fixture.anna.create_ticket(summary).await;
        let mails = fixture.smtp.received(index + 1).await;
        assert_eq!(mails[index].subject, format!("[CS-{}] {summary}", 100_001 + index));
    }
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_white_space_of_a_log_is_kept_in_both_parts_of_a_mail() {
    let fixture = MailFixture::start().await;
    let ticket = fixture.anna.create_ticket("one").await;
    let log = "| host | state |\n|      | up    |\n    indented\n\ttab\tand tab";
    fixture.boris.comment(&ticket, log).await;
    let mail = fixture.smtp.received(2).await.remove(1);
    assert!(mail.text.contains(log), "{}", mail.text);
    let (before, _) = mail.html.split_once("| host").unwrap();
    let tag = before.rsplit('<').next().unwrap();
    assert!(tag.contains("white-space:pre-wrap") && tag.contains("monospace"), "{tag}");
    // With line ends in both forms, one of them would be shown twice.
    assert!(mail.html.contains(&log.replace('\n', "<br>")), "{}", mail.html);
    fixture.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_names_the_files_that_came_with_its_texts() {
    let files = tempfile::tempdir().unwrap();
    let folder = files.path().display().to_string();
    let fixture = MailFixture::start_with(&[
        ("storage.folder", folder.as_str()),
        ("mail.staff_addresses", "*=staff@example.com"),
    ])
    .await;
    let file = |name| [(name, &b"content"[..])];
    let reply = upload(&fixture.anna, CREATE, ticket(), &file("screenshot-of-error.png")).await;
    let opened = crate::harness::client::Ticket::read(reply.at("/data/createTicket/ticket"));
    for mail in fixture.smtp.received(2).await {
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("Attached files: screenshot-of-error.png"), "{part}");
            assert!(part.contains("Open the ticket to download them."), "{part}");
        }
    }
    let comment = |body: &str, visibility: &str| json!({ "ticketId": opened.id, "body": body, "visibility": visibility });
    upload(&fixture.boris, COMMENT, comment("A note", "INTERNAL"), &file("secret.txt")).await;
    let public = comment("Please use the attached file.", "PUBLIC");
    upload(&fixture.boris, COMMENT, public, &file("fixed-config.conf")).await;
    let mail = fixture.smtp.received(3).await.remove(2);
    for part in [&mail.text, &mail.html] {
        assert!(part.contains("Attached files: fixed-config.conf"), "{part}");
        assert!(!part.contains("secret.txt") && !part.contains("screenshot"), "{part}");
    }
    let plain = json!({ "categoryId": TECHNICAL_SUPPORT, "summary": "s", "description": "d" });
    assert_ne!(
        *fixture.anna.try_create_ticket(plain).await.at("/data/createTicket/ticket"),
        Value::Null
    );
    for mail in &fixture.smtp.received(5).await[3..] {
        assert!(
            !mail.text.contains("Attached") && !mail.html.contains("Attached"),
            "{}",
            mail.text
        );
    }
    fixture.server.stop().await;
}
