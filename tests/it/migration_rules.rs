//! The rules for online migrations in migrations/README.md, checked against the text of each.

use std::{collections::BTreeSet, fs, path::Path};

/// The migrations before it were not written by these rules.
const FIRST: u32 = 19;

/// The migrations that break a rule, and why that is harmless.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "000031_index_old_texts_again",
        "it commits after each batch, so it locks a few hundred rows at a time",
    ),
    ("000113_queue_old_tickets", "it commits after each batch, and the rows that it locks are new"),
    (
        "000040_find_password_resets",
        "expired rows are deleted every hour, so the table is small and is indexed at once",
    ),
    (
        "000043_service_tokens_expire",
        "an installation has a few service tokens, so they are checked at once",
    ),
];

#[test]
fn migrations_do_not_stop_a_server_that_is_running() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut broken = Vec::new();
    let mut excepted = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = numbered(&path) else { continue };
        let up = fs::read_to_string(path.join("up.sql")).unwrap();
        let metadata = fs::read_to_string(path.join("metadata.toml")).unwrap_or_default();
        let violations = violations(&up, !metadata.contains("run_in_transaction = false"));
        if EXCEPTIONS.iter().any(|(exception, _)| *exception == name) && !violations.is_empty() {
            excepted.insert(name);
        } else {
            broken.extend(violations.into_iter().map(|violation| format!("{name}: {violation}")));
        }
    }
    assert_eq!(broken, [] as [String; 0], "see migrations/README.md, Online migrations");
    let listed = EXCEPTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(excepted, listed, "an exception is listed without need");
}

/// The number and name of a migration, `000019_set_aside`, if the rules apply to it.
fn numbered(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.splitn(4, '-').nth(3)?;
    let number = name.split('_').next()?.parse::<u32>().ok()?;
    (number >= FIRST && path.is_dir()).then(|| name.to_owned())
}

#[test]
fn each_rule_is_enforced() {
    let timeout = "SET LOCAL lock_timeout = '2s';";
    for fine in [
        "ALTER TABLE a ADD COLUMN b text;",
        "ALTER TABLE a ADD COLUMN b boolean NOT NULL DEFAULT false, ADD COLUMN c text;",
        "ALTER TABLE a ADD CONSTRAINT b CHECK (c > 0) NOT VALID;",
        "ALTER TABLE a DROP CONSTRAINT b, ALTER COLUMN c DROP NOT NULL;",
        "CREATE TABLE a (b int NOT NULL CHECK (b > 0)); CREATE INDEX ON a (b);
         ALTER TABLE a ADD CONSTRAINT c UNIQUE (b); UPDATE a SET b = 1;",
        "-- UPDATE a; the text of a comment\nALTER TYPE a ADD VALUE 'VACUUM; CLUSTER';",
        "CREATE FUNCTION a() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE b; END $$;",
    ] {
        let fine = format!("{timeout}\n{fine}");
        assert_eq!(violations(&fine, true), [] as [String; 0], "{fine}");
    }
    for broken in [
        "CREATE INDEX b ON a (c);",
        "CREATE UNIQUE INDEX b ON ONLY a USING gin (c);",
        "CREATE TABLE b (); CREATE INDEX c ON a (d);",
        "DROP INDEX b;",
        "ALTER TABLE a ADD COLUMN b text NOT NULL;",
        "ALTER TABLE a ADD COLUMN b text, ADD COLUMN c text NOT NULL;",
        "ALTER TABLE a ADD b text NOT NULL;",
        "ALTER TABLE a ADD COLUMN b int CHECK (b > 0);",
        "ALTER TABLE a ADD COLUMN b uuid REFERENCES c;",
        "ALTER TABLE a ADD COLUMN b int UNIQUE;",
        "ALTER TABLE a ADD CONSTRAINT b CHECK (c > 0);",
        "ALTER TABLE a ADD CHECK (c > 0);",
        "ALTER TABLE a ADD PRIMARY KEY (b);",
        "ALTER TABLE a VALIDATE CONSTRAINT b;",
        "ALTER TABLE a ALTER COLUMN b SET NOT NULL;",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint;",
        "ALTER TABLE a ALTER b SET DATA TYPE bigint;",
        "ALTER TABLE a ADD COLUMN b uuid DEFAULT gen_random_uuid();",
        "ALTER TABLE a ADD COLUMN b bigserial;",
        "ALTER TABLE a ADD COLUMN b int GENERATED ALWAYS AS (c + 1) STORED;",
        "UPDATE a SET b = 1;",
        "DELETE FROM a;",
        "WITH c AS (SELECT 1) UPDATE a SET b = 1;",
        "VACUUM FULL a;",
        "CLUSTER a;",
    ] {
        let broken = format!("{timeout}\n{broken}");
        assert_eq!(violations(&broken, true).len(), 1, "{broken}");
    }
    assert_eq!(violations("ALTER TABLE a ADD COLUMN b text;", true).len(), 1);
    for (alone, count) in [
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS b ON a (c);", 0),
        ("-- Why.\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS b ON a (c);", 0),
        ("DROP INDEX CONCURRENTLY IF EXISTS b;", 0),
        ("ALTER TABLE a VALIDATE CONSTRAINT b;", 0),
        ("DROP INDEX CONCURRENTLY b;", 1),
        ("CREATE INDEX b ON a (c);", 1),
        ("CREATE INDEX CONCURRENTLY b ON a (c);", 1),
        ("ALTER TABLE a ADD COLUMN b text;", 1),
        ("CREATE INDEX CONCURRENTLY b ON a (c); CREATE INDEX CONCURRENTLY d ON a (e);", 1),
    ] {
        assert_eq!(violations(alone, false).len(), count, "{alone}");
    }
}

