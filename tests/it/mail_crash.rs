//! `kill -9` of the real binary between planning and delivered, again and again:
//! no mail is lost, and what comes twice is recognisably the same.

use std::collections::HashMap;

use serde_json::json;

use crate::harness::{
    Client,
    mail::settings,
    postgres::TestDatabase,
    process::Process,
    server::{PASSWORD, create_account},
    smtp::{Mood, Smtp},
};
use std::sync::Arc;
use ticketwire::domain::account::Role;

/// How often the server is killed.
const KILLS: usize = 8;

async fn serve(database: &TestDatabase, smtp: &Smtp) -> Process {
    let mut variables = settings(&smtp.url());
    variables.push(("database.url", database.url.clone()));
    let variables = variables.into_iter().map(|(key, value)| {
        let name = match key {
            "database.url" => "DATABASE_URL".to_owned(),
            key => format!("TICKETWIRE_{}", key.replace('.', "_").to_uppercase()),
        };
        (name, value)
    });
    let variables = variables.collect::<Vec<_>>();
    let variables = variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>();
    Process::serve(&variables).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_mail_is_lost_to_kill_9_and_one_at_most_is_repeated_a_kill() {
    let (database, smtp) = (TestDatabase::new().await, Smtp::start().await);
    create_account(&database.url, &Arc::default(), "anna@example.com", "Anna", Role::Customer)
        .await;
    let mut created = Vec::new();
    for kill in 0..KILLS {
        let process = serve(&database, &smtp).await;
        let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
        // Killed at different points: right after the commit, while the mail is
        // spoken of, after the mail server took it and before that is written down.
        match kill % 4 {
            0 => created.push(anna.create_ticket("Killed after the commit").await.number),
            1 => {
                let before = smtp.attempts();
                smtp.then([Mood::Stall]);
                created.push(anna.create_ticket("Killed in the envelope").await.number);
                smtp.attempted(before + 1).await;
            }
            2 => {
                let before = smtp.mails().len();
                smtp.then([Mood::TakeAndStall]);
                created.push(anna.create_ticket("Killed after the data").await.number);
                smtp.received(before + 1).await;
            }
            _ => {
                let before = smtp.attempts();
                smtp.then([Mood::DropMidData]);
                created.push(anna.create_ticket("Killed in the data").await.number);
                smtp.attempted(before + 1).await;
            }
        }
        process.kill().await;
    }
    // Put-backs wait for a minute; nobody has to.
    let client = database.connect().await;
    client
        .batch_execute("UPDATE deliveries SET due_at = created_at WHERE state = 'queued'")
        .await
        .unwrap();
    let process = serve(&database, &smtp).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    anna.ok("{ viewer { id } }", json!({})).await;
    for _ in 0..100_000 {
        let done = "SELECT count(*) FROM deliveries WHERE state = 'sent'";
        let left =
            "UPDATE deliveries SET due_at = created_at WHERE state = 'queued' AND attempts > 0";
        client.batch_execute(left).await.unwrap();
        if client.query_one(done, &[]).await.unwrap().get::<_, i64>(0)
            == i64::try_from(KILLS).unwrap()
        {
            break;
        }
    }
    process.kill().await;
    let mut ids = HashMap::<String, Vec<String>>::new();
    for mail in smtp.mails() {
        ids.entry(mail.subject).or_default().push(mail.id);
    }
    for number in &created {
        let (_, ids) = ids.iter().find(|(subject, _)| subject.contains(number)).expect("a mail");
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    let repeats = smtp.mails().len() - created.len();
    assert!(repeats <= KILLS, "{repeats} repeats");
}
