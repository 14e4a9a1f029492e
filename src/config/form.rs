//! The form in which a value of each type is written, in the file and in the environment.

use std::net::SocketAddr;

use super::{error::ConfigError, keys::Key};

/// A value as a source has it.
#[derive(Clone, Copy)]
pub(super) enum Given<'v> {
    /// Of a variable or a flag.
    Text(&'v str),
    /// Of the file.
    Toml(&'v toml::Value),
}

/// Checks that a value is written as the type of its key requires. Nothing is converted: a fraction
/// that became 0 would switch a limit off.
///
/// # Errors
/// `Value`, with what the key accepts.
pub(super) fn check_form(key: &Key, value: Given<'_>) -> Result<(), ConfigError> {
    let type_name = key.type_name.trim_start_matches("Option<").trim_end_matches('>');
    let (fits, form) = match type_name {
        "bool" => (is_switch(value), "`true` or `false`"),
        "f64" => (is_number(value), "a number"),
        "SocketAddr" => (
            text(value).is_some_and(|text| text.parse::<SocketAddr>().is_ok()),
            "an IP address and a port, like 127.0.0.1:8080 or [::]:8080",
        ),
        "RequirementName" => (is_one_of(value, &["offered", "required"]), "offered or required"),
        "LocaleName" => (is_one_of(value, &["en", "ru"]), "en or ru"),
        "LogFormat" => (is_one_of(value, &["text", "json"]), "text or json"),
        "u32" | "u64" | "usize" | "i64" => (is_whole_number(value), "a whole number"),
        _ => (text(value).is_some(), "a text in quotes"),
    };
    let problem = || format!("must be {form}");
    if fits { Ok(()) } else { Err(ConfigError::Value { key: key.name, problem: problem() }) }
}

fn text(value: Given<'_>) -> Option<&str> {
    match value {
        Given::Text(text) => Some(text),
        Given::Toml(value) => value.as_str(),
    }
}

fn is_one_of(value: Given<'_>, choices: &[&str]) -> bool {
    text(value).is_some_and(|text| choices.contains(&text))
}

fn is_switch(value: Given<'_>) -> bool {
    match value {
        Given::Text(text) => matches!(text, "true" | "false"),
        Given::Toml(value) => value.is_bool(),
    }
}

fn is_whole_number(value: Given<'_>) -> bool {
    match value {
        Given::Text(text) => text.parse::<i128>().is_ok(),
        Given::Toml(value) => value.is_integer(),
    }
}

fn is_number(value: Given<'_>) -> bool {
    match value {
        Given::Text(text) => text.parse::<f64>().is_ok_and(f64::is_finite),
        Given::Toml(value) => value.is_integer() || value.as_float().is_some_and(f64::is_finite),
    }
}
