//! The real binary is killed with SIGKILL at every step from the commit of an event to the record
//! that its mail was delivered. No mail is lost, and a repeated mail has the same Message-ID.
//!
//! Each kill waits until the step is observed: by the mail server, which pauses there, or in the
//! database, where the test holds a lock that the step needs.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc, time::Duration};

use tokio::time;
use tokio_postgres::Client as Database;

use crate::harness::{
    Client,
    mail::{borrowed, variables},
    postgres::TestDatabase,
    process::Process,
    server::{PASSWORD, create_account},
    smtp::{Behaviour, Smtp, Step},
};
use ticketwire::domain::account::Role;

const TIMEOUT: Duration = Duration::from_mins(1);

/// The step at which the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// The event is committed; the planner has not read it.
    Committed,
    /// The planner has written a delivery and not committed it.
    Planning,
    /// The delivery is planned; no sender has claimed it.
    Planned,
    /// A sender has claimed it and has not connected.
    Claimed,
    /// The mail server pauses at this step.
    Smtp(Step),
    /// The connection broke in the middle of the mail, and the delivery is queued again.
    Requeued,
    /// The mail server has acknowledged the mail; that is not recorded.
    Acknowledged,
    /// The delivery is recorded as sent.
    Recorded,
}

const POINTS: [Point; 14] = [
    Point::Committed,
    Point::Planning,
    Point::Planned,
    Point::Claimed,
    Point::Smtp(Step::Greeting),
    Point::Smtp(Step::Ehlo),
    Point::Smtp(Step::Mail),
    Point::Smtp(Step::Rcpt),
    Point::Smtp(Step::Data),
    Point::Smtp(Step::MidData),
    Point::Requeued,
    Point::Smtp(Step::Accepted),
    Point::Acknowledged,
    Point::Recorded,
];

impl Point {
    /// The window in which events join one mail, in seconds: long where no sender may start.
    fn window(self) -> &'static str {
        if matches!(self, Self::Planned | Self::Claimed) { "3600" } else { "0" }
    }

    /// How often the mail arrives: twice if the mail server had all of it and the server could not
    /// know. In the middle of the data the rest may already be on its way and arrive after the
    /// kill.
    fn arrivals(self) -> RangeInclusive<usize> {
        match self {
            Self::Smtp(Step::MidData) => 1..=2,
            Self::Smtp(Step::Accepted) | Self::Acknowledged => 2..=2,
            _ => 1..=1,
        }
    }
}

/// A mail server, a database, and servers that are killed.
struct Scene {
    test: TestDatabase,
    smtp: Smtp,
    /// For queries and changes.
    database: Database,
    /// Holds the locks that a server waits for.
    holder: Database,
    token: Option<String>,
}

impl Scene {
    async fn start() -> Self {
        let (test, smtp) = (TestDatabase::new().await, Smtp::start().await);
        create_account(&test.url, &Arc::default(), "anna@example.com", "Anna", Role::Customer)
            .await;
        let (database, holder) = (test.connect().await, test.connect().await);
        Self { test, smtp, database, holder, token: None }
    }

    async fn serve(&mut self, window: &str) -> (Process, Client) {
        let mut variables = variables(&self.smtp.url(), &self.test.url);
        for (name, value) in &mut variables {
            match name.as_str() {
                "TICKETWIRE_MAIL_WINDOW_SECONDS" => window.clone_into(value),
                // No sender times out before it is killed.
                "TICKETWIRE_MAIL_TIMEOUT_SECONDS" => "60".clone_into(value),
                _ => {}
            }
        }
        let process = Process::serve(&borrowed(&variables)).await;
        let mut anna = Client::new(&process.address, self.token.clone());
        if self.token.is_none() {
            anna = anna.sign_in("anna@example.com", PASSWORD).await;
            self.token.clone_from(&anna.token);
        }
        (process, anna)
    }

