//! Full-text search for tickets.

use serde_json::{Value, json};

use crate::harness::{Client, TestServer, client::TECHNICAL_SUPPORT, postgres::TestDatabase};

const SEARCH: &str = "query($text: String!, $first: Int, $after: String) { search(text: $text, first: $first, after: $after) {
    nodes { ticket { summary } summary { text isMatch } excerpt { text isMatch } comment { body } }
    pageInfo { hasNextPage endCursor } } }";

/// The summaries of the tickets that a search finds, best first.
async fn found(client: &Client, text: &str) -> Vec<String> {
    let data = client.ok(SEARCH, json!({ "text": text })).await;
    let nodes = data["search"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["ticket"]["summary"].as_str().unwrap().to_owned()).collect()
}

/// The summaries of the tickets in a list filtered by text, sorted.
async fn listed(client: &Client, text: &str) -> Vec<String> {
    let query = "query($text: String!) { tickets(filter: { text: $text }) { nodes { summary } } }";
    let data = client.ok(query, json!({ "text": text })).await;
    let nodes = data["tickets"]["nodes"].as_array().unwrap();
    let mut summaries =
        nodes.iter().map(|node| node["summary"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    summaries.sort();
    summaries
}

async fn open(client: &Client, summary: &str, description: &str) -> crate::harness::client::Ticket {
    let input =
        json!({ "categoryId": TECHNICAL_SUPPORT, "summary": summary, "description": description });
    let reply = client.try_create_ticket(input).await;
    crate::harness::client::Ticket::read(reply.at("/data/createTicket/ticket"))
}

/// Fragments as text, with matches in brackets.
fn marked(fragments: &Value) -> String {
    let part = |part: &Value| {
        let text = part["text"].as_str().unwrap();
        if part["isMatch"] == true { format!("[{text}]") } else { text.to_owned() }
    };
    fragments.as_array().unwrap().iter().map(part).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_are_found_by_inflected_words_exact_names_and_despite_typos() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    open(&anna, "Certificates expired", "On web3.example.com since 2026.").await;
    open(&anna, "Не работает почта", "Серверы не принимают письма с anna@demo.example").await;
    let third =
        open(&anna, "Firewall", "Please open 192.0.2.10:8443 for /var/log/app, see CS-234567.")
            .await;
    open(&anna, "Invoices", "Two invoices were charged twice, the card is fine.").await;
    server.quiet().await;
    for (text, expected) in [
        ("certificate", "Certificates expired"),
        ("EXPIRING certificates", "Certificates expired"),
        ("web3.example.com", "Certificates expired"),
        ("сервер", "Не работает почта"),
        ("ПОЧТОЙ", "Не работает почта"),
        ("anna@demo.example", "Не работает почта"),
        ("192.0.2.10", "Firewall"),
        ("/var/log/app", "Firewall"),
        ("cs-234567", "Firewall"),
        (&third.number, "Firewall"),
        (&third.number[3..], "Firewall"),
        // The last word may be incomplete.
        ("certi", "Certificates expired"),
        ("charged tw", "Invoices"),
        ("поч", "Не работает почта"),
        // Phrases, alternatives, excluded words.
        ("\"charged twice\"", "Invoices"),
        ("nonsense or invoice", "Invoices"),
        ("nonsense or invoi", "Invoices"),
        ("please -card", "Firewall"),
        // One or two wrong letters, in summaries.
        ("certifcates", "Certificates expired"),
        ("Firewal", "Firewall"),
        ("the certifcate expierd", "Certificates expired"),
        ("почтта", "Не работает почта"),
    ] {
        assert_eq!(found(&anna, text).await, [expected], "{text}");
        assert_eq!(found(&marta, text).await, [expected], "{text}");
        assert_eq!(listed(&anna, text).await, [expected], "{text}");
    }
    for text in [
        "\"twice charged\"",
        "invoice firewall",
        "card -twice",
        "certifcate firewal",
        "CS-999999",
        "xylophone",
    ] {
        assert_eq!(found(&anna, text).await, [] as [&str; 0], "{text}");
        assert_eq!(listed(&anna, text).await, [] as [&str; 0], "{text}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_results_are_ranked_and_show_where_the_text_matches() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let commented = open(&anna, "Something else", "Slow.").await;
    marta.comment(&commented, "The <b>backup</b> is running, & nothing is lost.").await;
    open(&anna, "Slow", "The backup takes all night.").await;
    open(&anna, "Backup failed", "See above.").await;
    open(&anna, "Backpu plans", "Which?").await;
    server.quiet().await;
    assert_eq!(
        found(&anna, "backup").await,
        ["Backup failed", "Slow", "Something else", "Backpu plans"]
    );
    let data = anna.ok(SEARCH, json!({ "text": "backups" })).await;
    let nodes = &data["search"]["nodes"];
    assert_eq!(marked(&nodes[0]["summary"]), "[Backup] failed");
    assert_eq!(marked(&nodes[1]["excerpt"]), "[backup] takes all night");
    assert_eq!(nodes[1]["comment"], Value::Null);
    let body = nodes[2]["comment"]["body"].as_str().unwrap();
    assert_eq!(body, "The <b>backup</b> is running, & nothing is lost.");
    assert!(marked(&nodes[2]["excerpt"]).contains("[backup]"), "{nodes}");
    // A match by number comes first, without highlights.
    let by_number = found(&anna, &commented.number).await;
    assert_eq!(by_number[0], "Something else");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_search_results_join_without_a_gap() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    for n in 0..9 {
        let ticket = open(&anna, &format!("t{n}"), &"disk ".repeat(n % 3 + 1)).await;
        marta.comment(&ticket, "The disk is being replaced.").await;
    }
    server.quiet().await;
    let all = found(&anna, "disk").await;
    assert_eq!(all, ["t8", "t5", "t2", "t7", "t4", "t1", "t6", "t3", "t0"]);
    let (mut pages, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = anna.ok(SEARCH, json!({ "text": "disk", "first": 2, "after": after })).await;
        let page = data["search"]["nodes"].as_array().unwrap();
        pages
            .extend(page.iter().map(|node| node["ticket"]["summary"].as_str().unwrap().to_owned()));
        after = data["search"]["pageInfo"]["endCursor"].clone();
        if data["search"]["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(pages, all);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_finds_only_what_the_caller_may_read() {
    let server = TestServer::start().await;
    let (anna, jonas, marta) = (
        server.customer("Anna").await,
        server.customer("Jonas").await,
        server.agent("Marta").await,
    );
    let ticket = open(&anna, "Card payment", "It was refused.").await;
    server.quiet().await;
    let seen = anna.ok(SEARCH, json!({ "text": "card" })).await;
    marta.note(&ticket, "The card is a fraudulent card: card, card, card.").await;
    server.quiet().await;
    for text in ["fraud", "fraudulent", "card fraudulent", "fraudulet", "fraudulent or nonsense"] {
        assert_eq!(found(&anna, text).await, [] as [&str; 0], "{text}");
        assert_eq!(listed(&anna, text).await, [] as [&str; 0], "{text}");
    }
    // Rank, excerpt and cursor do not reveal the note.
    assert_eq!(anna.ok(SEARCH, json!({ "text": "card" })).await, seen);
    assert_eq!(found(&anna, "payment -fraudulent").await, ["Card payment"]);
    assert_eq!(found(&marta, "fraudulent").await, ["Card payment"]);
    assert_eq!(listed(&marta, "fraudulent").await, ["Card payment"]);
    for text in ["card", "refused", "Card paymnt", &ticket.number] {
        assert_eq!(found(&anna, text).await, ["Card payment"], "{text}");
        assert_eq!(found(&jonas, text).await, [] as [&str; 0], "{text}");
        assert_eq!(listed(&jonas, text).await, [] as [&str; 0], "{text}");
    }
    assert_eq!(
        server.anonymous().send(SEARCH, json!({ "text": "card" })).await.code(),
        "UNAUTHENTICATED"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_finds_a_ticket_until_they_are_removed() {
    let server = TestServer::start().await;
    let (anna, jonas, marta) = (
        server.customer("Anna").await,
        server.customer("Jonas").await,
        server.agent("Marta").await,
    );
    let ticket = open(&anna, "Card payment", "It was refused.").await;
    marta.note(&ticket, "A fraudulent card.").await;
    server.quiet().await;
    let jonas_id = jonas.account_id().await;
    let change = async |document: &str, input: Value| {
        anna.ok(document, json!({ "input": input })).await;
    };
    anna.share(&ticket, &jonas).await;
    for text in ["refused", "Card paymnt", &ticket.number] {
        assert_eq!(found(&jonas, text).await, ["Card payment"], "{text}");
        assert_eq!(listed(&jonas, text).await, ["Card payment"], "{text}");
    }
    assert_eq!(found(&jonas, "fraudulent").await, [] as [&str; 0]);
    let remove = "mutation($input: RemoveParticipantInput!) { removeParticipant(input: $input) { userErrors { code } } }";
    change(remove, json!({ "ticketId": ticket.id, "accountId": jonas_id })).await;
    assert_eq!(found(&jonas, "refused").await, [] as [&str; 0]);
    assert_eq!(listed(&jonas, "refused").await, [] as [&str; 0]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_index_follows_changes_of_the_text() {
    let mut server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = open(&anna, "Printer", "It smokes.").await;
    marta.update(&ticket, json!({ "summary": "Scanner" })).await;
    assert_eq!(found(&anna, "printer").await, [] as [&str; 0]);
    assert_eq!(found(&anna, "scaner").await, ["Scanner"]);
    marta.comment(&ticket, "Dust is normal.").await;
    server.quiet().await;
    assert_eq!(found(&anna, "normal").await, ["Scanner"]);
    let database = server.database.connect().await;
    database.batch_execute("DELETE FROM comments").await.unwrap();
    assert_eq!(found(&anna, "normal").await, [] as [&str; 0]);
    // The migration indexes existing texts the same way.
    marta.comment(&ticket, "Smoke is normal.").await;
    marta.note(&ticket, "Is it?").await;
    server.quiet().await;
    let documents = "SELECT string_agg(d::text, E'\\n' ORDER BY id) FROM search_documents d";
    let written = database.query_one(documents, &[]).await.unwrap().get::<_, String>(0);
    server.migrate_again(super::queue::MIGRATION).await;
    let found_again = database.query_one(documents, &[]).await.unwrap().get::<_, String>(0);
    assert_eq!(found_again, written);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_changed_text_is_indexed_again() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let ticket = open(&anna, "Printer", "It smokes.").await;
    let database = server.database.connect().await;
    let document = async || {
        let written = "SELECT ctid::text FROM search_documents WHERE summary IS NOT NULL";
        database.query_one(written, &[]).await.unwrap().get::<_, String>(0)
    };
    server.quiet().await;
    let first = document().await;
    marta.comment(&ticket, "Dust is normal.").await;
    server.quiet().await;
    marta.update(&ticket, json!({ "priority": "HIGH", "summary": "Printer" })).await;
    assert_eq!(document().await, first);
    marta.update(&ticket, json!({ "summary": "Scanner" })).await;
    assert_ne!(document().await, first);
    assert_eq!(found(&anna, "scanner").await, ["Scanner"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_search_texts_are_refused_or_find_nothing() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    open(&anna, "The one and only", "It is what it is").await;
    server.quiet().await;
    let list = "query($text: String!) { tickets(filter: { text: $text }) { nodes { id } } }";
    let counts = "query($text: String!) { ticketCounts(filter: { text: $text }) { total } }";
    for text in ["", " \t", "a\0b", "a\u{202e}b", &"a".repeat(256), &"почта ".repeat(1_000)] {
        for document in [SEARCH, list, counts] {
            let reply = marta.send(document, json!({ "text": text })).await;
            assert_eq!(reply.code(), "BAD_REQUEST", "{text:.40}: {}", reply.body);
        }
    }
    for text in [
        "the and of",
        "it is what it is",
        "и в не",
        "-only",
        "-only -one",
        "& | !",
        "!!!",
        "'",
        "\"",
        "\"\"",
        ":*",
        "a & | !",
        "'a':*",
        "!a",
        "<->",
        "()",
        "\\",
        "\\'",
        "%",
        "_",
        "👩‍💻",
        "-",
        "- -",
        "or",
        "OR or",
        "\u{ad}",
        "-\"",
        "a:*b",
        "zz' || 'zz",
        "²³",
        "𝔘𝔫𝔦",
        "ﷺ",
    ] {
        assert_eq!(found(&anna, text).await, [] as [&str; 0], "{text}");
        assert_eq!(listed(&anna, text).await, [] as [&str; 0], "{text}");
        assert_eq!(found(&marta, text).await, [] as [&str; 0], "{text}");
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..60 {
        let text = (0..30).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let odd =
                ['"', '\'', '&', '|', '!', '(', ')', ':', '*', '<', '-', '\\', ' ', 'a', 'я', '%'];
            odd[usize::try_from(random % 16).unwrap()]
        });
        let text = format!("x{}", text.collect::<String>());
        anna.ok(SEARCH, json!({ "text": text })).await;
        anna.ok(list, json!({ "text": text })).await;
    }
    for after in ["garbage", "", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA", &"A".repeat(1_000)] {
        let reply = anna.send(SEARCH, json!({ "text": "one", "after": after })).await;
        if after.len() != 28 {
            assert_eq!(reply.code(), "BAD_REQUEST", "{after:.40}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_found_by_its_number_as_mails_and_people_write_it() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    open(&anna, "Another", "the summary").await;
    let number = open(&anna, "the summary", "Description").await.number;
    server.quiet().await;
    let digits = number.split('-').next_back().unwrap();
    let long = format!("Re: [{number}] {}", "the summary ".repeat(40));
    for text in [
        format!("[{number}]"),
        format!("Re: [{number}] the summary"),
        format!("#{number}"),
        format!("#{digits}"),
        format!("CS{digits}"),
        format!("CS {digits}"),
        format!("{number}."),
        format!("cs\u{2011}{digits}"),
        format!("№ {digits}"),
        format!("заявка {digits}"),
        long,
    ] {
        for client in [&anna, &marta] {
            assert_eq!(found(client, &text).await.first().unwrap(), "the summary", "{text}");
            assert!(listed(client, &text).await.contains(&"the summary".into()), "{text}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_look_equal_are_found_alike_also_those_of_an_older_version() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let texts = ["Кафе\u{301} \u{FB01}le", "сер\u{AD}тификат Фёдора", "Mu\u{308}nchen"];
    let searches =
        ["кафе\u{301}", "кафе\u{301} fi", "сертификат", "Федор", "фёд", "münchen", "Mu\u{308}n"];
    let expected = [0, 0, 1, 1, 1, 2, 2];
    for text in texts {
        open(&anna, "x", text).await;
    }
    let document = "query($text: String!) { search(text: $text) { nodes { ticket { number } } } }";
    let check = async |anna: &Client| {
        for (text, index) in searches.iter().zip(expected) {
            let data = anna.ok(document, json!({ "text": text })).await;
            let number = format!("CS-{}", 100_001 + index);
            assert_eq!(
                data["search"]["nodes"],
                json!([{ "ticket": { "number": number } }]),
                "{text}"
            );
        }
    };
    server.quiet().await;
    check(&anna).await;
    // As they are after an upgrade: stored as they were pasted, and indexed by older functions.
    let database = server.database.connect().await;
    for (index, text) in texts.iter().enumerate() {
        let number = 100_001 + i64::try_from(index).unwrap();
        let paste = "UPDATE tickets SET description = $1 WHERE number = $2";
        database.execute(paste, &[text, &number]).await.unwrap();
    }
    database
        .batch_execute(
            "UPDATE search_documents d SET words = to_tsvector('desk', searchable(t.description))
             FROM tickets t WHERE t.id = d.id",
        )
        .await
        .unwrap();
    let data = anna.ok(document, json!({ "text": "сертификат" })).await;
    assert_eq!(data["search"]["nodes"], json!([]));
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/migrations/2026-11-26-000031_index_old_texts_again/up.sql"
    );
    // Online: the server runs meanwhile.
    database.batch_execute(&std::fs::read_to_string(script).unwrap()).await.unwrap();
    check(&anna).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internationalised_domain_is_found_in_both_encodings() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    open(&anna, "Unicode", "Сайт почта.рф не открывается").await;
    open(&anna, "ASCII", "See https://xn--80a1acny.xn--p1ai there").await;
    server.quiet().await;
    for text in ["почта.рф", "ПОЧТА.РФ", "xn--80a1acny.xn--p1ai"] {
        let mut summaries = found(&anna, text).await;
        summaries.sort();
        assert_eq!(summaries, ["ASCII", "Unicode"], "{text}");
        assert_eq!(listed(&anna, text).await, ["ASCII", "Unicode"], "{text}");
    }
    server.stop().await;
}

/// Postgres' own parser would take minutes for some of these.
#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_slow_to_parse_can_be_posted_and_found() {
    let server = TestServer::start().await;
    let anna = server.customer("Anna").await;
    let ticket = open(&anna, "Odd", "texts").await;
    for odd in ["a_", "a-1.", "<!-- ", "<a ", "a.b-", "я-", "a@b.c/", "&#1;", "http://a/", "<"] {
        let body = format!("{} needle", odd.repeat(65_000 / odd.chars().count()));
        anna.comment(&ticket, &body).await;
    }
    server.quiet().await;
    let data = anna.ok(SEARCH, json!({ "text": "needle" })).await;
    assert_eq!(data["search"]["nodes"].as_array().unwrap().len(), 1);
    server.stop().await;
}

/// Most texts are indexed as they are. What is prepared and what is not must be found alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_needs_no_preparation_is_indexed_as_if_it_did() {
    let long = ["x".repeat(127), "x".repeat(128), "я".repeat(130)];
    let short = ["plain", "<b>", "é", "e\u{301}", "ﬁ", "\u{ad}", "\u{200b}", "\u{a0}", "Ж", "🙂"];
    let parts = long.iter().map(String::as_str).chain(short).chain(["", " ", "\u{fdfa}"]);
    let parts = parts.collect::<Vec<_>>();
    let pairs = parts.iter().flat_map(|a| parts.iter().map(move |b| format!("{a}{b}")));
    let texts = pairs.flat_map(|pair| parts.iter().map(move |c| format!("{pair}{c}")));
    let mut texts = texts.collect::<Vec<_>>();
    texts.extend(["ﬁ", "я ", "\u{fdfa}"].map(|text| text.repeat(65_536)));
    let empty = TestDatabase::new().await;
    let database = empty.connect().await;
    let prepared_always = r"regexp_replace(replace(left(normalize(regexp_replace(text,
        '[\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFF8\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A\U000E0000-\U000E0FFF]',
        '', 'g'), NFKC), 65536), '<', '< '), '(\S{128})', '\1 ', 'g')";
    let different = format!(
        "SELECT text FROM unnest($1::text[]) AS text WHERE indexable(text) <> {prepared_always}"
    );
    let different = database.query(&different, &[&texts]).await.unwrap();
    assert_eq!(different.iter().map(|row| row.get::<_, &str>(0)).collect::<Vec<_>>(), [""; 0]);
}

/// One character may stand for a word: see `indexable` in the migrations.
#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_much_longer_when_it_is_compared_is_found_and_can_be_changed() {
    let server = TestServer::start().await;
    let (anna, marta) = (server.customer("Anna").await, server.agent("Marta").await);
    let words = (0..65_000_u32).map(|n| match n.wrapping_mul(2_654_435_761) >> 29 {
        0 => '㌕',
        _ => '㌖',
    });
    let ticket = open(&anna, "One", &format!("zebra {}", words.collect::<String>())).await;
    server.quiet().await;
    assert_eq!(found(&anna, "zebra").await, ["One"]);
    marta.update(&ticket, json!({ "summary": "Two" })).await;
    assert_eq!(found(&anna, "zebra").await, ["Two"]);
    server.stop().await;
}
