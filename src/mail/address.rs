//! Addresses as mail servers expect them: with their domains in ASCII (IDNA).

use std::fmt::Display;

use lettre::{Address, message::Mailbox};

use crate::domain::email::{EmailAddress, ascii_domain};

/// Converts the address of a recipient. If what comes before the `@` is not ASCII, it stays as it
/// is, and the mail server must support SMTPUTF8.
///
/// # Errors
/// No mail can be sent to the address. The text says why.
pub(super) fn recipient(address: &str) -> Result<Address, String> {
    let invalid = |problem: &dyn Display| format!("the e-mail address is invalid: it {problem}");
    if !address.contains('@') {
        return Err(invalid(&"has no @"));
    }
    let wire = EmailAddress::from_stored(address.to_owned()).for_mail();
    let (local, domain) = wire.map_err(|error| invalid(&error))?;
    // The parts are checked; lettre accepts fewer letters.
    Ok(Address::new_dangerous(local, domain))
}

/// Parses the sender, like `Example Support <support@example.com>`. Its address may have an
/// internationalised domain.
///
/// # Errors
/// The text has no valid address.
pub fn parse_sender(text: &str) -> Result<Mailbox, String> {
    let mut mailbox = text.parse::<Mailbox>().map_err(|error| error.to_string())?;
    if let Some(domain) = ascii_domain(mailbox.email.domain()) {
        mailbox.email = Address::new(mailbox.email.user(), domain).map_err(|e| e.to_string())?;
    }
    Ok(mailbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_has_an_ascii_domain_and_quotes_where_they_are_needed() {
        for (address, wire) in [
            ("anna@почта.рф", "anna@xn--80a1acny.xn--p1ai"),
            ("a..b@example.com", "\"a..b\"@example.com"),
            ("संपर्क@example.com", "संपर्क@example.com"),
        ] {
            assert_eq!(recipient(address).unwrap().to_string(), wire);
        }
        let error = recipient("x@[192.0.2.1]").unwrap_err();
        assert!(error.starts_with("the e-mail address is invalid: it must be"), "{error}");
    }

    #[test]
    fn a_sender_has_an_ascii_domain() {
        let sender = parse_sender("Поддержка <support@пример.рф>").unwrap();
        assert_eq!(sender.email.to_string(), "support@xn--e1afmkfd.xn--p1ai");
        assert_eq!(sender.name.as_deref(), Some("Поддержка"));
        assert!(parse_sender("nobody").is_err());
    }
}
