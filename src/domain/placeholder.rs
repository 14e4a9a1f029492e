//! Placeholders in texts that staff prepare, such as `{{reporter.name}}`.
//!
//! A placeholder is two braces, a name without braces and line ends, and two braces. Spaces around
//! the name don't count. A backslash directly before it makes it text, without the backslash. All
//! other braces are text.

use std::{mem, ops::Range};

use super::text::{MAX_BODY, TextError};

/// Makes a placeholder text if it is directly before it.
const ESCAPE: char = '\\';

/// Declares the placeholders, their names and the list of them, so that none can be left out.
macro_rules! placeholders {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $value:ident;)+) => {
        /// A known placeholder.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Placeholder {
            $($(#[$doc])* $variant,)+
        }

        /// The values that take the places of placeholders.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Values<'a> {
            $($(#[$doc])* pub $value: &'a str,)+
        }

        impl Placeholder {
            /// All placeholders, in the order in which messages list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the name between the braces.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn value<'a>(self, values: &Values<'a>) -> &'a str {
                match self { $(Self::$variant => values.$value),+ }
            }
        }
    };
}

placeholders! {
    /// The name of the customer who opened the ticket.
    ReporterName = "reporter.name", reporter_name;
    /// The ticket's number with its prefix.
    TicketNumber = "ticket.number", ticket_number;
    /// The address of the ticket's page.
    TicketLink = "ticket.link", ticket_link;
    /// The name of the member of staff who uses the text.
    AgentName = "agent.name", agent_name;
    /// The name of the ticket's category.
    CategoryName = "category.name", category_name;
    /// The summary of the ticket.
    TicketSummary = "ticket.summary", ticket_summary;
}

/// A part of a prepared text.
#[derive(Debug, PartialEq, Eq)]
enum Part<'t> {
    Text(&'t str),
    /// A placeholder as it is written, and its name.
    Placeholder(&'t str, &'t str),
}

/// Returns the name of the first placeholder that is not known.
pub fn unknown(text: &str) -> Option<&str> {
    parts(text).find_map(|part| match part {
        Part::Placeholder(_, name) if known(name).is_none() => Some(name),
        Part::Placeholder(..) | Part::Text(_) => None,
    })
}

/// Puts values in the places of placeholders. It is one pass: braces in a value are text. An unknown
/// placeholder, which a newer version of the server has accepted, stays as it is. A result that is
/// too long is measured and never built.
///
/// # Errors
/// The result is longer than a comment may be.
pub fn fill(text: &str, values: &Values<'_>) -> Result<String, TextError> {
    let lengths = Placeholder::ALL.iter().map(|it| it.value(values).chars().count());
    let lengths = lengths.collect::<Vec<_>>();
    let length = |part| match part {
        Part::Text(text) => text.chars().count(),
        Part::Placeholder(written, name) => match place(name) {
            Some(place) => lengths[place],
            None => written.chars().count(),
        },
    };
    let actual = parts(text).map(length).sum();
    if actual > MAX_BODY {
        return Err(TextError::TooLong { max: MAX_BODY, actual });
    }
    let filled = parts(text).map(|part| match part {
        Part::Text(text) => text,
        Part::Placeholder(written, name) => known(name).map_or(written, |it| it.value(values)),
    });
    Ok(filled.collect())
}

fn known(name: &str) -> Option<Placeholder> {
    place(name).map(|place| Placeholder::ALL[place])
}

/// Returns the place of a known placeholder in the list of all.
fn place(name: &str) -> Option<usize> {
    Placeholder::ALL.iter().position(|placeholder| placeholder.name() == name)
}

fn parts(text: &str) -> Parts<'_> {
    Parts { rest: text, found: None }
}

/// The parts of a text, in order.
struct Parts<'t> {
    rest: &'t str,
    /// The part that follows the text before it.
    found: Option<Part<'t>>,
}

impl<'t> Iterator for Parts<'t> {
    type Item = Part<'t>;

