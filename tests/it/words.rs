//! Retired words and phrases: none of them comes back into the schema, the documents, the code or
//! its messages. CONTRIBUTING.md says how to write instead.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What is retired, and what to write instead. Matched as whole words, in any case.
const RETIRED: &[(&str, &str)] = &[
    ("so many", "a number, or \"at most\""),
    ("; none:", "\"`None` if …\" or \"Null if …\""),
    ("whoever", "the person: \"the caller\", \"an account that …\""),
    ("by itself", "\"automatically\", \"alone\""),
    ("anew", "\"again\""),
    ("given out", "\"returned\", \"sent\""),
    ("is told that", "\"is notified\""),
    ("are told that", "\"are notified\""),
    ("told of", "\"notified of\""),
    ("heed", "\"handle\""),
    ("heeds", "\"handles\""),
    ("doorbell", "\"wake flag\""),
    ("the bell", "\"notifications\""),
    ("hand-over", "\"handoff\""),
    ("handover", "\"handoff\""),
    ("outlet", "\"transport\""),
    ("subscriber's mailbox", "\"buffer\""),
    ("does no longer", "\"no longer does\""),
    ("as it stands", "\"current\""),
    ("its time is over", "\"expired\""),
    ("ended before its time", "\"incomplete\""),
    ("out of date could not be", "\"pruning … failed\""),
    ("is not taken", "\"is not supported\""),
    ("are not taken", "\"are not supported\""),
    ("what is wrong with the input", "\"What the caller can correct\""),
    ("only what comes after", "\"Return items after …\""),
    ("nobody's news", "say what does not happen"),
    ("passed over", "\"skipped\""),
    ("sees to", "the verb: \"checks\", \"installs\""),
    ("; null:", "\"`NULL` if …\""),
    ("present password", "\"current password\""),
    ("has a content", "\"is not empty\""),
    ("did not go on", "\"stalled\""),
    ("admitted", "what was checked: \"validated\", \"authorised\""),
    ("no longer may", "\"may no longer\""),
    ("outlets", "\"transports\""),
    ("приглашает вас в эту", "«открывает вам доступ к этой»"),
    ("не является правильн", "say what is wrong: «неверный …»"),
];

/// Files and folders whose texts are held against the list.
const TEXTS: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "Makefile",
    "build.rs",
    "clippy.toml",
    "deny.toml",
    "schema.graphql",
    "benches",
    "docs",
    "migrations",
    "released.graphql",
    "playground",
    "scripts",
    "src",
    "tests",
];

/// The documents whose lines are bounded. Entries are only added to the changelog, so its lines are
/// not.
const DOCUMENTS: &[&str] = &["README.md", "SECURITY.md", "CONTRIBUTING.md", "docs", "migrations"];

/// The longest line of a document, in characters.
const MAX_LINE: usize = 120;

#[test]
fn no_text_uses_a_retired_phrase() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for file in TEXTS.iter().flat_map(|text| files(&root.join(text))) {
        if file.ends_with("tests/it/words.rs") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (phrase, instead) in RETIRED {
            let lines = prose(&text);
            let lines = lines.iter().filter(|(_, line)| contains(line, phrase));
            found.extend(lines.map(|(number, _)| {
                let file = file.strip_prefix(root).unwrap().display();
                format!("{file}:{number}: \"{phrase}\", instead: {instead}")
            }));
        }
    }
    assert_eq!(found, [] as [String; 0]);
}

#[test]
fn phrases_are_found_across_lines_and_as_whole_words_only() {
    let found = |text: &str, phrase| prose(text).iter().any(|(_, line)| contains(line, phrase));
    assert!(found("/// So\n/// many of them", "so many"));
    assert!(found("    -- there are so\n    -- many.", "so many"));
    assert!(!found("also many", "so many"));
    assert!(!found("so manyfold", "so many"));
    assert!(found("/// Its token; none: it has none.", "; none:"));
    assert!(found("/// What\n/// is wrong with the input.", "what is wrong with the input"));
}

#[test]
fn no_document_has_a_line_that_is_too_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let documents = DOCUMENTS.iter().flat_map(|document| files(&root.join(document)));
    for file in documents.filter(|file| file.extension().is_some_and(|it| it == "md")) {
        let text = fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(root).unwrap().display();
        found.extend(long_lines(&text).iter().map(|number| format!("{file}:{number}")));
    }
    assert_eq!(found, [] as [String; 0], "break lines after at most {MAX_LINE} characters");
}

#[test]
fn tables_code_and_headings_may_have_long_lines() {
    let long = "word ".repeat(25);
    let text = format!("# {long}\n\n| {long} |\n\n```sh\n{long}\n```\n\n- short\n- {long}");
    assert_eq!(long_lines(&text), [10]);
}

/// The numbers of the lines that are too long and could be broken: not in tables, code and headings.
fn long_lines(text: &str) -> Vec<usize> {
    let mut in_code = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let start = line.trim_start();
        let is_fence = start.starts_with("```");
        in_code ^= is_fence;
        let is_prose = !in_code && !is_fence && !start.starts_with(['|', '#']);
        is_prose && line.chars().count() > MAX_LINE
    });
    lines.map(|(index, _)| index + 1).collect()
}

/// The files below a path, but for what tools write and what quotes customers.
fn files(path: &Path) -> Vec<PathBuf> {
    let generated = ["package-lock.json", "node_modules"];
    if path.file_name().is_some_and(|name| generated.iter().any(|other| name == *other))
        || path.extension().is_some_and(|extension| extension == "toml")
            && path.components().any(|part| part.as_os_str() == "demo")
    {
        return vec![];
    }
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|entry| files(&entry)).collect()
}

/// The lines of a text in lower case, each joined with the next one, with their numbers: a phrase
/// may be broken at the end of a line.
fn prose(text: &str) -> Vec<(usize, String)> {
    let strip = |line: &str| {
        let line = line.trim().trim_start_matches(['/', '!', '#', '*', '>', '-']).trim();
        line.trim_end_matches('\\').trim_end().to_lowercase()
    };
    let lines = text.lines().map(strip).collect::<Vec<_>>();
    let next = |index: usize| lines.get(index + 1).map_or("", String::as_str);
    // Only the first words of the next line, so that a phrase is not found twice.
    let start = |line: &str| line.split(' ').take(6).collect::<Vec<_>>().join(" ");
    let joined = lines.iter().enumerate();
    joined.map(|(index, line)| (index + 1, format!("{line} {}", start(next(index))))).collect()
}

fn contains(line: &str, phrase: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (first, last) = (phrase.chars().next(), phrase.chars().next_back());
    let continues = |edge, outside| is_word(edge) && is_word(outside);
    line.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + phrase.len()..]);
        !continues(first, before.chars().next_back()) && !continues(last, after.chars().next())
    })
}

#[test]
fn every_place_in_the_glossary_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let glossary = fs::read_to_string(root.join("docs/GLOSSARY.md")).unwrap();
    let rows = glossary.lines().filter(|line| line.starts_with("| ")).skip(1);
    let places = rows.flat_map(|row| {
        let place = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        place.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    });
    let places = places.filter(|place| !place.starts_with("---")).collect::<Vec<_>>();
    assert!(places.len() > 50, "the table was not read");
    let missing = places.iter().filter(|place| !root.join(place).exists());
    assert_eq!(missing.collect::<Vec<_>>(), [] as [&String; 0]);
}
