//! The checks of other servers: mail, DNS, and the address in links.

use std::time::Duration;

use hickory_resolver::{TokioResolver, lookup::Lookup, net::NetError, proto::rr::RData};
use reqwest::{Client, redirect::Policy};

use super::check::{Check, Problem};
use crate::{
    app::{self, mail},
    config::Config,
    domain::causes::with_causes,
};

/// How long all questions to the DNS may take.
const DNS_LIMIT: Duration = Duration::from_secs(4);
/// What to do if the DNS does not answer.
pub(super) const DNS_FIX: &str = "correct the DNS servers in /etc/resolv.conf";

/// Before the first start there is nothing to check.
const NO_INSTALLATION: &str = "not asked: there is no installation yet";

/// Checks the mail server: its greeting, TLS, authentication, and whether it accepts the sender.
pub(super) async fn check_mail_server(config: &Config) -> Check {
    if app::lacks_installation(config) {
        return Ok(NO_INSTALLATION.into());
    }
    let mail = mail::set_up_for_command(config, &app::ambient());
    let unusable = |error| Problem::new(error, "correct the setting that the message names");
    let Some(mail) = mail.map_err(unusable)? else {
        return Ok("not sent by this node: mail.smtp_url is not set".into());
    };
    if let Some(folder) = mail.folder {
        return Ok(format!("written to {}: mail.smtp_url is not set", folder.display()));
    }
    let checked = mail.parts.transport.check(&mail.parts.composer.from.email).await;
    checked.map(|()| "the mail server is ready".into()).map_err(|error| {
        let mend = if error.ends_session() {
            "see in the log of the mail server why it ends the session"
        } else {
            "correct `mail.smtp_url` and `mail.from`, or the mail server"
        };
        Problem::new(error, format!("{mend}; then run `ticketwire mail test ADDRESS`"))
    })
}

/// Checks the DNS records by which other mail servers trust the sender.
pub(super) async fn check_sender(config: &Config) -> Check {
    if config.mail.smtp_url.is_none() {
        return Ok("not asked: mail.smtp_url is not set".into());
    }
    if app::lacks_installation(config) {
        return Ok(NO_INSTALLATION.into());
    }
    let Ok(Some(mail)) = mail::set_up_for_command(config, &app::ambient()) else {
        return Ok("not asked: mail cannot be set up".into());
    };
    let domain = mail.parts.composer.from.email.domain().to_owned();
    if is_reserved(&domain) {
        return Ok(format!("not asked: {domain} is reserved for tests and documents"));
    }
    match tokio::time::timeout(DNS_LIMIT, Records::of(&domain)).await {
        Ok(Ok(records)) => records.check(&domain),
        Ok(Err(error)) => Err(Problem::new(error, DNS_FIX).warning()),
        Err(_) => Err(Problem::new("the DNS does not answer", DNS_FIX).warning()),
    }
}

/// Whether nobody can own a domain (RFC 2606, RFC 6761).
fn is_reserved(domain: &str) -> bool {
    let domain = format!(".{}", domain.to_ascii_lowercase());
    let reserved =
        ["example", "test", "invalid", "localhost", "example.com", "example.net", "example.org"];
    reserved.iter().any(|name| domain.ends_with(&format!(".{name}")))
}

/// Which records a domain has.
struct Records {
    mx: bool,
    spf: bool,
    dmarc: bool,
}

impl Records {
    async fn of(domain: &str) -> Result<Self, NetError> {
        let resolver = TokioResolver::builder_tokio()?.build()?;
        let (name, dmarc) = (format!("{domain}."), format!("_dmarc.{domain}."));
        let mx = found(resolver.mx_lookup(name.clone()).await)?;
        let texts = found(resolver.txt_lookup(name).await)?;
        let dmarc = found(resolver.txt_lookup(dmarc).await)?;
        Ok(Self {
            mx: mx.is_some_and(|found| !found.answers().is_empty()),
            spf: texts.is_some_and(|found| has_text(&found, "v=spf1")),
            dmarc: dmarc.is_some_and(|found| has_text(&found, "v=DMARC1")),
        })
    }

