//! Figures of the support, compared with a history that was computed by hand.

use chrono::TimeDelta;
use serde_json::{Value, json};
use ticketwire::domain::service_token::Scope;

use crate::harness::{
    Client, TestServer,
    client::{Reply, SALES, Ticket},
};

const QUERY: &str = "query($from: Date!, $to: Date!, $by: FigureGroup!) {
    supportFigures(from: $from, to: $to, groupBy: $by) { rows { ...Row } total { ...Row } csv } }
    fragment Row on SupportFiguresRow { day category { slug } agent { name } opened resolved open waiting
        firstResponseMedianSeconds firstResponseP90Seconds resolutionMedianSeconds resolutionP90Seconds }";

async fn ask(client: &Client, from: &str, to: &str, by: &str) -> Reply {
    client.send(QUERY, json!({ "from": from, "to": to, "by": by })).await
}

/// The rows and the total, each as the subject and the numbers in the order of the query.
async fn figures(client: &Client, from: &str, to: &str, by: &str) -> Vec<(String, Vec<Value>)> {
    let reply = ask(client, from, to, by).await;
    let found = reply.at("/data/supportFigures");
    let rows = found["rows"].as_array().unwrap_or_else(|| panic!("{}", reply.body));
    rows.iter().chain([&found["total"]]).map(row).collect()
}

fn row(row: &Value) -> (String, Vec<Value>) {
    let subjects = [&row["day"], &row["category"]["slug"], &row["agent"]["name"]];
    let subject = subjects.into_iter().find_map(Value::as_str).unwrap_or("-").to_owned();
    let numbers = [
        "opened",
        "resolved",
        "open",
        "waiting",
        "firstResponseMedianSeconds",
        "firstResponseP90Seconds",
        "resolutionMedianSeconds",
        "resolutionP90Seconds",
    ];
    (subject, numbers.map(|number| row[number].clone()).to_vec())
}

fn expected(rows: &[(&str, Value)]) -> Vec<(String, Vec<Value>)> {
    let rows = rows.iter();
    rows.map(|(name, row)| ((*name).to_owned(), row.as_array().unwrap().clone())).collect()
}

/// Moves the clock to a time after its start: noon of 1 January 2026.
fn at(server: &TestServer, now: &mut TimeDelta, days: i64, hours: i64, minutes: i64) {
    let next =
        TimeDelta::days(days - 1) + TimeDelta::hours(hours - 12) + TimeDelta::minutes(minutes);
    server.clock.advance(next - *now);
    *now = next;
}

async fn open(client: &Client, category: &str, summary: &str) -> Ticket {
    let input = json!({ "categoryId": category, "summary": summary, "description": "x" });
    Ticket::read(client.try_create_ticket(input).await.at("/data/createTicket/ticket"))
}

/// Three tickets in three days. Reading the clock moves it, but by less than half a second in all.
async fn history(server: &TestServer) -> Client {
    let (marta, oleg) = (server.agent("Marta").await, server.agent("Oleg").await);
    let (anna, boris) = (server.customer("Anna").await, server.customer("Boris").await);
    let now = &mut TimeDelta::zero();
    // 1 January, 12:00: two tickets.
    let a = anna.create_ticket("A").await;
    let b = open(&anna, SALES, "B").await;
    anna.share(&a, &boris).await;
    // Neither a participant nor a note is a response.
    at(server, now, 1, 12, 30);
    boris.comment(&a, "Me too.").await;
    oleg.note(&b, "Who takes it?").await;
    at(server, now, 1, 13, 0);
    let (_, a) = marta.comment(&a, "We look at it.").await;
    anna.comment(&b, "Hello?").await;
    // 2 January, after midnight in UTC.
    at(server, now, 2, 0, 30);
    let (_, b) = marta.comment(&b, "Hello!").await;
    let a = oleg.update(&a, json!({ "assigneeId": oleg.account_id().await })).await;
    at(server, now, 2, 1, 30);
    marta.update(&a, json!({ "status": "RESOLVED" })).await;
    // 3 January: the first ticket is reopened and resolved again.
    at(server, now, 3, 2, 0);
    let (_, a) = anna.comment(&a, "It is not.").await;
    marta.comment(&a, "Now it is.").await;
    at(server, now, 3, 3, 0);
    marta.update(&a, json!({ "status": "RESOLVED" })).await;
    let b = marta.update(&b, json!({ "assigneeId": marta.account_id().await })).await;
    marta.update(&b, json!({ "status": "WAITING_FOR_CUSTOMER" })).await;
    // A customer closes what nobody has seen.
    at(server, now, 3, 12, 0);
    let c = open(&anna, SALES, "C").await;
    at(server, now, 3, 12, 1);
    anna.update(&c, json!({ "status": "CLOSED" })).await;
    server.quiet().await;
    marta
}

