//! The list of all keys, for operators.

use super::{keys::Key, settings::Config};

const HEAD: &str = "| key | environment variable | default | description |\n|---|---|---|---|\n";

/// Returns a Markdown table of every key with its environment variable, default and description.
/// `docs/CONFIGURATION.md` contains it.
pub fn reference() -> String {
    let mut table = HEAD.to_owned();
    for key in Config::keys() {
        table += &row(key);
    }
    table
}

fn row(key: &Key) -> String {
    let file_variable = key.file_variable().map(|name| format!(", `{name}`")).unwrap_or_default();
    let default = match key.default {
        None | Some("") => "none".to_owned(),
        Some(value) => format!("`{value}`"),
    };
    let range = match &key.range {
        None => String::new(),
        Some(range) => format!(" From {} to {}.", range.start(), range.end()),
    };
    format!(
        "| `{}` | `{}`{file_variable} | {default} | {}{range} |\n",
        key.name,
        key.variable(),
        key.description.trim()
    )
}
