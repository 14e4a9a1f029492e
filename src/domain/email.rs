//! E-mail addresses: which can be mailed, and which are equal.

use std::{borrow::Cow, fmt};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::{
    character,
    text::{SingleLine, TextError},
};

/// The maximum length of an address whose domain is in ASCII, in bytes (RFC 5321).
pub const MAX_LENGTH: usize = 254;
/// The maximum length of what comes before the `@`, in bytes (RFC 5321).
const MAX_LOCAL: usize = 64;
/// The domain of the addresses of erased accounts. It can never exist (RFC 2606).
pub const ERASED_DOMAIN: &str = "erased.invalid";

const FORM: TextError = TextError::Malformed("an e-mail address like name@example.com");
const LONG_LOCAL: TextError =
    TextError::Malformed("an e-mail address with at most 64 bytes before the @");
const OUTER_DOT: TextError =
    TextError::Malformed("an e-mail address without a dot at its start or before the @");
const NO_DOMAIN: TextError = TextError::Malformed(
    "an e-mail address with a valid domain after the @, like name@example.com",
);
const NETWORK_ADDRESS: TextError =
    TextError::Malformed("an e-mail address with a domain after the @, not a network address");

/// An e-mail address to which mail can be sent. It is in lower case, with its domain in Unicode and
/// without quotes. Addresses that differ only in case, in the encoding of their domain (IDNA) or
/// in the composition of their accents are equal, so they belong to the same account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Parses an address.
    ///
    /// # Errors
    /// The text is empty, or is not an address that can be mailed. What comes before the `@` may
    /// consist of letters, digits, dots and ``!#$%&'*+-/=?^_`{|}~`` and has at most 64 bytes.
    /// After it comes a domain. Both have at most 254 bytes with the domain in ASCII.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let line = SingleLine::<MAX_LENGTH>::parse(&text.to_lowercase())?;
        let (local, domain) = line.as_str().rsplit_once('@').ok_or(FORM)?;
        let local = unquoted(local);
        check_local(&local)?;
        if domain.starts_with('[') {
            return Err(NETWORK_ADDRESS);
        }
        let domain = ascii_domain(domain).ok_or(NO_DOMAIN)?;
        // Nobody may take over what an erased account has left.
        if domain == ERASED_DOMAIN {
            return Err(NO_DOMAIN);
        }
        if domain.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return Err(NETWORK_ADDRESS);
        }
        let actual = local.len() + 1 + domain.len();
        if actual > MAX_LENGTH {
            return Err(TextError::TooLong { max: MAX_LENGTH, actual });
        }
        Ok(Self(format!("{local}@{}", unicode_domain(&domain))))
    }

    /// Parses the address of an account that may have been created when more addresses were
    /// accepted.
    ///
    /// # Errors
    /// The text is empty, longer than 254 characters, contains control characters or spaces, does not
    /// have the form `local@domain`, or is the address of an erased account.
    pub fn lookup(text: &str) -> Result<Self, TextError> {
        Self::parse(text).or_else(|error| {
            let line = SingleLine::<MAX_LENGTH>::parse(&text.to_lowercase())?;
            let (local, domain) = line.as_str().rsplit_once('@').ok_or(FORM)?;
            let plain = |part: &str| {
                !part.is_empty()
                    && !part.contains(|c: char| c.is_whitespace() || "@<>,;\"".contains(c))
            };
            let is_plain = plain(local) && plain(domain) && domain != ERASED_DOMAIN;
            if is_plain { Ok(Self(line.into_string())) } else { Err(error) }
        })
    }

    /// Wraps an address from the database.
    pub fn from_stored(address: String) -> Self {
        Self(address)
    }

    /// Returns the address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the address as mail servers expect it: what comes before the `@`, in quotes if it
    /// needs them, and the domain in ASCII.
    ///
    /// What comes before the `@` is not changed otherwise: if an older version has stored separate
    /// accents, the address with composed ones may be another person's.
    ///
    /// # Errors
    /// The address was stored when more addresses were accepted.
    pub fn for_mail(&self) -> Result<(String, String), TextError> {
        Self::parse(&self.0)?;
        let (local, domain) = self.0.rsplit_once('@').ok_or(FORM)?;
        let domain = ascii_domain(domain).ok_or(NO_DOMAIN)?.into_owned();
        let local = unquoted(local).into_owned();
        // Parsing has also trimmed the text.
        check_local(&local.nfc().collect::<String>())?;
        let quoted = needs_quotes(&local);
        Ok((if quoted { format!("\"{local}\"") } else { local }, domain))
    }

    /// Returns whether both are spellings of one address.
    pub fn is_spelling_of(&self, other: &Self) -> bool {
        self == other || other.spellings().contains(&self.0)
    }

    /// Returns the same text for all spellings of one address, to count or compare by.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let Some((local, domain)) = self.0.rsplit_once('@') else { return self.clone() };
        let Some(ascii) = ascii_domain(domain) else { return self.clone() };
        let local = local.nfc().collect::<String>();
        Self(format!("{local}@{}", unicode_domain(&ascii)))
    }

    /// Returns the texts under which an account with this address may be stored: this one, and
    /// those that were not equal to it in the past.
    pub fn spellings(&self) -> Vec<String> {
        let Some((local, domain)) = self.0.rsplit_once('@') else { return vec![self.0.clone()] };
        let Some(ascii) = ascii_domain(domain) else { return vec![self.0.clone()] };
        let unicode = unicode_domain(&ascii);
        let mut spellings = vec![self.0.clone()];
        for local in [local.nfc().collect::<String>(), local.nfd().collect()] {
            let decomposed = unicode.nfd().collect::<String>();
            for domain in [unicode.as_str(), &ascii, &decomposed] {
                spellings.push(format!("{local}@{domain}"));
            }
        }
        spellings.sort();
        spellings.dedup();
        spellings
    }
}

