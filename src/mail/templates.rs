//! The templates of mails.
//!
//! Each template is a folder with a subject, a text part and an HTML part in every language. They
//! are embedded in the binary. Files of the same names in an operator's folder replace them.

use std::{collections::BTreeMap, fs, path::Path};

use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::domain::account::Locale;

/// The kinds of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Confirms a new ticket to the customer who opened it.
    TicketCreated,
    /// Notifies staff of a new ticket.
    TicketOpened,
    /// Reports what has happened on a ticket to its customers.
    TicketUpdated,
    /// Contains a one-time code.
    Code,
    /// Contains a link to reset a password.
    PasswordReset,
    /// Reports a new account to its owner, with a link to set its first password.
    Invitation,
    /// Invites somebody to take part in a ticket.
    TicketInvitation,
    /// Reports a change to an account to its owner.
    SecurityNotice,
    /// Sent by `ticketwire mail test`.
    Test,
}

impl Template {
    const ALL: [Self; 9] = [
        Self::TicketCreated,
        Self::TicketOpened,
        Self::TicketUpdated,
        Self::Code,
        Self::PasswordReset,
        Self::Invitation,
        Self::TicketInvitation,
        Self::SecurityNotice,
        Self::Test,
    ];

    fn folder(self) -> &'static str {
        match self {
            Self::TicketCreated => "ticket_created",
            Self::TicketOpened => "ticket_opened",
            Self::TicketUpdated => "ticket_updated",
            Self::Code => "code",
            Self::PasswordReset => "password_reset",
            Self::Invitation => "invitation",
            Self::TicketInvitation => "ticket_invitation",
            Self::SecurityNotice => "security_notice",
            Self::Test => "test",
        }
    }
}

/// The rendered parts of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The subject, on a single line.
    pub subject: String,
    /// The plain text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// Why the templates could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A file or folder of the operator's cannot be read.
    #[error("{path}: {cause}")]
    File {
        /// The path of the file or folder.
        path: String,
        /// The error of the operating system.
        cause: String,
    },
    /// A file that replaces no template, probably because its name is misspelt.
    #[error("{path}: there is no template `{name}`; the templates are {known}")]
    Unknown {
        /// The path of the file.
        path: String,
        /// The name that it has as a template.
        name: String,
        /// The names of all templates.
        known: String,
    },
    /// A template with a syntax error, or one that uses an unknown value.
    #[error("{location}: {cause}")]
    Syntax {
        /// The file and the line.
        location: String,
        /// The error of the template engine.
        cause: String,
    },
}

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("templates/", $name)))),+]
    };
}

/// The name and the text of every file.
const EMBEDDED: &[(&str, &str)] = embedded![
    "parts/layout.html",
    "parts/ticket.html",
    "parts/changes.en.html",
    "parts/changes.en.txt",
    "parts/changes.ru.html",
    "parts/changes.ru.txt",
    "parts/footer.en.html",
    "parts/footer.en.txt",
    "parts/footer.ru.html",
    "parts/footer.ru.txt",
    "parts/security.en.txt",
    "parts/security.ru.txt",
    "ticket_created/subject.en.txt",
    "ticket_created/text.en.txt",
    "ticket_created/body.en.html",
    "ticket_created/subject.ru.txt",
    "ticket_created/text.ru.txt",
    "ticket_created/body.ru.html",
    "ticket_opened/subject.en.txt",
    "ticket_opened/text.en.txt",
    "ticket_opened/body.en.html",
    "ticket_opened/subject.ru.txt",
    "ticket_opened/text.ru.txt",
    "ticket_opened/body.ru.html",
    "ticket_updated/subject.en.txt",
    "ticket_updated/text.en.txt",
    "ticket_updated/body.en.html",
    "ticket_updated/subject.ru.txt",
    "ticket_updated/text.ru.txt",
    "ticket_updated/body.ru.html",
    "code/subject.en.txt",
    "code/text.en.txt",
    "code/body.en.html",
    "code/subject.ru.txt",
    "code/text.ru.txt",
    "code/body.ru.html",
    "password_reset/subject.en.txt",
    "password_reset/text.en.txt",
    "password_reset/body.en.html",
    "password_reset/subject.ru.txt",
    "password_reset/text.ru.txt",
    "password_reset/body.ru.html",
    "invitation/subject.en.txt",
    "invitation/text.en.txt",
    "invitation/body.en.html",
    "invitation/subject.ru.txt",
    "invitation/text.ru.txt",
    "invitation/body.ru.html",
    "ticket_invitation/subject.en.txt",
    "ticket_invitation/text.en.txt",
    "ticket_invitation/body.en.html",
    "ticket_invitation/subject.ru.txt",
    "ticket_invitation/text.ru.txt",
    "ticket_invitation/body.ru.html",
    "security_notice/subject.en.txt",
    "security_notice/text.en.txt",
    "security_notice/body.en.html",
    "security_notice/subject.ru.txt",
    "security_notice/text.ru.txt",
    "security_notice/body.ru.html",
    "test/subject.en.txt",
    "test/text.en.txt",
    "test/body.en.html",
    "test/subject.ru.txt",
    "test/text.ru.txt",
    "test/body.ru.html",
];

