//! Query plans: on large tables no list, search or stream scans a whole growing table, and pages of
//! few tickets read few rows.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use ticketwire::domain::cursor::Cursor;

use crate::harness::{
    TestServer,
    client::{SALES, TECHNICAL_SUPPORT},
};

/// The tables that grow with use.
const GROWING: [&str; 10] = [
    "accounts",
    "tickets",
    "queue_entries",
    "comments",
    "events",
    "feed",
    "notifications",
    "search_documents",
    "ticket_reads",
    "deliveries",
];

/// The number of tickets and of customers. `TEST_TICKETS` changes it.
const TICKETS: &str = "20000";

/// The id of a category and the name of an agent that few tickets have.
const RARE: &str = "0199a000-0000-7000-8000-0000000000aa";
/// A page of few tickets reads at most one ticket in fifteen. One in sixty is waiting, and one in
/// sixteen is assigned to Marta.
const READ_PART: u64 = 15;

/// Half of those that wait have waited since this time.
const LONG_AGO: &str = "2026-01-01T00:00:00.96Z";

/// Three texts and two events for each ticket: by default 60,000 and 40,000. Of the newest eight
/// in a hundred tickets, four in five are not closed.
const FILL: &str = "
    INSERT INTO accounts (id, email, name, role, locale, created_at)
    SELECT gen_random_uuid(), 'e' || md5('e' || n) || '@example.com', initcap(left(md5('a' || n), 8) || ' ' || left(md5('b' || n), 8)), 'customer', 'en', '2026-01-01'
    FROM generate_series(1, 20000) n;
    INSERT INTO accounts (id, email, name, role, locale, created_at)
    VALUES (gen_random_uuid(), 'nora@example.com', 'Nora', 'agent', 'en', '2026-01-01');
    INSERT INTO accounts (id, email, name, role, locale, created_at)
    VALUES ('RARE', 'rare@example.com', 'Rare', 'agent', 'en', '2026-01-01');
    INSERT INTO categories (id, slug, name_en, name_ru, position) VALUES ('RARE', 'rare', 'Rare', 'Rare', 4);
    CREATE TEMPORARY TABLE people AS
    SELECT id, row_number() OVER () - 1 AS n FROM accounts WHERE role = 'customer';
    CREATE TEMPORARY TABLE places AS
    SELECT id, row_number() OVER (ORDER BY position) - 1 AS n FROM categories;
    INSERT INTO tickets (id, number, category_id, reporter_id, assignee_id, summary, description, status, priority,
                         event_seq, any_seq, public_seq, created_at, updated_at, waiting_since, resolved_at, follow_up_to_id)
    SELECT lpad(to_hex(i.n), 32, '0')::uuid, 900000 + i.n, (SELECT id FROM places WHERE places.n = CASE WHEN i.n % 1000 = 7 THEN 3 ELSE i.n % 3 END),
           CASE WHEN i.n % 20 = 0 THEN (SELECT id FROM accounts WHERE name = 'Anna') ELSE people.id END,
           CASE WHEN i.n % 1000 = 9 THEN 'RARE'
                WHEN i.n % 16 = 0 THEN (SELECT id FROM accounts WHERE name = 'Marta')
                WHEN i.n % 4 = 0 THEN (SELECT id FROM accounts WHERE name = 'Nora') END,
           'Summary' || i.n || ' of word' || i.n % 500, 'Description with term' || i.n % 700 || repeat('-', 900),
           (enum_range(NULL::ticket_status))[CASE WHEN i.n::bigint * 100 > 20000 * 92 THEN 1 + i.n % 5 ELSE 5 END], (enum_range(NULL::ticket_priority))[1 + i.n / 50 % 5], 2, 2, 2,
           timestamptz '2026-01-01' + i.n * interval '1 minute', timestamptz '2026-02-01' + i.n::bigint * 7919 % 20000 * interval '1 minute',
           CASE WHEN i.n::bigint * 100 > 20000 * 92 AND i.n % 5 = 0 THEN timestamptz '2026-01-01' + i.n * interval '1 second' / 20000 END,
           CASE WHEN i.n::bigint * 100 > 20000 * 92 AND i.n % 5 = 3 THEN timestamptz '2025-12-30' + i.n * interval '1 second' / 20000 END,
           CASE WHEN i.n % 50 = 0 THEN (SELECT id FROM tickets WHERE number < 900000 LIMIT 1) END
    FROM generate_series(1, 20000) i (n) JOIN people ON people.n = i.n % 20000 ORDER BY i.n;
    INSERT INTO ticket_reads (account_id, ticket_id, seq)
    SELECT a.id, t.id, 2 FROM tickets t JOIN accounts a ON a.id IN (t.reporter_id, t.assignee_id)
    WHERE t.number % 3 > 0;
    INSERT INTO comments (id, ticket_id, author_id, visibility, body, created_at)
    SELECT gen_random_uuid(), id, reporter_id, (enum_range(NULL::comment_visibility))[1 + (number % 4 = 0)::int],
           'Comment with item' || number % 600, created_at FROM tickets;
    INSERT INTO events (ticket_id, seq, kind, audience, actor_id, data, occurred_at, category_id, status, priority)
    SELECT t.id, s, CASE s WHEN 1 THEN 'ticket_created' ELSE 'summary_changed' END, 'participants', reporter_id, '{}',
           t.created_at, category_id, status, priority
    FROM tickets t, generate_series(1, 2) s WHERE t.number > 900000 ORDER BY t.number, s;
    INSERT INTO feed (pos, event_id, ticket_id)
    SELECT (SELECT pos FROM feed_head) + row_number() OVER (ORDER BY e.id), e.id, e.ticket_id
    FROM events e LEFT JOIN feed f ON f.event_id = e.id WHERE f.pos IS NULL;
    UPDATE feed_head SET pos = (SELECT max(pos) FROM feed);
    UPDATE consumer_offsets SET pos = (SELECT pos FROM feed_head);
    INSERT INTO notifications (id, account_id, event_id, ticket_id, kind, pos, created_at, read_at)
    SELECT gen_random_uuid(), t.reporter_id, f.event_id, t.id, 'status_changed', f.pos, t.created_at,
           CASE WHEN t.number % 3 = 0 THEN t.created_at END
    FROM feed f JOIN tickets t ON t.id = f.ticket_id;
    INSERT INTO deliveries (id, address, account_id, ticket_id, locale, state, due_at, created_at, finished_at)
    SELECT gen_random_uuid(), 'person@example.com', reporter_id, id, 'en', 'sent', created_at, created_at, created_at
    FROM tickets;
