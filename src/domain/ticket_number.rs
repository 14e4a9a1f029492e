//! The numbers of tickets, as the desk shows them and as people write them.

/// The number of a ticket, without the installation's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TicketNumber(pub i64);

/// The installation's prefix for ticket numbers: 1 to 10 capital letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberPrefix(String);

/// A ticket number in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The number.
    pub number: TicketNumber,
    /// Whether it has the installation's prefix.
    pub has_prefix: bool,
}

/// The beginnings of words after which a number is a ticket's.
const WORDS: [&str; 8] =
    ["ticket", "request", "заявк", "тикет", "обращени", "запрос", "номер", "number"];
/// The abbreviations of "number".
const ABBREVIATIONS: [&str; 2] = ["no", "nr"];

impl NumberPrefix {
    /// Parses a prefix.
    ///
    /// # Errors
    /// The text does not consist of 1 to 10 letters from A to Z.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be 1 to 10 letters from A to Z, like CS")
        }
    }

    /// Formats a number for display, like `CS-234567`.
    pub fn format(&self, number: TicketNumber) -> String {
        format!("{}-{}", self.0, number.0)
    }

    /// Parses a number with its prefix in upper or lower case, ignoring surrounding spaces.
    /// Returns `None` if the text is not such a number.
    pub fn read(&self, text: &str) -> Option<TicketNumber> {
        let (prefix, digits) = text.trim().split_once('-')?;
        if !prefix.eq_ignore_ascii_case(&self.0) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(TicketNumber)
    }

    /// Finds the number of a ticket in a text, as mails and people write it: `[CS-234567]`,
    /// `cs 234567`, `CS234567`, `#234567`, `ticket 234567`, or a number alone. The first number
    /// with the prefix is preferred. The time grows with the length of the text.
    pub fn find(&self, text: &str) -> Option<Mention> {
        let bare = text.trim_matches(is_decoration);
        if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit()) {
            let number = TicketNumber(bare.parse().ok()?);
            return Some(Mention { number, has_prefix: false });
        }
        let mut found = None;
        let mut rest = text;
        let mut start = 0;
        while let Some(first) = rest.find(|c: char| c.is_ascii_digit()) {
            start += first;
            let digits = text[start..].len()
                - text[start..].trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (before, after) = (&text[..start], &text[start + digits..]);
            if let Some(mention) = self.mention(before, &text[start..start + digits], after) {
                if mention.has_prefix {
                    return Some(mention);
                }
                found = found.or(Some(mention));
            }
            start += digits;
            rest = &text[start..];
        }
        found
    }

    /// Returns the ticket number that digits are, judging by the text around them.
    fn mention(&self, before: &str, digits: &str, after: &str) -> Option<Mention> {
        let number = TicketNumber(digits.parse().ok()?);
        if after.starts_with(char::is_alphanumeric) {
            return None;
        }
        let head = before.trim_end_matches(is_separator);
        let separator = &before[head.len()..];
        let letters = head.trim_end_matches(char::is_alphabetic);
        let word = &head[letters.len()..];
        // A minus before a word excludes it from a search.
        let stands_alone = !letters.ends_with(|c: char| c.is_alphanumeric() || c == '-');
        if stands_alone && word.chars().flat_map(char::to_uppercase).map(latin).eq(self.0.chars()) {
            return Some(Mention { number, has_prefix: true });
        }
        let word = word.to_lowercase();
        let is_named = stands_alone
            && !separator.is_empty()
            && (WORDS.iter().any(|known| word.starts_with(known))
                || ABBREVIATIONS.contains(&word.as_str()));
        let is_marked = separator.contains(['#', '№']);
        (is_named || is_marked).then_some(Mention { number, has_prefix: false })
    }
}

/// Whether a character may stand between a prefix or a word and a number.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}') || "-_#№:.".contains(c)
}

/// Whether a character may stand next to a number that is all of a text.
fn is_decoration(c: char) -> bool {
    c.is_whitespace() || "#№[](){}<>.,:;!?'«»„“”".contains(c)
}

/// Returns the Latin capital letter that looks like a Cyrillic one, or the letter itself.
fn latin(c: char) -> char {
    const ALIKE: [(char, char); 15] = [
        ('А', 'A'),
        ('В', 'B'),
        ('С', 'C'),
        ('Е', 'E'),
        ('Н', 'H'),
        ('І', 'I'),
        ('Ј', 'J'),
        ('К', 'K'),
        ('М', 'M'),
        ('О', 'O'),
        ('Р', 'P'),
        ('Ѕ', 'S'),
        ('Т', 'T'),
        ('Х', 'X'),
        ('У', 'Y'),
    ];
    ALIKE.iter().find(|(cyrillic, _)| *cyrillic == c).map_or(c, |(_, latin)| *latin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_number_is_parsed_with_its_prefix_in_any_case() {
        let prefix = NumberPrefix::parse("CS").unwrap();
        assert_eq!(prefix.format(TicketNumber(234_567)), "CS-234567");
        assert_eq!(prefix.read(" cs-234567 "), Some(TicketNumber(234_567)));
        for text in ["234567", "XX-1", "CS-", "CS--1", "CS-+1", "CS-99999999999999999999", "CS-1٣"]
        {
            assert_eq!(prefix.read(text), None, "{text}");
        }
        assert!(NumberPrefix::parse("cs").is_err() && NumberPrefix::parse("").is_err());
    }

    #[test]
    fn a_text_of_a_million_numbers_is_searched_at_once() {
        let prefix = NumberPrefix::parse("CS").unwrap();
        for text in ["1 ".repeat(1_000_000), " ".repeat(1_000_000) + &"1 ".repeat(500_000)] {
            assert_eq!(prefix.find(&text), None);
            let last = Some(Mention { number: TicketNumber(7), has_prefix: true });
            assert_eq!(prefix.find(&(text + "CS-7")), last);
        }
    }

    #[test]
    fn a_number_is_found_as_mails_and_people_write_it() {
        let prefix = NumberPrefix::parse("CS").unwrap();
        for (text, has_prefix) in [
            ("[CS-100159]", true),
            ("Re: [CS-100159] 2 sites are down", true),
            ("Re: [CS-100159] New ticket: #5 is down", true),
            ("#CS-100159", true),
            ("CS100159", true),
            ("cs 100159", true),
            ("CS-100159.", true),
            ("CS\u{2011}100159", true),
            ("CS – 100159", true),
            ("CS_100159,", true),
            ("CS#100159", true),
            ("CS: 100159", true),
            ("cs №100159", true),
            ("the answer in CS-100159?", true),
            ("(cs-100159)", true),
            ("https://desk.example.com/tickets/CS-100159", true),
            // The letters are Cyrillic.
            ("СS-100159", true),
            ("#100159", false),
            ("# 100159", false),
            ("№ 100159", false),
            ("100159.", false),
            ("[100159]", false),
            ("ticket 100159", false),
            ("Ticket #100159 is open", false),
            ("заявка 100159", false),
            ("по заявке № 100159", false),
            ("No. 100159", false),
        ] {
            let expected = Mention { number: TicketNumber(100_159), has_prefix };
            assert_eq!(prefix.find(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "CS",
            "XX-1",
            "23 4",
            "error 100159",
            "CS-100159x",
            "ACS-100159",
            "-CS-1",
            "CS-99999999999999999999",
            "10.0.0.1",
            "-100159",
            "v100159",
        ] {
            assert_eq!(prefix.find(text), None, "{text}");
        }
    }
}
