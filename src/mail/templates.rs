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
    /// The operator's trial.
    Test,
}

impl Template {
    const ALL: [Self; 4] =
        [Self::TicketCreated, Self::TicketOpened, Self::TicketUpdated, Self::Test];

    fn folder(self) -> &'static str {
        match self {
            Self::TicketCreated => "ticket_created",
            Self::TicketOpened => "ticket_opened",
            Self::TicketUpdated => "ticket_updated",
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
            environment
                .add_template_owned(name, text)
                .map_err(|error| located(&error, &places))?;
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
            subject: subject.split(char::is_control).collect::<Vec<_>>().join(" ").trim().to_owned(),
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
    TemplateError::Syntax { place: format!("{file}{line}"), cause: format!("{}{detail}", innermost.kind()) }
}

/// Everything that a template may name, to try it on.
fn sample(link: bool) -> Value {
    let link = link.then_some("https://example.com/");
    context! {
        desk => "Support",
        heading => "CS-1",
        follows => link.is_some(),
        unsubscribe_link => link,
        ticket => context! {
            number => "CS-1", summary => "A", description => "B", status => "C", category => "D",
            reporter => "E", link,
        },
        changes => vec![
            context! { kind => "answer", by => link, text => "F" },
            context! { kind => "status", by => link, from => "G", to => "H" },
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