    /// Starts a server, creates a ticket, and kills the server at a point. Returns the ticket's
    /// number.
    async fn kill_at(&mut self, point: Point) -> String {
        let (process, anna) = self.serve(point.window()).await;
        // Wait until nothing of the previous round is left to do.
        self.until(
            "SELECT NOT EXISTS (SELECT FROM pending_events)
                AND (SELECT pos FROM feed_head) = (SELECT min(pos) FROM consumer_offsets)
                AND NOT EXISTS (SELECT FROM deliveries WHERE state = 'sending' AND due_at < '2200-01-01')
                AND NOT EXISTS (SELECT FROM deliveries WHERE state = 'queued'
                                AND due_at < now() + interval '1 minute')",
        )
        .await;
        let paused = self.smtp.pauses();
        match point {
            Point::Committed => self.lock("SELECT FROM consumer_offsets FOR UPDATE").await,
            Point::Planning => self.lock("LOCK TABLE delivery_events IN EXCLUSIVE MODE").await,
            Point::Smtp(step) => self.smtp.script([Behaviour::Pause(step)]),
            Point::Acknowledged => self.smtp.script([Behaviour::Pause(Step::Accepted)]),
            Point::Requeued => self.smtp.script([Behaviour::DropMidData]),
            Point::Planned | Point::Claimed | Point::Recorded => {}
        }
        let number = anna.create_ticket(&format!("{point:?}")).await.number;
        match point {
            Point::Committed | Point::Planning => self.until_blocked().await,
            Point::Planned => self.until_newest_is("queued").await,
            Point::Requeued => {
                self.until("SELECT EXISTS (SELECT FROM deliveries WHERE state = 'queued' AND attempts = 1 AND due_at < '2200-01-01')").await;
            }
            Point::Claimed => {
                self.until_newest_is("queued").await;
                self.lock("LOCK TABLE mail_unsubscriptions IN ACCESS EXCLUSIVE MODE").await;
                let due = "UPDATE deliveries SET due_at = created_at
                    WHERE seq = (SELECT max(seq) FROM deliveries)";
                self.database.batch_execute(due).await.unwrap();
                self.until_newest_is("sending").await;
                self.until_blocked().await;
            }
            Point::Smtp(_) => self.smtp.paused(paused + 1).await,
            Point::Acknowledged => {
                self.smtp.paused(paused + 1).await;
                self.lock("SELECT FROM deliveries WHERE state = 'sending' FOR UPDATE").await;
                self.smtp.release();
                self.until_blocked().await;
            }
            Point::Recorded => self.until_newest_is("sent").await,
        }
        process.kill().await;
        self.clean_up().await;
        number
    }

    async fn lock(&self, lock: &str) {
        self.holder.batch_execute(&format!("BEGIN; {lock}")).await.unwrap();
    }

    /// Waits until the server waits for a lock of the test.
    async fn until_blocked(&self) {
        let blocked = "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))";
        until(&self.holder, blocked).await;
    }

    /// Waits until the newest ticket's mail is in a state.
    async fn until_newest_is(&self, state: &str) {
        self.until(&format!(
            "SELECT EXISTS (SELECT FROM deliveries WHERE state = '{state}' AND ticket_id =
                (SELECT id FROM tickets ORDER BY number DESC LIMIT 1))"
        ))
        .await;
    }

    async fn until(&self, condition: &str) {
        until(&self.database, condition).await;
    }

    /// Cleans up after a kill: terminates the backends that wait for a lock of the test, so that
    /// their statements never run, and postpones unfinished mails to the end.
    async fn clean_up(&self) {
        self.holder
            .batch_execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
                 WHERE datname = current_database() AND pg_backend_pid() = ANY (pg_blocking_pids(pid));
                 ROLLBACK;
                 UPDATE deliveries SET due_at = '2200-01-01' WHERE state IN ('queued', 'sending')",
            )
            .await
            .unwrap();
        self.smtp.release();
    }

    /// Has a last server send the remaining mails, and checks all mails.
    async fn check(&mut self, killed: &[(Point, String)]) {
        let all = "UPDATE deliveries SET due_at = created_at WHERE state IN ('queued', 'sending')";
        self.database.batch_execute(all).await.unwrap();
        let (process, _) = self.serve("0").await;
        let kills = killed.len();
        self.until(&format!(
            "SELECT (SELECT count(*) FROM deliveries) = {kills}
                AND NOT EXISTS (SELECT FROM deliveries WHERE state <> 'sent')"
        ))
        .await;
        process.kill().await;
        let mails = self.smtp.mails();
        let mut all_ids = HashSet::new();
        for (point, number) in killed {
            let of_ticket = mails.iter().filter(|mail| mail.subject.contains(number.as_str()));
            let ids = of_ticket.map(|mail| mail.id.as_str()).collect::<Vec<_>>();
            assert!(point.arrivals().contains(&ids.len()), "{point:?} {number}: {ids:?}");
            assert!(ids.iter().all(|id| *id == ids[0]), "{point:?} {number}: {ids:?}");
            assert!(all_ids.insert(ids[0]), "{point:?} {number}: the Message-ID of another mail");
        }
        let repeats = mails.len() - kills;
        println!("{kills} kills: {} mails lost, {repeats} repeated", kills - all_ids.len());
    }
}

async fn until(database: &Database, condition: &str) {
    let reached =
        async { while !database.query_one(condition, &[]).await.unwrap().get::<_, bool>(0) {} };
    time::timeout(TIMEOUT, reached).await.unwrap_or_else(|_| panic!("not in time: {condition}"));
}

async fn kill_at_every_point(times: usize) {
    let mut scene = Scene::start().await;
    let mut killed = Vec::new();
    for point in POINTS.repeat(times) {
        killed.push((point, scene.kill_at(point).await));
    }
    scene.check(&killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_mail_and_repeats_at_most_one() {
    kill_at_every_point(1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; run make verify-long"]
async fn a_hundred_kills_lose_no_mail_and_repeat_at_most_one_each() {
    kill_at_every_point(8).await;
}
