//! The texts of mails: a folder a template with a subject, a text and an HTML part
//! in each language, embedded in the binary. An operator's folder of the same shape
//! replaces any of them.

use std::{collections::BTreeMap, fs, path::Path};

use minijinja::{Environment, UndefinedBehavior, Value, context};

use crate::domain::account::Locale;

/// What a mail is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// To its reporter: the ticket has reached us.
    TicketCreated,
    /// To the staff: there is a new ticket.
    TicketOpened,
    /// To its reporter: what has happened to the ticket.
    TicketUpdated,
    /// A one-time code.
    Code,
    /// A link to set a new password.
    PasswordReset,
    /// An account was made: a link to set its first password.
    Invitation,
    /// What was done to an account.
    SecurityNotice,
    /// The operator's trial.
    Test,
}

impl Template {
    const ALL: [Self; 8] = [
        Self::TicketCreated,
        Self::TicketOpened,
        Self::TicketUpdated,
        Self::Code,
        Self::PasswordReset,
        Self::Invitation,
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
            Self::SecurityNotice => "security_notice",
            Self::Test => "test",
        }
    }
}

/// The three texts of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// A line, without line breaks.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: String,
}

/// The templates that can't be used, with file and line.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A file of the operator's can't be read.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: String,
        /// Why.
        cause: String,
    },
    /// A file that replaces nothing: most likely its name is misspelt.
    #[error("{path}: there is no template `{name}`; the templates are {known}")]
    Unknown {
        /// Which.
        path: String,
        /// Its name.
        name: String,
        /// All there are.
        known: String,
    },
    /// A template that can't be read, or that names what there is not.
    #[error("{place}: {cause}")]
    Syntax {
        /// File and line.
        place: String,
        /// What is wrong.
        cause: String,
    },
}

macro_rules! embedded {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("templates/", $name)))),+]
    };
}

/// Name and text of every file.
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