/// Returns the statements of a migration that break a rule, each with the rule.
fn violations(up: &str, in_transaction: bool) -> Vec<String> {
    let statements = statements(up);
    if !in_transaction {
        return match &statements[..] {
            [only] => alone(only).map(|rule| format!("{only}: {rule}")).into_iter().collect(),
            _ => vec!["it runs outside a transaction and is not exactly one statement".into()],
        };
    }
    let mut found = Vec::new();
    if !statements.first().is_some_and(|first| first.starts_with("SET LOCAL LOCK_TIMEOUT")) {
        found.push("it does not begin with SET LOCAL lock_timeout".to_owned());
    }
    let created = statements.iter().filter_map(|statement| word_after(statement, "CREATE TABLE"));
    let created = created.collect::<Vec<_>>();
    for statement in &statements {
        if let Some(rule) = in_transaction_rule(statement, &created) {
            found.push(format!("{statement}: {rule}"));
        }
    }
    found
}

/// The rule that a statement outside a transaction breaks.
fn alone(statement: &str) -> Option<&'static str> {
    let concurrent = [
        "CREATE INDEX CONCURRENTLY",
        "CREATE UNIQUE INDEX CONCURRENTLY",
        "DROP INDEX CONCURRENTLY",
    ];
    let validates = statement.starts_with("ALTER TABLE")
        && actions(statement).len() == 1
        && actions(statement)[0].starts_with("VALIDATE CONSTRAINT");
    if !validates && !concurrent.iter().any(|start| statement.starts_with(start)) {
        return Some("outside a transaction, only index concurrently or validate a constraint");
    }
    // A failed attempt leaves it invalid, and the next one drops it before this statement.
    if statement.starts_with("DROP INDEX") && !contains(statement, "IF EXISTS") {
        return Some("drop an index IF EXISTS");
    }
    // One that was killed may have built it. An invalid index is dropped before this statement.
    let creates = statement.starts_with("CREATE");
    (creates && !contains(statement, "IF NOT EXISTS")).then_some("create an index IF NOT EXISTS")
}

