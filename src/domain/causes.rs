//! Errors with their causes, of which the last one often says what went wrong.

use std::{error::Error, iter};

/// Returns the text of an error followed by those of its causes that it does not contain already.
pub fn with_causes(error: &dyn Error) -> String {
    causes(error).fold(error.to_string(), |text, cause| {
        if text.contains(&cause.to_string()) { text } else { format!("{text}: {cause}") }
    })
}

fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failed {
        text: &'static str,
        source: Option<Box<Failed>>,
    }

    #[test]
    fn an_error_is_followed_by_its_causes() {
        let cause = |text, source| Some(Box::new(Failed { text, source }));
        let source = cause("connecting failed", cause("refused", cause("failed", None)));
        let error = Failed { text: "no database", source };
        assert_eq!(with_causes(&error), "no database: connecting failed: refused");
    }
}