";

#[tokio::test(flavor = "multi_thread")]
async fn no_query_scans_a_whole_growing_table() {
    assert_no_whole_scans("force_custom_plan").await;
}

/// A generic plan is one that Postgres uses for a prepared statement with any values.
#[tokio::test(flavor = "multi_thread")]
async fn no_query_with_a_generic_plan_scans_a_whole_growing_table() {
    assert_no_whole_scans("force_generic_plan").await;
}

async fn assert_no_whole_scans(plan_cache_mode: &str) {
    let mut server = TestServer::start_explained(plan_cache_mode).await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let (anna_id, marta_id) = (anna.account_id().await, marta.account_id().await);
    let ticket = anna.create_ticket("one").await;
    server.quiet().await;
    let start = anna.ok("{ eventCursor }", json!({})).await["eventCursor"].clone();
    let start = Cursor::decode(start.as_str().unwrap()).unwrap();
    let database = server.database.connect().await;
    let tickets = std::env::var("TEST_TICKETS").unwrap_or_else(|_| TICKETS.to_owned());
    let fill = FILL.replace(TICKETS, &tickets).replace("RARE", RARE);
    database.batch_execute(&fill).await.unwrap();
    let head = database.query_one("SELECT pos FROM feed_head", &[]).await.unwrap();
    // The cursor of somebody who returns after a while.
    let start = Cursor { pos: head.get::<_, i64>(0) - 200, ..start }.encode();
    // A new server has nothing in memory, so replays read the database.
    server.restart_with(&[("limits.search_seconds", "30".to_owned())]).await;
    let (anna, marta) = (anna.at(&server.address()), marta.at(&server.address()));
    database.batch_execute("VACUUM ANALYZE").await.unwrap();
    // Concurrent transactions prevent VACUUM from marking rows as visible to all.
    let unsettled = "SELECT relallvisible < relpages FROM pg_class WHERE relname = 'tickets'";
    while database.query_one(unsettled, &[]).await.unwrap().get::<_, bool>(0) {
        database.batch_execute("VACUUM tickets").await.unwrap();
    }

    let list =
        "query($filter: TicketFilterInput, $order: TicketOrder, $after: String, $last: Int) {
        tickets(filter: $filter, orderBy: $order, after: $after, last: $last) {
            nodes { id reporter { name } } pageInfo { startCursor endCursor } } }";
    let filters = [
        json!({}),
        json!({ "status": ["WAITING_FOR_SUPPORT", "WORKING_ON_IT"] }),
        json!({ "priority": ["HIGHEST"] }),
        json!({ "categoryIds": [SALES] }),
        json!({ "categoryIds": [SALES], "status": ["WAITING_FOR_SUPPORT"] }),
        json!({ "assigneeId": marta_id }),
        json!({ "assigneeId": null }),
        json!({ "reporterId": anna_id }),
        json!({ "waitingSince": LONG_AGO }),
        json!({ "text": "word77" }),
        json!({ "text": "term77", "status": ["WAITING_FOR_SUPPORT"] }),
    ];
    let mut requests = Vec::<(String, Value, bool)>::new();
    let mut orders = Vec::new();
    for field in ["CREATED_AT", "UPDATED_AT", "PRIORITY", "WAITING_SINCE"] {
        for direction in ["ASC", "DESC"] {
            let order = json!({ "field": field, "direction": direction });
            orders.push(order.clone());
            for (client, staff) in [(&marta, true), (&anna, false)] {
                requests.push((list.into(), json!({ "order": order }), staff));
                // The next page too.
                let page = client.ok(list, json!({ "order": order })).await;
                let after = &page["tickets"]["pageInfo"]["endCursor"];
                requests.push((list.into(), json!({ "order": order, "after": after }), staff));
            }
        }
        let usual = if field == "WAITING_SINCE" { "ASC" } else { "DESC" };
        for filter in &filters {
            let order = json!({ "field": field, "direction": usual });
            requests.push((list.into(), json!({ "filter": filter, "order": order }), true));
        }
    }
    let worded = json!({ "filter": { "text": "word77" } });
    requests.push((list.into(), worded, false));
    let counts = "query($filter: TicketFilterInput) { ticketCounts(filter: $filter) { total } }";
    for filter in &filters {
        requests.push((counts.into(), json!({ "filter": filter }), true));
    }
    // One statement counts the tickets of all views.
    let save = "mutation($filter: TicketFilterInput!) {
        createSavedView(input: { name: \"view\", filter: $filter }) { userErrors { message } } }";
    let own =
        [json!({ "isAssignedToMe": true, "isUnread": true }), json!({ "isAssignedToMe": false })];
    for filter in filters.iter().chain(&own) {
        let saved = marta.ok(save, json!({ "filter": filter })).await;
        assert_eq!(saved["createSavedView"]["userErrors"], json!([]), "{filter}");
    }
    requests.push(("{ savedViews { ticketCount } }".into(), Value::Null, true));
    for group in ["CATEGORY", "AGENT", "DAY"] {
        let figures = format!(
            "{{ supportFigures(from: \"2026-01-03\", to: \"2026-01-03\", groupBy: {group}) {{ csv }} }}"
        );
        requests.push((figures, Value::Null, true));
    }
    let search = "query($text: String!) { search(text: $text) { nodes { ticket { id } excerpt { text } comment { id } } } }";
    let people = "query($text: String!) { people(text: $text) { id } }";
    for text in ["word77", "item77 term", "Sumary19", "900077", "\"of word77\" -term3", "wo"] {
        requests.push((search.into(), json!({ "text": text }), true));
        requests.push((search.into(), json!({ "text": text }), false));
    }
    for text in ["9f14025a", "e9f140", "3fa c81", "ab", "anna@example.com"] {
        requests.push((people.into(), json!({ "text": text }), true));
    }
    let page = "query($id: ID!) { node(id: $id) { ... on Ticket { timeline { nodes { id actor { name } } } deliveries { id } } } }";
    requests.push((page.replace("deliveries { id }", ""), json!({ "id": ticket.id }), false));
    requests.push((page.into(), json!({ "id": ticket.id }), true));
    let notifications =
        "{ viewer { unreadNotificationCount notifications { nodes { id event { id } } }
        unread: notifications(unreadOnly: true) { nodes { id } } } }";
    requests.push((notifications.into(), Value::Null, false));

    let counts = "{ viewer { openTicketCount unreadTicketCount } }";
    let unread = "query($filter: TicketFilterInput) {
        tickets(filter: $filter) { nodes { isUnread followUpTo { id } followUps { id } } } }";
    let assigned = json!({ "isUnread": true, "assigneeId": marta_id });
    requests.push((unread.into(), json!({ "filter": assigned }), true));
    requests.push((unread.into(), json!({ "filter": { "isUnread": true } }), false));
    let follow_ups = "query($id: ID!) { node(id: $id) { ... on Ticket { followUps { id } } } }";
    let read =
        "mutation($id: ID!) { markTicketRead(input: { ticketId: $id }) { unreadTicketCount } }";
    for staff in [true, false] {
        requests.push((counts.into(), Value::Null, staff));
        requests.push((follow_ups.into(), json!({ "id": ticket.id }), staff));
        requests.push((read.into(), json!({ "id": ticket.id }), staff));
    }

    let (mut seen, mut scans) = (0, Vec::new());
    for (query, variables, staff) in requests {
        let client = if staff { &marta } else { &anna };
        let plans =
            server.plans_of(async || drop(client.ok(&query, variables.clone()).await)).await;
        assert!(!plans.is_empty(), "{query} {variables}");
        seen += plans.len();
        // Postgres takes a generic plan only if it costs less than the others: of one that is forced,
        // what was not executed says nothing.
        let plans = if plan_cache_mode == "force_generic_plan" { executed(&plans) } else { plans };
        scans.extend(whole_scans(&plans, &format!("{query} {variables}")));
        // A customer's search must not use an index of everybody's texts: it would take longer the
        // more others write.
        let foreign = |plan: &&String| {
            ["search_documents_words", "search_documents_summary"]
                .iter()
                .any(|index| plan.contains(index))
        };
        if !staff {
            scans.extend(plans.iter().filter(foreign).cloned());
        }
    }
    assert!(seen > 150, "only {seen} plans were looked at");

    let most = tickets.parse::<u64>().unwrap() / READ_PART;
    // A generic plan cannot know which values are rare.
    let orders = if plan_cache_mode == "force_custom_plan" { orders } else { vec![] };
    let rare = |kind: &str| BASE64_URL_SAFE_NO_PAD.encode(format!("{kind}:{RARE}"));
    let few = [
        json!({}),
        json!({ "status": ["WAITING_FOR_SUPPORT"] }),
        json!({ "status": ["WORKING_ON_IT"] }),
        json!({ "status": ["WORKING_ON_IT", "WAITING_FOR_CUSTOMER"], "assigneeId": marta_id }),
        json!({ "status": ["WAITING_FOR_SUPPORT", "CLOSED"], "waitingSince": LONG_AGO }),
        json!({ "categoryIds": [rare("Category")] }),
        json!({ "assigneeId": rare("Account") }),
    ];
    let many = [
        json!({ "categoryIds": [SALES] }),
        json!({ "status": ["CLOSED"] }),
        json!({ "assigneeId": null }),
    ];
    let mut pages = Vec::new();
    for order in &orders {
        for filter in few.iter().chain(&many) {
            pages.push(json!({ "filter": filter, "order": order }));
        }
        for filter in &many {
            let last = json!({ "filter": filter, "order": order, "last": 50 });
            let start = &marta.ok(list, last).await["tickets"]["pageInfo"]["startCursor"];
            pages.push(json!({ "filter": filter, "order": order, "after": start }));
        }
    }
    for page in pages {
        let plans = server.plans_of(async || drop(marta.ok(list, page.clone()).await)).await;
        let lists = plans.iter().filter(|plan| plan.contains("\"tickets\""));
        let read = lists.map(|plan| rows_read(plan)).max();
        let read = read.expect("a list");
        assert!(read > 0, "no rows were counted: {page}");
        if read > most {
            scans.push(format!("{read} rows: {page}\n{}", plans.join("\n")));
        }
    }

    // The open queue is merged from sorted index ranges, whatever its length.
    let open = json!({ "status": ["WAITING_FOR_SUPPORT", "WORKING_ON_IT"], "categoryIds": [SALES, TECHNICAL_SUPPORT] });
    let open = json!({ "filter": open, "order": { "field": "UPDATED_AT" } });
    let plans = server.plans_of(async || drop(marta.ok(list, open.clone()).await)).await;
    let merged = plans.iter().find(|plan| plan.contains("Merge Append")).expect("a merged list");
    assert_eq!(
        merged.matches("using queue_entries_category_status_updated").count(),
        4,
        "{merged}"
    );
    assert!(!merged.contains("Sort  "), "{merged}");

    let closing = server.plans_of(async || assert!(server.close_resolved(1).await > 0)).await;
    scans.extend(whole_scans(&closing, "closing"));

    for (client, stream) in [
        (&anna, format!("ticketEvents(ticketId: \"{}\", after: $after)", ticket.id)),
        (&anna, "inboxEvents(after: $after)".to_owned()),
        (
            &marta,
            "queueEvents(filter: { status: [CLOSED], priority: [LOWEST] }, after: $after)"
                .to_owned(),
        ),
    ] {
        let query = format!(
            "subscription($after: String) {{ {stream} {{ __typename ... on Checkpoint {{ cursor }} }} }}"
        );
        let plans = server.plans_of(async || {
            let mut socket = client.socket().await;
            socket.subscribe("1", &query, json!({ "after": start })).await;
            while socket.item().await["__typename"] != "Checkpoint" {}
        });
        let plans = plans.await;
        assert!(!plans.is_empty(), "{query}");
        scans.extend(whole_scans(&plans, &query));
    }
    assert!(scans.is_empty(), "{}", scans.join("\n"));
    server.stop().await;
}