    fn check(&self, domain: &str) -> Check {
        let records = [
            (self.mx, "MX", "so replies and bounces cannot be delivered"),
            (self.spf, "SPF", "so other servers may take mails for spam"),
            (self.dmarc, "DMARC", "so other servers may take mails for spam"),
        ];
        let missing = records.iter().filter(|(exists, ..)| !exists);
        let missing = missing.map(|(_, name, effect)| format!("{name} ({effect})"));
        let missing = missing.collect::<Vec<_>>();
        if missing.is_empty() {
            return Ok(format!("{domain} has MX, SPF and DMARC"));
        }
        let missing = missing.join(", ");
        let fix = format!(
            "add the records to the DNS of {domain}, for example TXT \"v=spf1 mx -all\" at the \
             domain and TXT \"v=DMARC1; p=none\" at _dmarc.{domain}"
        );
        Err(Problem::new(format!("{domain} lacks {missing}"), fix).warning())
    }
}

/// Returns `None` for a name without such records.
fn found(result: Result<Lookup, NetError>) -> Result<Option<Lookup>, NetError> {
    match result {
        Ok(lookup) => Ok(Some(lookup)),
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether one of the TXT records starts with a text.
fn has_text(lookup: &Lookup, start: &str) -> bool {
    let mut texts = lookup.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(text.to_string()),
        _ => None,
    });
    texts.any(|text| text.starts_with(start))
}

/// Checks that the address in links leads to a node. Asks nothing if none is running.
pub(super) async fn check_base_url(config: &Config, nodes: usize) -> Check {
    let Some(base) = &config.links.base_url else { return Ok("not set".into()) };
    let lacks_tls = app::base_url_lacks_tls(config);
    if nodes == 0 && lacks_tls {
        return Err(Problem::new(app::BASE_URL_LACKS_TLS, "correct `links.base_url`").warning());
    }
    if nodes == 0 {
        return Ok(format!("not asked: no node is running ({base})"));
    }
    let url = format!("{}/healthz", base.trim_end_matches('/'));
    let fix = "correct `links.base_url`, the DNS, the certificate or the reverse proxy: \
               `curl -v` of the address shows more";
    // This fails if another part of the process has installed a provider, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asked = async {
        let client = Client::builder().redirect(Policy::limited(3)).build()?;
        let response = client.get(&url).send().await?;
        Ok::<_, reqwest::Error>((response.status(), response.text().await?))
    };
    match asked.await {
        Ok((status, text)) if status.is_success() && text.trim() == "ok" => {
            Ok(format!("{base} leads to a node"))
        }
        Ok(_) if lacks_tls => {
            Err(Problem::new(app::BASE_URL_LACKS_TLS, "correct `links.base_url`"))
        }
        Ok((status, _)) => {
            let problem = format!("{url} answers {status}, and not as a node does");
            Err(Problem::new(problem, fix))
        }
        Err(error) => {
            let cause = in_words(&with_causes(&error));
            Err(Problem::new(format!("{url} cannot be reached: {cause}"), fix))
        }
    }
}

/// Returns the text of an error of a connection, without what only rustls calls so.
fn in_words(error: &str) -> String {
    for (name, words) in [
        ("CaUsedAsEndEntity", "its certificate is that of an authority and not of a server"),
        ("UnknownIssuer", "this machine does not trust the issuer of its certificate"),
    ] {
        if error.contains(name) {
            return words.to_owned();
        }
    }
    error.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_domains_are_not_asked_about() {
        for domain in ["example.com", "desk.Example.com", "mail.test", "localhost"] {
            assert!(is_reserved(domain), "{domain}");
        }
        for domain in ["notexample.com", "test.example-hosting.com", "latest"] {
            assert!(!is_reserved(domain), "{domain}");
        }
    }

    #[test]
    fn records_that_a_sender_lacks_are_a_warning_that_says_what_to_add() {
        let complete = Records { mx: true, spf: true, dmarc: true };
        assert_eq!(complete.check("a.example").unwrap(), "a.example has MX, SPF and DMARC");
        let lacking = Records { spf: false, dmarc: false, ..complete };
        let problem = format!("{:?}", lacking.check("a.example").unwrap_err());
        for part in
            ["lacks SPF (", "DMARC (", "v=spf1 mx -all", "_dmarc.a.example", "is_warning: true"]
        {
            assert!(problem.contains(part), "{part}: {problem}");
        }
        assert!(!problem.contains("MX ("), "{problem}");
    }
}