    fn next(&mut self) -> Option<Part<'t>> {
        if let Some(found) = self.found.take() {
            return Some(found);
        }
        if self.rest.is_empty() {
            return None;
        }
        let Some((range, name)) = next_placeholder(self.rest) else {
            return Some(Part::Text(mem::take(&mut self.rest)));
        };
        let (before, written) = (&self.rest[..range.start], &self.rest[range.clone()]);
        self.rest = &self.rest[range.end..];
        let (before, found) = match before.strip_suffix(ESCAPE) {
            Some(before) => (before, Part::Text(written)),
            None => (before, Part::Placeholder(written, name)),
        };
        self.found = Some(found);
        Some(Part::Text(before))
    }
}

/// Returns where the first placeholder of a text is, and its name.
fn next_placeholder(text: &str) -> Option<(Range<usize>, &str)> {
    let mut from = 0;
    while let Some(found) = text[from..].find("{{") {
        let open = from + found;
        let inner = &text[open + 2..];
        let length = inner.find(['{', '}', '\n']).unwrap_or(inner.len());
        if inner[length..].starts_with("}}") {
            return Some((open..open + 2 + length + 2, inner[..length].trim()));
        }
        from = open + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values {
        reporter_name: "Anna {{agent.name}}",
        ticket_number: "CS-1",
        ticket_link: "https://desk.example/CS-1",
        agent_name: "Marta",
        category_name: "Sales",
        ticket_summary: "{{ticket.summary}}",
    };

    #[test]
    fn every_placeholder_is_filled_in_once_and_values_are_never_filled_in() {
        for (text, filled) in [
            ("", ""),
            ("Hello {{reporter.name}}!", "Hello Anna {{agent.name}}!"),
            ("{{ ticket.number }}{{ticket.link}}", "CS-1https://desk.example/CS-1"),
            ("{{category.name}} {{agent.name}}", "Sales Marta"),
            ("{{ticket.summary}}", "{{ticket.summary}}"),
            // Braces that are no placeholder.
            ("{{{agent.name}}}", "{Marta}"),
            ("{{agent.name} {{agent.name", "{{agent.name} {{agent.name"),
            ("{{agent\n.name}} }} {{", "{{agent\n.name}} }} {{"),
            ("{{ключ{{agent.name}}", "{{ключMarta"),
            // A backslash makes a placeholder text.
            (
                r"\{{ site.url }} \{{agent.name}} {{agent.name}}",
                "{{ site.url }} {{agent.name}} Marta",
            ),
            (r"\\{{x}} \{{agent.name \{{{agent.name}}", r"\{{x}} \{{agent.name \{Marta"),
            // A newer version has accepted it.
            ("{{ticket.mood}} {{agent.name}}", "{{ticket.mood}} Marta"),
        ] {
            assert_eq!(fill(text, &VALUES).unwrap(), filled, "{text}");
        }
    }

    #[test]
    fn the_first_unknown_placeholder_is_named() {
        assert_eq!(unknown("{{reporter.name}} { {{x} {{{agent.name}}}"), None);
        assert_eq!(unknown("{{agent.name}} {{ Agent.Name }} {{x}}"), Some("Agent.Name"));
        assert_eq!(unknown("{{}}"), Some(""));
        assert_eq!(unknown(r"\{{x}} \{{}} {{y}}"), Some("y"));
    }

    #[test]
    fn a_filled_text_is_as_long_as_a_comment_may_be_and_no_longer() {
        let text = format!("{}{{{{ticket.number}}}}", "я".repeat(MAX_BODY - 4));
        assert_eq!(fill(&text, &VALUES).unwrap().chars().count(), MAX_BODY);
        let error = fill(&format!("{text}."), &VALUES);
        assert_eq!(error, Err(TextError::TooLong { max: MAX_BODY, actual: MAX_BODY + 1 }));
        // It would be fourteen times as long as its body, and is never built.
        let summary = "я".repeat(255);
        let values = Values { ticket_summary: &summary, ..VALUES };
        let count = MAX_BODY / "{{ticket.summary}}".len();
        let error = fill(&"{{ticket.summary}}".repeat(count), &values);
        assert_eq!(error, Err(TextError::TooLong { max: MAX_BODY, actual: count * 255 }));
    }
}
