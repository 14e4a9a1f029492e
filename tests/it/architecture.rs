//! The import rules of `src/lib.rs`, held against the code.

use std::{collections::BTreeSet, fs, path::Path};

/// Which layers a layer may import.
const RULES: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "app", "config", "crypto", "db", "domain", "events", "graphql", "http", "mail",
            "metrics", "service",
        ],
    ),
    (
        "app",
        &[
            "config", "crypto", "db", "domain", "events", "graphql", "http", "mail", "metrics",
            "service", "storage",
        ],
    ),
    ("config", &[]),
    ("http", &["graphql", "service", "events", "db", "domain", "metrics"]),
    ("graphql", &["service", "events", "crypto", "domain"]),
    ("service", &["db", "storage", "crypto", "domain", "metrics"]),
    ("storage", &["domain"]),
    ("events", &["db", "domain", "metrics"]),
    ("mail", &["events", "db", "crypto", "domain", "metrics"]),
    ("crypto", &["domain"]),
    ("db", &["crypto", "domain"]),
    ("domain", &[]),
    ("metrics", &[]),
];

#[test]
fn every_import_goes_the_right_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let layer = first.trim_end_matches(".rs");
        if matches!(layer, "main" | "lib") {
            continue;
        }
        let allowed = RULES.iter().find(|(name, _)| *name == layer);
        let (_, allowed) =
            allowed.unwrap_or_else(|| panic!("no rule for {layer}: add one here and in lib.rs"));
        seen.insert(layer.to_owned());
        for imported in imports(&fs::read_to_string(&file).unwrap()) {
            if imported != layer && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{} imports {imported}", relative.display()));
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
    assert_eq!(seen.len(), RULES.len(), "a rule has no layer any more");
}

#[test]
fn diesel_is_named_in_db_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let named = rust_files(&source).into_iter().filter(|file| {
        let in_db = file.strip_prefix(&source).unwrap().starts_with("db");
        let text = fs::read_to_string(file).unwrap();
        !in_db
            && (text.contains("use diesel")
                || text.contains("diesel::")
                || text.contains("diesel_async::"))
    });
    assert_eq!(named.collect::<Vec<_>>(), [] as [std::path::PathBuf; 0]);
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The layers that a file's code names behind `crate::`, also in braces.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(inside) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (at, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && c.is_alphabetic() => {
                    found.insert(word(&inside[at..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