/// Returns plans without the parts that were not executed.
fn executed(plans: &[String]) -> Vec<String> {
    let lines = |plan: &String| {
        let lines = plan.lines().filter(|line| !line.contains("(never executed)"));
        lines.collect::<Vec<_>>().join("\n")
    };
    plans.iter().map(lines).collect()
}

/// Returns the plans that scan a whole growing table, each after the request that caused it. Counts may
/// scan the entries of the queue, which are narrow.
fn whole_scans(plans: &[String], what: &str) -> Vec<String> {
    let counts =
        ["ticketCounts", "savedViews", "supportFigures"].iter().any(|it| what.contains(it));
    let is_scan = |plan: &&String| {
        let scanned = plan.split("Seq Scan on ").skip(1).filter_map(|rest| rest.split(' ').next());
        let counted = |table| counts && table == "queue_entries";
        scanned.into_iter().any(|table| GROWING.contains(&table) && !counted(table))
    };
    plans.iter().filter(is_scan).map(|plan| format!("{what}\n{plan}")).collect()
}

/// Returns how many rows the largest step of a plan read, with those that its conditions removed.
fn rows_read(plan: &str) -> u64 {
    let number = |text: &str, name: &str| {
        let digits = text.split_once(name)?.1;
        digits[..digits.find(|it: char| !it.is_ascii_digit())?].parse::<u64>().ok()
    };
    let steps = plan.split("->  ").filter_map(|step| Some(step.split_once("(actual ")?.1));
    let read = steps.map(|step| {
        let count = |name: &str| number(step, name).unwrap_or_default();
        let removed = ["Filter", "Join Filter", "Index Recheck"];
        let removed = removed.map(|by| count(&format!("Rows Removed by {by}: ")));
        // The numbers are averages of all loops, rounded down.
        (count("rows=") + removed.iter().sum::<u64>()).max(1) * count("loops=")
    });
    read.max().unwrap_or_default()
}