/// All templates, checked.
pub struct Templates(Environment<'static>);

impl Templates {
    /// Loads the embedded templates, with those in `folder` replacing them, and renders each with
    /// sample values.
    ///
    /// # Errors
    /// A file in `folder` cannot be read, replaces no template, or cannot be rendered.
    pub fn load(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let sources = sources(folder)?;
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        for (name, source) in &sources {
            environment
                .add_template_owned(name.clone(), source.text.clone())
                .map_err(|error| locate(&error, &sources))?;
        }
        let templates = Self(environment);
        for template in Template::ALL {
            for (locale, with_optional) in [(Locale::En, true), (Locale::Ru, false)] {
                templates
                    .render(template, locale, &sample(with_optional))
                    .map_err(|error| locate(&error, &sources))?;
            }
        }
        Ok(templates)
    }

    /// Renders the parts of a mail.
    ///
    /// # Errors
    /// The template uses a value that `context` lacks.
    pub fn render(
        &self,
        template: Template,
        locale: Locale,
        context: &Value,
    ) -> Result<Rendered, minijinja::Error> {
        let locale = match locale {
            Locale::En => "en",
            Locale::Ru => "ru",
        };
        let part = |file: &str, extension: &str| {
            let name = format!("{}/{file}.{locale}.{extension}", template.folder());
            self.0.get_template(&name)?.render(context! { locale, ..context.clone() })
        };
        let subject = part("subject", "txt")?;
        Ok(Rendered {
            // Line breaks in a ticket's summary must not start a new header.
            subject: subject
                .split(char::is_control)
                .collect::<Vec<_>>()
                .join(" ")
                .trim()
                .to_owned(),
            text: part("text", "txt")?.trim_end().to_owned() + "\n",
            html: part("body", "html")?,
        })
    }
}

/// The text of a template, and where it comes from.
struct Source {
    origin: String,
    text: String,
}

/// Returns all templates by name: the embedded ones, with those in `folder` replacing them.
fn sources(folder: Option<&Path>) -> Result<BTreeMap<String, Source>, TemplateError> {
    let embedded = |&(name, text): &(&str, &str)| {
        (name.to_owned(), Source { origin: format!("embedded {name}"), text: text.to_owned() })
    };
    let mut sources = EMBEDDED.iter().map(embedded).collect::<BTreeMap<_, _>>();
    let Some(folder) = folder else { return Ok(sources) };
    for (name, path, text) in read_folder(folder)? {
        let Some(source) = sources.get_mut(&name) else {
            let known = EMBEDDED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(TemplateError::Unknown { path, name, known });
        };
        *source = Source { origin: path, text };
    }
    Ok(sources)
}

/// Adds the file and the line to an error of the template engine.
fn locate(error: &minijinja::Error, sources: &BTreeMap<String, Source>) -> TemplateError {
    // The innermost error names the line at fault. The outer ones name the lines that include it.
    let mut innermost = error;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<minijinja::Error>() {
            innermost = cause;
        }
        source = cause.source();
    }
    let name = innermost.name().unwrap_or_default();
    let file = sources.get(name).map_or(name, |source| source.origin.as_str());
    let line = innermost.line().map(|line| format!(":{line}")).unwrap_or_default();
    let detail = innermost.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    TemplateError::Syntax {
        location: format!("{file}{line}"),
        cause: format!("{}{detail}", innermost.kind()),
    }
}