/// Returns a domain in ASCII (IDNA), or `None` if it is none.
pub fn ascii_domain(domain: &str) -> Option<Cow<'_, str>> {
    let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    Uts46::new().to_ascii(domain.as_bytes(), deny, hyphens, DnsLength::Verify).ok()
}

/// Returns a domain in Unicode, or as it is if it cannot be decoded.
pub(super) fn unicode_domain(ascii: &str) -> String {
    let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let (unicode, valid) = Uts46::new().to_unicode(ascii.as_bytes(), deny, hyphens);
    if valid.is_ok() { unicode.into_owned() } else { ascii.to_owned() }
}

/// Returns what comes before the `@` without the quotes that it may have.
fn unquoted(local: &str) -> Cow<'_, str> {
    let inner = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or(Cow::Borrowed(local), |inner| inner.replace('\\', "").into())
}

/// Whether a text that is accepted before the `@` must be quoted there (RFC 5322): it has two dots
/// in a row, which some providers allow.
fn needs_quotes(local: &str) -> bool {
    local.contains("..")
}

fn check_local(local: &str) -> Result<(), TextError> {
    if local.is_empty() || local.contains(|c: char| c.is_whitespace() || "@<>".contains(c)) {
        return Err(FORM);
    }
    if local.starts_with('.') || local.ends_with('.') {
        return Err(OUTER_DOT);
    }
    let mut previous = ' ';
    for character in local.chars() {
        let accent = is_combining_mark(character);
        let allowed = match character {
            _ if character.is_ascii() => {
                character.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(character)
            }
            // An accent on an ASCII letter that no letter exists for.
            _ if accent => !previous.is_ascii(),
            _ => character::is_visible(character),
        };
        if !allowed {
            return Err(TextError::Unsuitable { character });
        }
        previous = character;
    }
    let quotes = if needs_quotes(local) { 2 } else { 0 };
    if local.len() + quotes > MAX_LOCAL { Err(LONG_LOCAL) } else { Ok(()) }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// An address is personal data and must not appear in logs.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EmailAddress(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        EmailAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).0
    }

    #[test]
    fn an_address_is_trimmed_and_converted_to_lower_case() {
        assert_eq!(parsed(" Anna@Example.COM "), "anna@example.com");
        assert_eq!(parsed("\u{FEFF}anna@example.com\u{200B}"), "anna@example.com");
    }

    #[test]
    fn addresses_that_look_equal_are_equal() {
        for (one, other) in [
            ("anna@почта.рф", "ANNA@XN--80A1ACNY.XN--P1AI"),
            ("anna@почта.рф", "anna@ПОЧТА。рф"),
            ("jose\u{301}@example.com", "josé@example.com"),
            ("anna@cafe\u{301}.example", "anna@CAFÉ.example"),
            ("\"anna.s\"@example.com", "anna.s@example.com"),
        ] {
            assert_eq!(parsed(one), parsed(other));
        }
        assert_eq!(parsed("anna@xn--80a1acny.xn--p1ai"), "anna@почта.рф");
        let stored = EmailAddress::from_stored("anna@xn--80a1acny.xn--p1ai".into());
        assert!(stored.spellings().contains(&"anna@почта.рф".into()));
        let typed = EmailAddress::parse("anna@почта.рф").unwrap();
        assert!(typed.spellings().contains(&stored.0));
        assert_eq!(stored.canonical(), typed.canonical());
        for spelling in typed.spellings() {
            assert_eq!(EmailAddress::from_stored(spelling).canonical(), typed);
        }
    }

    #[test]
    fn an_address_that_cannot_be_mailed_is_rejected_with_the_reason() {
        for (text, reason) in [
            ("a", "like name@example.com"),
            ("a@", "a valid domain"),
            ("@b", "like name@example.com"),
            ("a b@c", "like name@example.com"),
            ("a@b@c", "like name@example.com"),
            ("<a@b>", "like name@example.com"),
            ("a@b\r\nBcc: c@d", "a single line"),
            ("a@.b", "a valid domain"),
            ("a@b.", "a valid domain"),
            ("x@example..com", "a valid domain"),
            ("x@-example.com", "a valid domain"),
            ("x@example-.com", "a valid domain"),
            ("x@exa_mple.com", "a valid domain"),
            ("x@exa mple.com", "a valid domain"),
            ("x@xn--a.com", "a valid domain"),
            ("x@Erased.INVALID", "a valid domain"),
            (".x@example.com", "without a dot at its start"),
            ("x.@example.com", "without a dot at its start"),
            ("x@[192.0.2.1]", "not a network address"),
            ("x@192.0.2.1", "not a network address"),
            ("x@example.123", "not a network address"),
            ("mailto:x@example.com", "must not contain `:`"),
            ("a(b)@example.com", "must not contain `(`"),
            ("a\\b@example.com", "must not contain `\\`"),
            ("a\u{3164}b@example.com", "(U+3164)"),
            ("İx@example.com", "(U+0307)"),
        ] {
            let error = EmailAddress::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(EmailAddress::parse(" \u{200B}"), Err(TextError::Empty));
        let long = |local, label| format!("{}@{}.com", "a".repeat(local), "b".repeat(label));
        assert_eq!(EmailAddress::parse(&long(65, 9)), Err(LONG_LOCAL));
        assert_eq!(EmailAddress::parse(&long(9, 64)), Err(NO_DOMAIN));
        assert!(EmailAddress::parse(&long(64, 63)).is_ok());
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(250))).is_err());
    }

    #[test]
    fn an_address_of_an_older_version_can_be_looked_up() {
        for text in ["x@[192.0.2.1]", "mailto:x@example.com", "x@example..com"] {
            assert_eq!(EmailAddress::lookup(&text.to_uppercase()).unwrap().as_str(), text);
            assert!(EmailAddress::from_stored(text.into()).for_mail().is_err());
        }
        for text in ["", "a", "a b@c", "a@b@c", "a\0@b"] {
            assert!(EmailAddress::lookup(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_for_mail_has_an_ascii_domain_and_quotes_where_they_are_needed() {
        for (text, local, domain) in [
            ("a..b@example.com", "\"a..b\"", "example.com"),
            ("a...b@example.com", "\"a...b\"", "example.com"),
            ("o'neil+x@пример.рф", "o'neil+x", "xn--e1afmkfd.xn--p1ai"),
            ("संपर्क@डाटामेल.भारत", "संपर्क", "xn--c2bd4bq1db8d.xn--h2brj9c"),
        ] {
            let address = EmailAddress::parse(text).unwrap();
            assert_eq!(address.for_mail(), Ok((local.to_owned(), domain.to_owned())));
        }
        let stored = |text: &str| EmailAddress::from_stored(text.to_owned()).for_mail();
        let expected = ("jose\u{301}".to_owned(), "example.com".to_owned());
        assert_eq!(stored("jose\u{301}@example.com"), Ok(expected));
        for text in [" a@example.com", "a@example.com\r\n", "\u{200B}a@example.com", "a@b\u{2028}"]
        {
            assert!(stored(text).is_err(), "{text:?}");
        }
    }
}