/// The rule that a statement in a transaction breaks, unless it is about a table that the same
/// migration creates.
fn in_transaction_rule(statement: &str, created: &[&str]) -> Option<&'static str> {
    let is_new = |table: Option<&str>| table.is_some_and(|table| created.contains(&table));
    if statement.starts_with("CREATE INDEX") || statement.starts_with("CREATE UNIQUE INDEX") {
        let index = !is_new(word_after(statement, " ON"));
        return index.then_some("index a table that exists CONCURRENTLY, outside a transaction");
    }
    if statement.starts_with("DROP INDEX") {
        return Some("drop an index CONCURRENTLY, outside a transaction");
    }
    if statement.starts_with("ALTER TABLE") {
        let rule = actions(statement).iter().find_map(|action| action_rule(action));
        return rule.filter(|_| !is_new(word_after(statement, "ALTER TABLE")));
    }
    let starts = |start| statement.split_whitespace().next() == Some(start);
    if starts("CREATE") || starts("COMMENT") {
        return None;
    }
    let writes = |verb: &str| contains(statement, verb) && !is_new(word_after(statement, verb));
    if writes("UPDATE") || writes("DELETE FROM") {
        return Some("change rows in batches, from the application");
    }
    (starts("CLUSTER") || starts("VACUUM")).then_some("rewrite no table")
}

/// The rule that an action of ALTER TABLE breaks.
fn action_rule(action: &str) -> Option<&'static str> {
    let has = |words: &str| contains(action, words);
    let constraint = ["CHECK", "REFERENCES", "UNIQUE", "PRIMARY KEY", "FOREIGN KEY", "EXCLUDE"];
    let volatile =
        ["GEN_RANDOM_UUID", "RANDOM", "CLOCK_TIMESTAMP", "NEXTVAL", "STORED", "IDENTITY"];
    let serial = ["SERIAL", "BIGSERIAL", "SMALLSERIAL"];
    if action.starts_with("ADD") {
        if constraint.iter().any(|words| has(words)) && !has("NOT VALID") {
            return Some("add a constraint as NOT VALID, and validate it in another migration");
        }
        if volatile.iter().chain(&serial).any(|words| has(words)) {
            return Some("this default rewrites the table");
        }
        let lacks_default = has("NOT NULL") && !has("DEFAULT");
        return lacks_default.then_some("rows of the previous version have no value");
    }
    if action.starts_with("VALIDATE") {
        return Some("validate a constraint outside a transaction");
    }
    if action.starts_with("ALTER") && has("SET NOT NULL") {
        return Some("this reads the table: add CHECK (… IS NOT NULL) NOT VALID");
    }
    let rewrites = action.starts_with("ALTER") && has("TYPE");
    rewrites.then_some("rewrite no table")
}

/// Whether a text contains words, with no letter right before or after them.
fn contains(text: &str, words: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(words).any(|(at, _)| {
        !text[..at].ends_with(is_word) && !text[at + words.len()..].starts_with(is_word)
    })
}

/// The name after some words, and the rest of the statement.
fn name_after<'a>(statement: &'a str, words: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = statement.split_once(words)?;
    let optional = ["IF NOT EXISTS ", "IF EXISTS ", "ONLY "];
    let name = optional.iter().fold(rest.trim_start(), |rest, word| rest.trim_start_matches(word));
    let end = name.find([' ', '(']).unwrap_or(name.len());
    Some(name.split_at(end))
}

fn word_after<'a>(statement: &'a str, words: &str) -> Option<&'a str> {
    name_after(statement, words).map(|(name, _)| name)
}

/// The actions of an ALTER TABLE: what follows the table's name, split at commas outside
/// parentheses.
fn actions(statement: &str) -> Vec<&str> {
    let Some((_, rest)) = name_after(statement, "ALTER TABLE") else { return vec![] };
    let mut depth = 0_i32;
    let parts = rest.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.map(str::trim).collect()
}

/// The statements of a script in upper case and on one line each, without comments and without
/// what stands in quotes.
fn statements(script: &str) -> Vec<String> {
    let lines = script.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let text = lines.collect::<Vec<_>>().join(" ");
    // Every second part is quoted.
    let unquoted = |text: &str, quote: &str| {
        text.split(quote).step_by(2).collect::<Vec<_>>().join(&quote.repeat(2))
    };
    let text = unquoted(&unquoted(&text, "$$"), "'").to_uppercase();
    let statements =
        text.split(';').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    statements.filter(|statement| !statement.is_empty()).collect()
}
