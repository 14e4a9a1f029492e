//! Patterns for SQL's LIKE and ILIKE.

/// Escapes a text so that a pattern matches it literally.
pub(super) fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
