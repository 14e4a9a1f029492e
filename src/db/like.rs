//! Patterns for SQL's LIKE and ILIKE.

/// Escapes a text for use in a pattern, so that it matches literally.
pub(super) fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