/// All templates, read and tried.
pub struct Templates(Environment<'static>);

impl Templates {
    /// The embedded templates, those in `folder` over them.
    ///
    /// # Errors
    /// A file that can't be read, that replaces nothing, with a syntax error, or
    /// that fails on a sample.
    pub fn load(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut texts = EMBEDDED
            .iter()
            .map(|&(name, text)| (name.to_owned(), (format!("embedded {name}"), text.to_owned())))
            .collect::<BTreeMap<_, _>>();
        if let Some(folder) = folder {
            for (name, path, text) in read_folder(folder)? {
                match texts.get_mut(&name) {
                    Some(entry) => *entry = (path, text),
                    None => {
                        let known = EMBEDDED.iter().map(|(name, _)| *name).collect::<Vec<_>>();
                        return Err(TemplateError::Unknown { path, name, known: known.join(", ") });
                    }
                }
            }
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        let places = texts.iter().map(|(name, (place, _))| (name.clone(), place.clone()));
        let places = places.collect::<BTreeMap<_, _>>();
        for (name, (_, text)) in texts {
            environment.add_template_owned(name, text).map_err(|error| located(&error, &places))?;
        }
        let templates = Self(environment);
        for template in Template::ALL {
            for (locale, link) in [(Locale::En, true), (Locale::Ru, false)] {
                templates
                    .render(template, locale, &sample(link))
                    .map_err(|error| located(&error, &places))?;
            }
        }
        Ok(templates)
    }

    /// Makes the texts of a mail.
    ///
    /// # Errors
    /// The context lacks something that the template names.
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
            // Whatever a summary holds, a subject is one line: nothing becomes a header.
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

/// What is wrong, where.
fn located(error: &minijinja::Error, places: &BTreeMap<String, String>) -> TemplateError {
    // The innermost cause lies where the fault is.
    let mut innermost = error;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<minijinja::Error>() {
            innermost = cause;
        }
        source = cause.source();
    }
    let name = innermost.name().unwrap_or_default();
    let file = places.get(name).map_or(name, String::as_str);
    let line = innermost.line().map(|line| format!(":{line}")).unwrap_or_default();
    let detail = innermost.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    TemplateError::Syntax {
        place: format!("{file}{line}"),
        cause: format!("{}{detail}", innermost.kind()),
    }
}

/// Everything that a template may name, to try it on.
fn sample(link: bool) -> Value {
    let link = link.then_some("https://example.com/");
    context! {
        desk => "Support",
        heading => "CS-1",
        name => "I",
        code => "123456",
        email => "i@example.com",
        link => "https://example.com/",
        what => context! { change => "second_factor_added", method => "email", left => 3 },
        device => link,
        address => link,
        at => "2026-01-01 00:00 UTC",
        follows => link.is_some(),
        unsubscribe_link => link,
        ticket => context! {
            number => "CS-1", summary => "A", description => "B", status => "C", category => "D",
            reporter => "E", link,
        },
        changes => vec![
            context! { kind => "answer", by => link, text => "F" },
            context! { kind => "status", by => link, from => "G", to => "H" },
            context! { kind => "added", by => link },
        ],
    }
}

/// The files in a folder and in the folders in it: name, path, text.
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

    fn story(locale: Locale) -> Value {
        let en = locale == Locale::En;
        let pick = |a: &'static str, b: &'static str| if en { a } else { b };
        context! {
            desk => pick("Example Hosting Support", "Поддержка «Пример-Хостинг»"),
            heading => "CS-234567",
            name => pick("Anna Smith", "Анна Смирнова"),
            code => "081804",
            email => "anna@example.com",
            link => "https://desk.example.com/reset-password#token=abc",
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
                reporter => pick("Anna Smith", "Анна Смирнова"),
                link => "https://portal.example.com/tickets/CS-234567",
            },
            changes => vec![
                context! { kind => "answer", by => pick("Boris", "Борис"), text => pick(
                    "Good morning!\n\nWe have restarted the web server: does the site open now?",
                    "Доброе утро!\n\nМы перезапустили веб-сервер: открывается ли сайт теперь?",
                ) },
                context! { kind => "status", by => "B", from => pick("Waiting for support", "Ожидает поддержки"),
                    to => pick("Waiting for customer", "Ожидает клиента") },
                context! { kind => "added", by => pick("Boris", "Борис") },
            ],
        }
    }

    #[test]
    fn mails_read_as_they_did_when_people_last_looked_at_them() {
        let templates = Templates::load(None).unwrap();
        for template in Template::ALL {
            for (locale, name) in [(Locale::En, "en"), (Locale::Ru, "ru")] {
                let mail = templates.render(template, locale, &story(locale)).unwrap();
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
    fn a_subject_is_one_line() {
        let templates = Templates::load(None).unwrap();
        let ticket = context! { number => "CS-1", summary => "a\r\nBcc: eve@example.com\u{2028}x" };
        let context = context! { ticket, ..story(Locale::En) };
        let name = "ticket_created/subject.en.txt";
        let raw = templates.0.get_template(name).unwrap().render(&context).unwrap();
        assert!(raw.contains("\r\n"), "the template itself does nothing about it");
        let ticket = context! {
            number => "CS-1", summary => "a\r\nBcc: eve@example.com", description => "x", link => "",
        };
        let context = context! { ticket, ..story(Locale::En) };
        let mail = templates.render(Template::TicketCreated, Locale::En, &context).unwrap();
        assert_eq!(mail.subject, "[CS-1] a  Bcc: eve@example.com");
    }

    #[test]
    fn an_operators_folder_replaces_templates_and_faults_are_named_with_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let load = || Templates::load(Some(folder.path()));
        file("ticket_created/subject.en.txt", "Ours: {{ ticket.summary }}");
        let mail = load().unwrap().render(Template::TicketCreated, Locale::En, &story(Locale::En));
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
