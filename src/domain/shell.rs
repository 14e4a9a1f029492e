//! Commands that a person can paste into a shell.

use std::path::Path;

/// Returns a path as a POSIX shell reads it back: in quotes if it has characters that mean something to
/// a shell.
pub fn quoted(path: impl AsRef<Path>) -> String {
    let path = path.as_ref().display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_a_shell_would_change_are_quoted() {
        for (path, expected) in [
            ("/var/lib/ticketwire", "/var/lib/ticketwire"),
            ("/srv/my desk", "'/srv/my desk'"),
            ("/srv/$(id)", "'/srv/$(id)'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(path), expected);
        }
    }
}