/// A value for everything that a template may use. Without `with_optional`, the optional ones are
/// none.
fn sample(with_optional: bool) -> Value {
    let link = with_optional.then_some("https://example.com/");
    context! {
        desk => "Support",
        heading => "CS-1",
        name => "I",
        code => "123456",
        email => "i@example.com",
        link,
        number => "CS-1",
        merged => with_optional.then_some("CS-2"),
        expires_at => "2026-01-15",
        what => context! { change => "second_factor_added", method => "email", left => 3 },
        device => link,
        address => link,
        at => "2026-01-01 00:00 UTC",
        follows => with_optional,
        unsubscribe_link => link,
        ticket => context! {
            number => "CS-1", summary => "A", description => "B", status => "C", category => "D",
            reporter => "E", opened_by => link, link, files => vec!["K"],
        },
        changes => vec![
            context! { kind => "answer", by => link, text => "F", files => vec!["L"] },
            context! { kind => "status", by => link, from => "G", to => "H" },
            context! { kind => "added", by => link },
            context! { kind => "assigned", by => link },
            context! {
                kind => "merged", by => link, number => "CS-2", is_visible => with_optional,
                is_invited => !with_optional, from => "G", to => "H",
            },
        ],
    }
}

/// Returns name, path and text of the files in the subfolders of a folder, sorted by name.
fn read_folder(folder: &Path) -> Result<Vec<(String, String, String)>, TemplateError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| TemplateError::File { path, cause: error.to_string() }
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let inner = entry.map_err(failed(folder))?.path();
        if !inner.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&inner).map_err(failed(&inner))? {
            let path = entry.map_err(failed(&inner))?.path();
            let relative = path.strip_prefix(folder).unwrap_or(&path);
            let name = relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            found.push((name, path.display().to_string(), text));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{priority_mail::SecurityChange, second_factor::Method};

    fn example(locale: Locale) -> Value {
        let en = locale == Locale::En;
        let pick = |a: &'static str, b: &'static str| if en { a } else { b };
        context! {
            desk => pick("Example Hosting Support", "Поддержка «Пример-Хостинг»"),
            heading => "CS-234567",
            name => pick("Anna Smith", "Анна Смирнова"),
            code => "081804",
            email => "anna@example.com",
            link => "https://desk.example.com/reset-password#token=abc",
            number => "CS-234567",
            merged => None::<&str>,
            expires_at => "2026-01-15",
            what => context! { change => "second_factor_added", method => "authenticator" },
            device => "Mozilla/5.0 (X11; <b>Linux</b>) Firefox/150.0",
            address => "203.0.113.9",
            at => "2026-01-01 12:00 UTC",
            follows => true,
            unsubscribe_link => "https://desk.example.com/unsubscribe?token=abc",
            ticket => context! {
                number => "CS-234567",
                summary => pick("The site <b>does not</b> open", "Сайт <b>не открывается</b>"),
                description => pick(
                    "Since this morning I get:\n\n<script>alert(1)</script> {{ 7 * 7 }}\n\nPlease help.",
                    "С утра вижу вот это:\n\n<script>alert(1)</script> {{ 7 * 7 }}\n\nПомогите, пожалуйста.",
                ),
                status => "", category => pick("Technical Support", "Техническая поддержка"),
                reporter => pick("Anna Smith", "Анна Смирнова"), opened_by => None::<&str>,
                files => vec!["error log.txt", "<b>.png"],
                link => "https://portal.example.com/tickets/CS-234567",
            },
            changes => vec![
                context! { kind => "answer", by => pick("Boris", "Борис"), text => pick(
                    "Good morning!\n\nWe have restarted the web server: does the site open now?",
                    "Доброе утро!\n\nМы перезапустили веб-сервер: открывается ли сайт теперь?",
                ), files => vec!["vhost.conf"] },
                context! { kind => "answer", by => "B", files => None::<Vec<String>>,
                    text => "host        state\n\tweb1    up\n    web2    down" },
                context! { kind => "status", by => "B", from => pick("Waiting for support", "Ожидает поддержки"),
                    to => pick("Waiting for customer", "Ожидает клиента") },
                context! { kind => "added", by => pick("Boris", "Борис") },
                context! { kind => "merged", by => "B", number => "CS-345678", is_visible => en,
                    is_invited => !en, from => "", to => "" },
            ],
        }
    }

    #[test]
    fn mails_are_rendered_as_in_their_snapshots() {
        let templates = Templates::load(None).unwrap();
        for template in Template::ALL {
            for (locale, name) in [(Locale::En, "en"), (Locale::Ru, "ru")] {
                let mail = templates.render(template, locale, &example(locale)).unwrap();
                let whole = format!("{}\n\n{}\n\n{}", mail.subject, mail.text, mail.html);
                insta::assert_snapshot!(format!("{}_{name}", template.folder()), whole);
                if let Some(folder) = std::env::var_os("TICKETWIRE_MAIL_PREVIEW") {
                    let path =
                        Path::new(&folder).join(format!("{}_{name}.html", template.folder()));
                    fs::write(path, mail.html).unwrap();
                }
            }
        }
    }

    #[test]
    fn every_security_change_has_its_own_subject_and_text() {
        use SecurityChange::*;
        let templates = Templates::load(None).unwrap();
        let changes = [
            NewDevice,
            PasswordChanged,
            EmailChanged,
            SecondFactorAdded { method: Method::Authenticator },
            SecondFactorAdded { method: Method::Email },
            SecondFactorRemoved { method: Method::Authenticator },
            SecondFactorRemoved { method: Method::Email },
            SecondFactorsReset,
            RecoveryCodeUsed { left: 9 },
            RecoveryCodeUsed { left: 0 },
            RecoveryCodesRegenerated,
            SecondFactorFailed,
        ];
        for (locale, name) in [(Locale::En, "en"), (Locale::Ru, "ru")] {
            let mails = changes.map(|change| {
                let context = context! { what => change, ..example(locale) };
                let mail = templates.render(Template::SecurityNotice, locale, &context).unwrap();
                let sentence = mail.text.split("\n\n").nth(1).unwrap();
                format!("{}\n{sentence}", mail.subject)
            });
            let whole = mails.join("\n\n");
            insta::assert_snapshot!(format!("security_changes_{name}"), whole);
        }
    }

    #[test]
    fn a_subject_is_one_line() {
        let templates = Templates::load(None).unwrap();
        let ticket = context! { number => "CS-1", summary => "a\r\nBcc: eve@example.com\u{2028}x" };
        let context = context! { ticket, ..example(Locale::En) };
        let name = "ticket_created/subject.en.txt";
        let raw = templates.0.get_template(name).unwrap().render(&context).unwrap();
        assert!(raw.contains("\r\n"), "the template itself does not remove line breaks");
        let ticket = context! {
            number => "CS-1", summary => "a\r\nBcc: eve@example.com", description => "x", link => "",
            opened_by => "", files => (),
        };
        let context = context! { ticket, ..example(Locale::En) };
        let mail = templates.render(Template::TicketCreated, Locale::En, &context).unwrap();
        assert_eq!(mail.subject, "[CS-1] a  Bcc: eve@example.com");
    }

    #[test]
    fn an_operators_folder_replaces_templates_and_errors_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let load = || Templates::load(Some(folder.path()));
        file("ticket_created/subject.en.txt", "Ours: {{ ticket.summary }}");
        let mail =
            load().unwrap().render(Template::TicketCreated, Locale::En, &example(Locale::En));
        assert!(mail.unwrap().subject.starts_with("Ours: "));
        for (text, expected) in [
            ("one\ntwo {{ ticket.summary", "ticket_created/subject.en.txt:2"),
            ("one\ntwo\n{% if x %}", "ticket_created/subject.en.txt:3"),
            ("{{ ticket.sumary }}", "ticket_created/subject.en.txt:1"),
            ("{% include 'nowhere' %}", "ticket_created/subject.en.txt:1"),
        ] {
            file("ticket_created/subject.en.txt", text);
            let error = load().err().unwrap().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        file("ticket_created/subject.en.txt", "x");
        file("ticket_created/subjekt.en.txt", "x");
        let error = load().err().unwrap().to_string();
        assert!(error.contains("there is no template `ticket_created/subjekt.en.txt`"), "{error}");
    }
}
