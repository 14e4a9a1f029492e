//! Bad events: one that a consumer of the log cannot process is set aside, and one that cannot be
//! read keeps its position. Everything after them goes on. An outage sets nothing aside.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use ticketwire::{
    crypto::random::SystemRandomness,
    db::{
        Connection, Database, DbError,
        embedded::{EmbeddedPostgres, EmbeddedSettings},
        migrations,
    },
    domain::{account::Role, clock::Ambient, event::FeedEvent},
    events::{Consumer, ConsumerRunner, EventLog},
    metrics::Metrics,
};
use tokio::{sync::watch, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    harness::{
        Client, Socket, TestServer,
        client::{SALES, Ticket},
        mail::{MailFixture, borrowed, settings, variables},
        postgres::{TestDatabase, cluster_folder, cluster_settings, connect},
        process::{Process, run},
        server::{PASSWORD, create_account},
        smtp::Smtp,
    },
    metrics,
};

const TIMEOUT: Duration = Duration::from_mins(1);
const COUNTED: &str = "ticketwire_set_aside_total{consumer=\"notifications\"}";
const WAITING: &str = "ticketwire_set_aside_events{consumer=\"notifications\"}";

const SET_ASIDE: &str = "{ setAsideEvents { id consumer eventId ticket { number } error attempts
    setAsideAt attemptedAt retryRequestedAt } }";

/// Makes the database refuse every mail about a ticket that is called `Poison`.
const POISON: &str = r#"
    CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM events e JOIN tickets t ON t.id = e.ticket_id
                   WHERE e.id = NEW.event_id AND t.summary = 'Poison') THEN
            RAISE EXCEPTION 'no mail about "Poison"';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER refuse_poison BEFORE INSERT ON delivery_events
        FOR EACH ROW EXECUTE FUNCTION refuse_poison();"#;

/// Makes the database refuse it as slowly as it reports a timeout.
const SLOW_POISON: &str = r"
    CREATE FUNCTION wait_for_poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM events e JOIN tickets t ON t.id = e.ticket_id
                   WHERE e.id = NEW.event_id AND t.summary = 'Poison') THEN
            PERFORM pg_sleep(1);
            RAISE EXCEPTION 'too slow';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER wait_for_poison BEFORE INSERT ON delivery_events
        FOR EACH ROW EXECUTE FUNCTION wait_for_poison();";

/// Waits until a condition holds in a database.
async fn until(database: &tokio_postgres::Client, condition: &str) {
    let reached =
        async { while !database.query_one(condition, &[]).await.unwrap().get::<_, bool>(0) {} };
    time::timeout(TIMEOUT, reached).await.unwrap_or_else(|_| panic!("not in time: {condition}"));
}

/// The addresses to which a ticket's mails were planned.
async fn recipients(staff: &Client, ticket: &Ticket) -> Vec<String> {
    let query = "query($number: String!) { ticket(number: $number) { deliveries { recipient } } }";
    let data = staff.ok(query, json!({ "number": ticket.number })).await;
    let deliveries = data["ticket"]["deliveries"].as_array().unwrap();
    deliveries.iter().map(|it| it["recipient"].as_str().unwrap().to_owned()).collect()
}

async fn set_aside(admin: &Client) -> Vec<Value> {
    admin.ok(SET_ASIDE, json!({})).await["setAsideEvents"].as_array().unwrap().clone()
}

