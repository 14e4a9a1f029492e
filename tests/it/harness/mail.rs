//! A server that sends mail, and the mail server that receives it.

use ticketwire::domain::account::Role;

use super::{Client, TestServer, smtp::Smtp};

/// Mail settings for an SMTP URL: no window.
pub fn settings(url: &str) -> Vec<(&'static str, String)> {
    [
        ("mail.smtp_url", url),
        ("mail.from", "Help Desk <desk@example.com>"),
        ("mail.signing_key", "0123456789abcdef0123456789abcdef"),
        ("mail.window_seconds", "0"),
        ("mail.timeout_seconds", "20"),
        ("links.base_url", "https://desk.example.com"),
        ("links.ticket", "https://portal.example.com/tickets/{number}"),
        ("mail.staff_addresses", "sales=sales@example.com"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .into()
}

/// The same settings as environment variables, for a server on this database.
pub fn variables(url: &str, database: &str) -> Vec<(String, String)> {
    let mut variables = vec![("DATABASE_URL".to_owned(), database.to_owned())];
    variables.extend(settings(url).into_iter().map(|(key, value)| {
        (format!("TICKETWIRE_{}", key.replace('.', "_").to_uppercase()), value)
    }));
    variables
}

/// [`variables`] as borrowed pairs, which [`Process`](super::process::Process) expects.
pub fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A server that sends mail, with a customer and an agent.
pub struct MailFixture {
    pub server: TestServer,
    /// The mail server that receives its mail.
    pub smtp: Smtp,
    /// A customer: anna@example.com.
    pub anna: Client,
    /// An agent: boris@example.com.
    pub boris: Client,
}

impl MailFixture {
    /// Starts the server and its mail server.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts both with settings that override the usual ones.
    pub async fn start_with(more: &[(&'static str, &str)]) -> Self {
        let smtp = Smtp::start().await;
        let mut flags = settings(&smtp.url());
        flags.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let server = TestServer::start_with(&flags).await;
        let anna = server.sign_up("Anna", Role::Customer).await;
        let boris = server.sign_up("Boris", Role::Agent).await;
        Self { server, smtp, anna, boris }
    }
}
