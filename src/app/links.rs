//! The links that the server sends people, with placeholders for what differs: to pages of the
//! installation's own, or to built-in ones.

use std::net::SocketAddr;

use crate::config::Config;

/// Returns the URL of this server as people reach it, without a slash at its end. `address` is
/// where it listens.
fn base_url(config: &Config, address: SocketAddr) -> String {
    match &config.links.base_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("{}://{address}", scheme(config)),
    }
}

/// Returns the scheme of the server's own URLs.
fn scheme(config: &Config) -> &'static str {
    if config.speaks_tls() { "https" } else { "http" }
}

/// Returns the link to a ticket: the configured one, or that of the portal. `None` without both.
pub(super) fn ticket(config: &Config, address: SocketAddr) -> Option<String> {
    let built_in = || format!("{}/tickets/{{number}}", base_url(config, address));
    config.links.ticket.clone().or_else(|| config.portal.then(built_in))
}

/// Returns the link to the page for customers who come from the control panel. The token is in the
/// fragment, which no server logs.
pub(super) fn handoff(config: &Config, address: SocketAddr) -> String {
    let built_in = || format!("{}/handoff#token={{token}}", base_url(config, address));
    config.links.handoff.clone().unwrap_or_else(built_in)
}

/// Returns the link to the page for a new password. The token is in the fragment, which no server
/// logs.
pub(super) fn reset_password(config: &Config, address: SocketAddr) -> String {
    let built_in = || format!("{}/reset-password#token={{token}}", base_url(config, address));
    config.links.reset_password.clone().unwrap_or_else(built_in)
}

/// Returns the link to the page for unsubscribing from a ticket's mails.
pub(super) fn unsubscribe(config: &Config, address: SocketAddr) -> String {
    config.links.unsubscribe.clone().unwrap_or_else(|| one_click(config, address))
}

/// Returns the link to which mail programs send a POST request to unsubscribe (RFC 8058). A page of
/// the installation's own cannot answer it.
pub(super) fn one_click(config: &Config, address: SocketAddr) -> String {
    format!("{}/unsubscribe?token={{token}}", base_url(config, address))
}