fn assert_days(found: &[(String, Vec<Value>)]) {
    let days = expected(&[
        ("2026-01-01", json!([2, 0, 2, 1, 3_600, 3_600, null, null])),
        ("2026-01-02", json!([0, 0, 1, 0, 45_000, 45_000, null, null])),
        ("2026-01-03", json!([1, 2, 1, 0, null, null, 70_230, 126_366])),
        ("-", json!([3, 2, 1, 0, 24_300, 40_860, 70_230, 126_366])),
    ]);
    assert_eq!(found, days);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_known_history_are_those_computed_by_hand() {
    let server = TestServer::start().await;
    let marta = history(&server).await;
    let (first, second, last) = ("2026-01-01", "2026-01-02", "2026-01-03");
    assert_days(&figures(&marta, first, last, "DAY").await);
    assert_eq!(
        figures(&marta, first, last, "CATEGORY").await,
        expected(&[
            ("technical-support", json!([1, 1, 0, 0, 3_600, 3_600, 140_400, 140_400])),
            ("sales", json!([2, 1, 1, 0, 45_000, 45_000, 60, 60])),
            ("-", json!([3, 2, 1, 0, 24_300, 40_860, 70_230, 126_366])),
        ])
    );
    assert_eq!(
        figures(&marta, first, last, "AGENT").await,
        expected(&[
            ("Marta", json!([1, 0, 1, 0, 24_300, 40_860, null, null])),
            ("Oleg", json!([1, 1, 0, 0, null, null, 140_400, 140_400])),
            ("-", json!([1, 1, 0, 0, null, null, 60, 60])),
            ("-", json!([3, 2, 1, 0, 24_300, 40_860, 70_230, 126_366])),
        ])
    );
    // What happened later changes nothing: the first ticket was resolved then, the second one was
    // unassigned, and before that both were open.
    assert_eq!(
        figures(&marta, first, second, "AGENT").await,
        expected(&[
            ("Marta", json!([0, 0, 0, 0, 24_300, 40_860, null, null])),
            ("Oleg", json!([1, 1, 0, 0, null, null, 48_600, 48_600])),
            ("-", json!([1, 0, 1, 0, null, null, null, null])),
            ("-", json!([2, 1, 1, 0, 24_300, 40_860, 48_600, 48_600])),
        ])
    );
    let one = json!([2, 0, 2, 1, 3_600, 3_600, null, null]);
    assert_eq!(
        figures(&marta, first, first, "DAY").await,
        expected(&[("2026-01-01", one.clone()), ("-", one)])
    );

    // Days without tickets, before and after.
    let nothing = json!([0, 0, 0, 0, null, null, null, null]);
    assert_eq!(
        figures(&marta, "2025-12-30", "2025-12-31", "DAY").await,
        expected(&[
            ("2025-12-30", nothing.clone()),
            ("2025-12-31", nothing.clone()),
            ("-", nothing.clone())
        ])
    );
    for by in ["CATEGORY", "AGENT"] {
        let found = figures(&marta, "2025-12-30", "2025-12-31", by).await;
        assert_eq!(found, expected(&[("-", nothing.clone())]));
    }
    assert_eq!(
        figures(&marta, "2026-06-01", "2026-06-30", "CATEGORY").await,
        expected(&[
            ("sales", json!([0, 0, 1, 0, null, null, null, null])),
            ("-", json!([0, 0, 1, 0, null, null, null, null])),
        ])
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_of_utc_whatever_the_time_zone_of_the_database() {
    let mut server = TestServer::start().await;
    let marta = history(&server).await;
    let database = server.database.connect().await;
    for zone in ["Pacific/Auckland", "America/Los_Angeles"] {
        let set = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), '{zone}'); END $$"
        );
        database.batch_execute(&set).await.unwrap();
        server.restart().await;
        let marta = marta.at(&server.address());
        assert_days(&figures(&marta, "2026-01-01", "2026-01-03", "DAY").await);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_who_has_left_keeps_their_figures_and_no_name_is_a_formula() {
    let server = TestServer::start().await;
    history(&server).await;
    let olga = server.agent("Olga").await;
    let russian = "UPDATE accounts SET locale = 'ru' WHERE name = 'Olga'";
    let gone = "UPDATE accounts SET role = 'customer', disabled_at = now(),
        name = '=HYPERLINK(\"http://evil.example\", 1)' WHERE name = 'Marta'";
    let database = server.database.connect().await;
    for change in [russian, gone] {
        database.execute(change, &[]).await.unwrap();
    }
    let marta =
        ("=HYPERLINK(\"http://evil.example\", 1)", json!([1, 0, 1, 0, 24_300, 40_860, null, null]));
    let found = figures(&olga, "2026-01-01", "2026-01-03", "AGENT").await;
    assert_eq!(found[0], expected(&[marta])[0]);
    let csv = |by: &'static str| {
        let olga = &olga;
        async move {
            let reply = ask(olga, "2026-01-01", "2026-01-03", by).await;
            reply.at("/data/supportFigures/csv").as_str().unwrap().to_owned()
        }
    };
    let header = "opened,resolved,open,waiting,first_response_median_seconds,\
        first_response_p90_seconds,resolution_median_seconds,resolution_p90_seconds\r\n";
    let total = "total,3,2,1,0,24300,40860,70230,126366\r\n";
    assert_eq!(
        csv("AGENT").await,
        format!(
            "agent,{header}\"'=HYPERLINK(\"\"http://evil.example\"\", 1)\",1,0,1,0,24300,40860,,\r\n\
             Oleg,1,1,0,0,,,140400,140400\r\n,1,1,0,0,,,60,60\r\n{total}"
        )
    );
    assert_eq!(
        csv("CATEGORY").await,
        format!(
            "category,{header}Техническая поддержка,1,1,0,0,3600,3600,140400,140400\r\n\
             Отдел продаж,2,1,1,0,45000,45000,60,60\r\n{total}"
        )
    );
    assert!(
        csv("DAY").await.starts_with(&format!("day,{header}2026-01-01,2,0,2,1,3600,3600,,\r\n"))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_staff_see_figures_and_only_of_a_year_at_most() {
    let server = TestServer::start().await;
    for (client, code) in [
        (server.anonymous(), "UNAUTHENTICATED"),
        (server.customer("Anna").await, "FORBIDDEN"),
        (server.machine(&Scope::ALL).await, "FORBIDDEN"),
    ] {
        assert_eq!(ask(&client, "2026-01-01", "2026-01-01", "DAY").await.code(), code);
    }
    let marta = server.agent("Marta").await;
    for (from, to, part) in [
        ("2026-01-02", "2026-01-01", "The period ends before it begins."),
        ("2025-01-01", "2026-01-02", "The period has 367 days, but at most 366 are allowed."),
        ("0000-01-01", "9999-12-31", "at most 366"),
        ("2026-02-30", "2026-03-01", "like 2026-01-31"),
        ("tomorrow", "2026-03-01", "like 2026-01-31"),
    ] {
        let reply = ask(&marta, from, to, "DAY").await;
        assert_eq!(reply.code(), "BAD_REQUEST", "{}", reply.body);
        let message = reply.at("/errors/0/message").as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    for (from, to, days) in [
        ("2024-01-01", "2024-12-31", 366),
        ("0000-01-01", "0000-01-01", 1),
        ("9999-12-31", "9999-12-31", 1),
    ] {
        assert_eq!(figures(&marta, from, to, "DAY").await.len(), days + 1);
    }
    server.stop().await;
}

/// 20,000 tickets with three events each in two weeks, in the order in which they happen. One of fifty
/// is open.
const FILL: &str = "
    INSERT INTO tickets (id, number, category_id, reporter_id, summary, description, status, priority,
                         event_seq, any_seq, public_seq, created_at, updated_at, resolved_at)
    SELECT gen_random_uuid(), 900000 + n, c.id, a.id, 'x', repeat('-', 500),
           CASE WHEN n % 50 = 0 THEN 'working_on_it' ELSE 'closed' END::ticket_status, 'medium', 3, 3, 3,
           timestamptz '2026-01-01' + n * interval '1 minute', timestamptz '2026-01-01' + n * interval '1 minute', NULL
    FROM generate_series(1, 20000) n, (SELECT id FROM categories LIMIT 1) c,
         (SELECT id FROM accounts WHERE name = 'Anna') a;
    INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, occurred_at, category_id, status, priority)
    SELECT t.id, s, (ARRAY['ticket_created', 'comment_added', 'status_changed'])[s], 'participants',
           CASE WHEN s = 1 THEN t.reporter_id ELSE (SELECT id FROM accounts WHERE name = 'Marta') END,
           CASE WHEN s < 3 THEN '{}' WHEN t.status = 'closed' THEN '{\"from\": \"waiting_for_support\", \"to\": \"closed\"}'
                ELSE '{\"from\": \"waiting_for_support\", \"to\": \"working_on_it\"}' END::jsonb,
           t.created_at + s * interval '10 seconds', t.category_id,
           CASE WHEN s < 3 THEN 'waiting_for_support' ELSE t.status END, 'medium'
    FROM tickets t, generate_series(1, 3) s ORDER BY t.number, s;
";

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_day_are_read_by_one_statement_that_reads_that_days_part_of_the_log() {
    let server = TestServer::start_explained("force_custom_plan").await;
    let (marta, _anna) = (server.agent("Marta").await, server.customer("Anna").await);
    let database = server.database.connect().await;
    database.batch_execute(FILL).await.unwrap();
    database.batch_execute("VACUUM ANALYZE").await.unwrap();
    // 1,440 tickets, of which 29 were left open that day, and 230 before.
    let day = json!([1_440, 1_411, 259, 0, 10, 10, 20, 20]);
    for (by, subject) in [("DAY", "2026-01-09"), ("AGENT", "-"), ("CATEGORY", "technical-support")]
    {
        let mut found = Vec::new();
        let plans = server
            .plans_of(async || found = figures(&marta, "2026-01-09", "2026-01-09", by).await)
            .await;
        if by == "AGENT" {
            assert_eq!(found.last(), expected(&[("-", day.clone())]).last());
        } else {
            assert_eq!(found, expected(&[(subject, day.clone()), ("-", day.clone())]));
        }
        let plans = plans.iter().filter(|plan| plan.contains("percentile_cont"));
        let plans = plans.collect::<Vec<_>>();
        assert_eq!(plans.len(), 1, "{by}");
        assert!(plans[0].contains("events_occurred"), "{}", plans[0]);
        for table in ["events", "tickets"] {
            assert!(!plans[0].contains(&format!("Seq Scan on {table}")), "{}", plans[0]);
        }
    }
    // A day long ago: what happened since is read from the index of tickets that left the queue.
    let mut found = Vec::new();
    let ask = async || found = figures(&marta, "2026-01-02", "2026-01-02", "DAY").await;
    let plans = server.plans_of(ask).await;
    assert_eq!(found[1].1[..4], [json!(1_440), json!(1_411), json!(57), json!(0)]);
    let plan = plans.iter().find(|plan| plan.contains("percentile_cont")).unwrap();
    assert!(plan.contains("events_left_open"), "{plan}");
    server.stop().await;
}