async fn retry(client: &Client, ids: &[&Value]) -> crate::harness::client::Reply {
    let mutation = "mutation($input: RetrySetAsideInput!) { retrySetAside(input: $input) {
        setAsideEvents { id retryRequestedAt } userErrors { code } } }";
    client.send(mutation, json!({ "input": { "ids": ids } })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reporter_with_the_staff_address_is_mailed_once_and_stops_nobodys_mail() {
    let desk = MailFixture::start_with(&[("mail.staff_addresses", "sales=anna@example.com")]).await;
    let vera = desk.server.customer("Vera").await;
    let open = async |customer: &Client, summary: &str| {
        let input = json!({ "categoryId": SALES, "summary": summary, "description": "Please." });
        Ticket::read(customer.try_create_ticket(input).await.at("/data/createTicket/ticket"))
    };
    let annas = open(&desk.anna, "Of the staff address").await;
    let veras = open(&vera, "Of somebody else").await;
    desk.smtp.received(3).await;
    assert_eq!(recipients(&desk.boris, &annas).await, ["anna@example.com"]);
    let mut both = recipients(&desk.boris, &veras).await;
    both.sort();
    assert_eq!(both, ["anna@example.com", "vera@example.com"]);
    desk.smtp.nth(1, "Of the staff address").await;
    let database = desk.server.database.connect().await;
    until(&database, "SELECT NOT EXISTS (SELECT FROM set_aside_events)").await;
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_learns_does_not_join_the_mail_of_the_desk_to_the_same_address() {
    let flags =
        [("mail.staff_addresses", "sales=boris@example.com"), ("mail.window_seconds", "60")];
    let desk = MailFixture::start_with(&flags).await;
    let input = json!({ "categoryId": SALES, "summary": "An offer", "description": "Please." });
    let ticket = desk.anna.try_create_ticket(input).await;
    let ticket = Ticket::read(ticket.at("/data/createTicket/ticket"));
    let marta = desk.server.agent("Marta").await;
    let boris = desk.boris.account_id().await;
    marta.update(&ticket, json!({ "assigneeId": boris })).await;
    desk.server.quiet().await;
    desk.server.clock.advance(TimeDelta::seconds(61));
    let mail = desk.smtp.nth(1, "A new ticket is waiting for support").await;
    assert_eq!(mail.to, "boris@example.com");
    let mail = desk.smtp.nth(1, "assigned this ticket to you").await;
    assert_eq!(mail.to, "boris@example.com");
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_read_stops_no_mail_of_others_and_no_mail_for_good() {
    let desk = MailFixture::start_with(&[("mail.window_seconds", "60")]).await;
    let vera = desk.server.customer("Vera").await;
    let ticket = desk.anna.create_ticket("Shared").await;
    desk.anna.share(&ticket, &vera).await;
    let database = desk.server.database.connect().await;
    database.batch_execute("ALTER TYPE locale ADD VALUE 'eo'").await.unwrap();
    let set_locale = async |name: &str, locale: &str| {
        let update = format!("UPDATE accounts SET locale = '{locale}' WHERE name = '{name}'");
        database.batch_execute(&update).await.unwrap();
    };
    let pass_window = || desk.server.clock.advance(TimeDelta::seconds(61));
    // A newer version, to which the installation has been upgraded and back, knows more languages.
    set_locale("Vera", "eo").await;
    desk.boris.comment(&ticket, "Without Vera.").await;
    desk.server.quiet().await;
    pass_window();
    desk.smtp.nth(1, "Without Vera.").await;
    until(&database, "SELECT NOT EXISTS (SELECT FROM set_aside_events)").await;

    desk.boris.comment(&ticket, "By Boris.").await;
    desk.server.quiet().await;
    set_locale("Boris", "eo").await;
    pass_window();
    let deferred = "SELECT count(*) = 1 FROM deliveries WHERE address = 'anna@example.com'
        AND state = 'queued' AND last_error LIKE '%field ''locale''%'";
    until(&database, deferred).await;
    set_locale("Boris", "en").await;
    desk.server.clock.advance(TimeDelta::hours(1));
    desk.smtp.nth(1, "By Boris.").await;
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_planned_is_set_aside_and_can_be_tried_again() {
    let desk = MailFixture::start_with(&[("admin.listen", "127.0.0.1:0")]).await;
    let admin = desk.server.sign_up("Olga", Role::Admin).await;
    let (database, holder) =
        (desk.server.database.connect().await, desk.server.database.connect().await);
    database.batch_execute(POISON).await.unwrap();
    assert_eq!(metrics::metric(&desk.server, COUNTED).await, Some(0.0));
    assert_eq!(metrics::metric(&desk.server, WAITING).await, Some(0.0));

    // Held up, so that all three are in one batch.
    holder.batch_execute("BEGIN; SELECT FROM consumer_offsets FOR UPDATE").await.unwrap();
    desk.anna.create_ticket("Before").await;
    let poison = desk.anna.create_ticket("Poison").await;
    desk.anna.create_ticket("After").await;
    holder.batch_execute("COMMIT").await.unwrap();
    let mails = desk.smtp.received(2).await;
    let subjects = mails.iter().map(|mail| mail.subject.split_once("] ").unwrap().1);
    let mut subjects = subjects.collect::<Vec<_>>();
    subjects.sort_unstable();
    assert_eq!(subjects, ["After", "Before"]);

    let found = set_aside(&admin).await;
    let event = &found[0];
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(event["consumer"], "notifications");
    assert_eq!(event["ticket"]["number"], poison.number.as_str());
    assert_eq!((&event["attempts"], &event["retryRequestedAt"]), (&json!(1), &Value::Null));
    let error = event["error"].as_str().unwrap();
    assert!(error.contains("no mail about") && !error.contains("Poison"), "{error}");
    assert_eq!(metrics::metric(&desk.server, COUNTED).await, Some(1.0));
    assert_eq!(metrics::metric(&desk.server, WAITING).await, Some(1.0));
    for client in [&desk.anna, &desk.boris] {
        assert_eq!(client.send(SET_ASIDE, json!({})).await.code(), "FORBIDDEN");
        assert_eq!(retry(client, &[&event["id"]]).await.code(), "FORBIDDEN");
        assert_eq!(retry(client, &[&json!("nonsense")]).await.code(), "FORBIDDEN");
    }

    let variables = variables(&desk.smtp.url(), &desk.server.database.url);
    let variables = borrowed(&variables);
    let listed = run(&["outbox", "list"], &variables, "").await;
    assert!(listed.success && listed.stdout.contains("no mail about"), "{}", listed.stdout);
    let ill = run(&["doctor"], &variables, "").await;
    assert!(!ill.success && ill.stdout.contains("FAILED  events: 1 could not"), "{}", ill.stdout);

    // The cause is still there.
    let requested = retry(&admin, &[&event["id"]]).await;
    let waiting = requested.at("/data/retrySetAside/setAsideEvents/0/retryRequestedAt");
    assert!(waiting.is_string(), "{}", requested.body);
    let failed_again = "SELECT attempts = 2 AND retry_requested_at IS NULL FROM set_aside_events";
    until(&database, failed_again).await;
    assert_eq!(desk.smtp.mails().len(), 2);

    database.batch_execute("DROP TRIGGER refuse_poison ON delivery_events").await.unwrap();
    let retried = run(&["outbox", "retry", "--all"], &variables, "").await;
    assert!(retried.success && retried.stdout.starts_with("1 event will"), "{}", retried.stdout);
    desk.smtp.nth(1, "Poison").await;
    assert_eq!(set_aside(&admin).await, [] as [Value; 0]);
    assert_eq!(metrics::metric(&desk.server, WAITING).await, Some(0.0));
    let listed = run(&["outbox", "list"], &variables, "").await;
    assert_eq!(listed.stdout, "No events are set aside.\n");
    let checked = run(&["doctor"], &variables, "").await.stdout;
    assert!(checked.contains("ok      events"), "{checked}");
    assert_eq!(retry(&admin, &[&event["id"]]).await.user_errors("retrySetAside"), ["NOT_FOUND"]);

    desk.anna.create_ticket("Last").await;
    desk.smtp.nth(1, "Last").await;
    assert_eq!(desk.smtp.mails().len(), 4, "a mail came twice");
    assert_eq!(recipients(&desk.boris, &poison).await, ["anna@example.com"]);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_of_an_event_that_was_set_aside_come_in_live_and_resumed_streams() {
    const STREAM: &str = "subscription($after: String) { notifications(after: $after) {
        ... on NotificationCheckpoint { cursor }
        ... on NotificationAdded { cursor notification { kind ticket { summary } } } } }";
    const EXPECTED: [(&str, &str); 2] =
        [("SUPPORT_ANSWERED", "Poison"), ("STATUS_CHANGED", "Poison")];
    const IS_PLANNED: &str = "SELECT pos = (SELECT pos FROM feed_head) FROM consumer_offsets
        WHERE name = 'notifications'";
    let subscribe = async |client: &Client, after: Option<&str>| {
        let mut socket = client.socket().await;
        socket.subscribe("1", STREAM, json!({ "after": after })).await;
        socket
    };
    let next = async |socket: &mut Socket| {
        let added = socket.item().await;
        let text = |pointer| added.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let notification = (text("/notification/kind"), text("/notification/ticket/summary"));
        (notification, text("/cursor"))
    };
    let desk = MailFixture::start().await;
    let database = desk.server.database.connect().await;
    let poison = desk.anna.create_ticket("Poison").await;
    let after = desk.anna.create_ticket("After").await;
    desk.boris.comment(&after, "We look into it.").await;
    until(&database, IS_PLANNED).await;
    database.batch_execute(POISON).await.unwrap();
    desk.boris.comment(&poison, "This cannot be mailed.").await;
    until(&database, IS_PLANNED).await;

    let mut live = subscribe(&desk.anna, None).await;
    let start = live.item().await["cursor"].as_str().unwrap().to_owned();
    database.batch_execute("DROP TRIGGER refuse_poison ON delivery_events").await.unwrap();
    database.batch_execute("UPDATE set_aside_events SET retry_requested_at = now()").await.unwrap();
    until(&database, "SELECT NOT EXISTS (SELECT FROM set_aside_events)").await;
    let mut resumed = subscribe(&desk.anna, Some(&start)).await;
    let late = EXPECTED.map(|(kind, ticket)| (kind.to_owned(), ticket.to_owned()));
    let next_event = ("SUPPORT_ANSWERED".to_owned(), "After".to_owned());
    for socket in [&mut live, &mut resumed] {
        // Without another event.
        let (first, second) = (next(socket).await, next(socket).await);
        assert_eq!([first.0, second.0], late);
        // A client that resumes before the next event gets them again.
        assert_eq!((first.1.as_str(), second.1), (start.as_str(), start.clone()));
    }
    assert_eq!(resumed.item().await["cursor"], start);
    // A stream that begins after them has nothing to deliver.
    assert!(subscribe(&desk.anna, None).await.item().await.get("notification").is_none());
    desk.boris.comment(&after, "The next event.").await;
    for socket in [&mut live, &mut resumed] {
        let (notification, cursor) = next(socket).await;
        assert_eq!(notification, next_event);
        let mut end = subscribe(&desk.anna, Some(&cursor)).await;
        assert!(end.item().await.get("notification").is_none());
    }
    let mut again = subscribe(&desk.anna, Some(&start)).await;
    for expected in [&late[0], &late[1], &next_event] {
        assert_eq!(&next(&mut again).await.0, expected);
    }
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_always_fail_slowly_are_set_aside_once_another_one_succeeds() {
    let desk = MailFixture::start().await;
    let admin = desk.server.sign_up("Olga", Role::Admin).await;
    let database = desk.server.database.connect().await;
    database.batch_execute(SLOW_POISON).await.unwrap();
    let poison = [
        desk.anna.create_ticket("Poison").await,
        // The one after the first fails too.
        desk.anna.create_ticket("Poison").await,
    ];
    desk.anna.create_ticket("After").await;
    for count in [1, 2] {
        until(&database, &format!("SELECT count(*) = {count} FROM set_aside_events")).await;
    }
    desk.smtp.nth(1, "After").await;
    let found = set_aside(&admin).await;
    let numbers = found.iter().map(|it| it["ticket"]["number"].as_str().unwrap());
    let numbers = numbers.collect::<BTreeSet<_>>();
    assert_eq!(numbers, poison.iter().map(|ticket| ticket.number.as_str()).collect());

    retry(&admin, &[&found[0]["id"]]).await;
    let failed_again = "SELECT bool_or(attempts = 2) AND every(retry_requested_at IS NULL)
        FROM set_aside_events";
    until(&database, failed_again).await;
    desk.anna.create_ticket("Last").await;
    desk.smtp.nth(1, "Last").await;
    assert_eq!(desk.smtp.mails().len(), 2);
    desk.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_because_a_row_is_locked_is_not_set_aside() {
    let smtp = Smtp::start().await;
    let test = TestDatabase::new().await;
    create_account(&test.url, &Arc::default(), "anna@example.com", "Anna", Role::Customer).await;
    let url = test.url_with("lock_timeout", "1s");
    let process = Process::serve(&borrowed(&variables(&smtp.url(), &url))).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;
    let (database, offsets) = (test.connect().await, test.connect().await);
    offsets.batch_execute("BEGIN; SELECT FROM consumer_offsets FOR UPDATE").await.unwrap();
    anna.create_ticket("Behind a lock").await;
    let holder = test.connect().await;
    holder.batch_execute("BEGIN; SELECT FROM tickets FOR UPDATE").await.unwrap();
    // Nothing holds this one up.
    anna.create_ticket("After it").await;
    offsets.batch_execute("COMMIT").await.unwrap();
    // In a batch and alone, again and again.
    let waits = "SELECT xact_start::text FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
          AND query LIKE '%INTO \"deliveries\"%'";
    let mut attempts = BTreeSet::new();
    let failed = async {
        while attempts.len() < 7 {
            let rows = database.query(waits, &[]).await.unwrap();
            attempts.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
    };
    time::timeout(TIMEOUT, failed).await.expect("three attempts");
    holder.batch_execute("COMMIT").await.unwrap();
    for subject in ["Behind a lock", "After it"] {
        smtp.nth(1, subject).await;
    }
    until(&database, "SELECT NOT EXISTS (SELECT FROM set_aside_events)").await;
    assert!(process.terminate(Signal::TERM).await);
}

/// A consumer with bugs: it panics at each event about a ticket, and once when it has advanced.
struct Panicking {
    reached: watch::Sender<i64>,
    has_advanced: AtomicBool,
}

impl Consumer for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    fn process<'a>(
        &'a self,
        _: &'a mut Connection,
        events: &'a [Arc<FeedEvent>],
    ) -> BoxFuture<'a, Result<(), DbError>> {
        Box::pin(async move {
            assert!(events.iter().all(|event| event.event.ticket().is_none()), "a bug");
            Ok(())
        })
    }

    fn advanced(&self, up_to: i64, _: bool) -> BoxFuture<'_, Result<(), DbError>> {
        Box::pin(async move {
            assert!(self.has_advanced.swap(true, Relaxed), "another bug");
            self.reached.send_replace(up_to);
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_panics_at_an_event_goes_on_after_it() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    anna.create_ticket("one").await;
    anna.create_ticket("two").await;
    server.customer("Vera").await;
    server.quiet().await;
    let client = server.database.connect().await;
    client.batch_execute("INSERT INTO consumer_offsets VALUES ('panicking', 0)").await.unwrap();
    let head = client.query_one("SELECT pos FROM feed_head", &[]).await.unwrap().get::<_, i64>(0);

    let database = Database::new(&server.database.url, 4).unwrap();
    let ambient = Ambient::new(Arc::clone(&server.clock) as _, Arc::new(SystemRandomness));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let counted = Metrics::default();
    let log =
        EventLog::open(database.clone(), database.clone(), ambient, &tasks, &stop, |_| {}, counted);
    let (reached, mut up_to) = watch::channel(0);
    let consumer = Panicking { reached, has_advanced: AtomicBool::new(false) };
    let runner = ConsumerRunner::new(&log.await.unwrap(), Box::new(consumer));
    let running = tokio::spawn(runner.run());
    let done = time::timeout(TIMEOUT, up_to.wait_for(|pos| *pos >= head)).await;
    assert!(done.expect("the end of the feed in time").is_ok(), "the runner has ended");
    let set_aside = "SELECT count(*) = 2 AND bool_and(consumer = 'panicking' AND attempts = 1)
        FROM set_aside_events";
    until(&client, set_aside).await;
    running.abort();
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    database.close();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_processes_what_the_database_has_although_the_node_has_seen_another_history() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = anna.create_ticket("one").await;
    anna.create_ticket("two").await;
    server.quiet().await;
    let mut socket = anna.socket().await;
    socket.watch_ticket("1", &ticket.id, None).await;
    let mut holder = server.database.connect().await;
    let lock = holder.transaction().await.unwrap();
    lock.execute("SELECT FROM consumer_offsets FOR UPDATE", &[]).await.unwrap();
    marta.comment(&ticket, "of the history that was lost").await;
    socket.item().await;

    // As after a restore: the position has another event, which says the same of another ticket.
    let rewritten = "WITH other AS (
            INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, category_id, status,
                                priority, occurred_at)
            SELECT t.id, 100, e.kind, e.audience, e.actor_id, e.data, e.category_id, e.status,
                   e.priority, e.occurred_at
            FROM feed f JOIN events e ON e.id = f.event_id, tickets t
            WHERE e.kind = 'comment_added' AND t.summary = 'two' RETURNING id, ticket_id
        )
        UPDATE feed SET event_id = other.id, ticket_id = other.ticket_id FROM other
        WHERE feed.event_id = (SELECT id FROM events WHERE kind = 'comment_added');
        UPDATE feed SET mark = mark + 1 WHERE pos > (SELECT max(pos) - 2 FROM feed)";
    server.database.connect().await.batch_execute(rewritten).await.unwrap();
    lock.rollback().await.unwrap();
    let client = server.database.connect().await;
    until(&client, "SELECT min(pos) = (SELECT pos FROM feed_head) FROM consumer_offsets").await;
    let notified = "SELECT t.summary FROM notifications n JOIN tickets t ON t.id = n.ticket_id
        WHERE n.kind = 'support_answered'";
    let notified = client.query(notified, &[]).await.unwrap();
    let notified = notified.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    assert_eq!(notified, ["two"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_killed_while_mail_is_planned_sets_nothing_aside() {
    let settings =
        EmbeddedSettings { durable: true, ..cluster_settings(cluster_folder("set-aside")) };
    drop(std::fs::remove_dir_all(&settings.data_dir));
    let mut postgres = EmbeddedPostgres::start(&settings).await.unwrap();
    let admin = connect(&postgres.url("postgres")).await;
    admin.batch_execute("CREATE DATABASE ticketwire_set_aside").await.unwrap();
    let url = postgres.url("ticketwire_set_aside");
    let pool = Database::new(&url, 2).unwrap();
    migrations::run(&pool).await.unwrap();
    pool.close();
    create_account(&url, &Arc::default(), "anna@example.com", "Anna", Role::Customer).await;
    let smtp = Smtp::start().await;
    let process = Process::serve(&borrowed(&variables(&smtp.url(), &url))).await;
    let anna = Client::new(&process.address, None).sign_in("anna@example.com", PASSWORD).await;

    let holder = connect(&url).await;
    holder.batch_execute("BEGIN; LOCK TABLE delivery_events IN EXCLUSIVE MODE").await.unwrap();
    anna.create_ticket("During the outage").await;
    let planning = "SELECT EXISTS (SELECT FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%delivery_events%')";
    until(&connect(&url).await, planning).await;
    let pid = Pid::from_raw(postgres.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    drop(postgres);
    postgres = EmbeddedPostgres::start(&settings).await.unwrap();

    smtp.nth(1, "During the outage").await;
    let database = connect(&url).await;
    until(&database, "SELECT NOT EXISTS (SELECT FROM set_aside_events)").await;
    let delivered = "SELECT (SELECT count(*) FROM delivery_events) = 1
        AND (SELECT count(*) FROM deliveries) = 1";
    until(&database, delivered).await;
    assert!(process.terminate(Signal::INT).await, "the server did not end well");
    postgres.stop().await.unwrap();
    drop(std::fs::remove_dir_all(&settings.data_dir));
}

/// The names of a stream's events, up to the first with a name.
async fn names_until(socket: &mut Socket, last: &str) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let item = socket.item().await;
        let name = item["__typename"].as_str().unwrap().to_owned();
        if name == "Checkpoint" {
            continue;
        }
        names.push(name);
        if names.last().is_some_and(|name| name == last) {
            return names;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_keeps_its_position_and_stops_no_stream() {
    let smtp = Smtp::start().await;
    let mut server = TestServer::start_with(&settings(&smtp.url())).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let vera = server.customer("Vera").await;
    let ticket = anna.create_ticket("one").await;
    let (mut customer, mut staff) = (anna.socket().await, marta.socket().await);
    customer.watch_inbox("1", None).await;
    staff.watch_inbox("1", None).await;
    let start = customer.caught_up().await;
    staff.caught_up().await;

    let database = server.database.connect().await;
    database.batch_execute("ALTER TYPE event_audience ADD VALUE 'robots'").await.unwrap();
    // In turn: about nothing; with a number that this version cannot read, an impossible time, and
    // a customer that is none; for an audience that this version does not know.
    let broken = "WITH bad (seq, of_ticket, kind, audience, data, occurred_at) AS (VALUES
            (100, false, 'comment_added', 'participants', '{}', 'now'),
            (101, true, 'comment_added', 'participants', '{\"comment_id\": 1e400}', 'now'),
            (102, true, 'summary_changed', 'participants', '{}', 'infinity'),
            (103, true, 'participant_removed', 'participants', '{\"account_id\": \"?\"}', 'now'),
            (104, true, 'summary_changed', 'robots', '{}', 'now')
        ), appended AS (
            INSERT INTO events (ticket_id, seq, kind, audience, data, occurred_at)
            SELECT CASE WHEN of_ticket THEN (SELECT id FROM tickets) END, seq, kind,
                   audience::event_audience, data::jsonb, occurred_at::timestamptz
            FROM bad ORDER BY seq RETURNING id
        ), counted AS (UPDATE tickets SET event_seq = 200)
        INSERT INTO pending_events SELECT id FROM appended";
    database.batch_execute(broken).await.unwrap();
    marta.comment(&ticket, "after them").await;

    let seen = ["UnreadableEvent", "UnreadableEvent", "UnreadableEvent", "CommentAdded"];
    assert_eq!(names_until(&mut customer, "CommentAdded").await, seen);
    let all = ["UnreadableEvent", "UnreadableEvent", "UnreadableEvent"];
    let staffs = names_until(&mut staff, "CommentAdded").await;
    assert_eq!(staffs[..3], all);
    assert_eq!(staffs.len(), 5, "the one for an unknown audience is for staff: {staffs:?}");

    // From memory, and from the database after a restart.
    for round in ["memory", "database"] {
        let anna = anna.at(&server.address());
        let mut replayed = anna.socket().await;
        replayed.watch_inbox("1", Some(&start)).await;
        assert_eq!(names_until(&mut replayed, "CommentAdded").await, seen, "from {round}");
        let mut replayed = anna.socket().await;
        replayed.watch_ticket("1", &ticket.id, Some(&start)).await;
        assert_eq!(names_until(&mut replayed, "CommentAdded").await, seen, "from {round}");
        // A customer whom none of them concerns.
        let mut others = vera.at(&server.address()).socket().await;
        others.watch_inbox("1", Some(&start)).await;
        others.caught_up().await;
        drop((replayed, others));
        server.restart_with(&settings(&smtp.url())).await;
    }
    // Mail went on, too: the confirmation, and the answer.
    smtp.nth(1, "after them").await;
    server.stop().await;
}
