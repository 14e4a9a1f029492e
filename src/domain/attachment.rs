//! Attachments: files on a ticket's description or on a comment.

use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use super::{
    character,
    clock::Timestamp,
    ids::{AccountId, AttachmentId, CommentId, SessionId, TicketId},
};

/// The maximum length of a name, in characters.
const MAX_NAME: usize = 255;
/// The maximum length of what counts as the extension of a name, in characters.
const MAX_EXTENSION: usize = 16;

/// How the storage in which an installation keeps its attachments is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnStorage {
    /// By its id.
    Id(Uuid),
    /// The id is not known yet: it holds one of these files, if there are any.
    Holding(Vec<AttachmentId>),
}

/// A file that is attached to a ticket or comment.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The attachment's id.
    pub id: AttachmentId,
    /// The ticket that the file belongs to.
    pub ticket_id: TicketId,
    /// The comment that the file belongs to, or `None` if it belongs to the description.
    pub comment_id: Option<CommentId>,
    /// The file name, for display.
    pub name: FileName,
    /// The size, type and checksum of the content.
    pub content: Content,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// The size, type and checksum of a file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The size in bytes.
    pub size: u64,
    /// The media type detected from the content. What the sender declared is ignored.
    pub media_type: String,
    /// The SHA-256 checksum.
    pub sha256: [u8; 32],
}

/// The limits on the files of one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum size of one file, in bytes.
    pub max_file_bytes: u64,
    /// The maximum number of files.
    pub max_files: usize,
    /// The maximum total size of all files, in bytes.
    pub max_total_bytes: u64,
}

/// The content of a signed link to an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The attachment.
    pub attachment: AttachmentId,
    /// The account that requested the link.
    pub account: AccountId,
    /// The session in which it was requested.
    pub session: SessionId,
    /// When the link expires.
    pub expires_at: Timestamp,
}

/// A file name for display, 1 to 255 characters long. It contains no folders, no invisible
/// characters and none that change how other text is displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// Cleans the name that a client sent. A name that is too long is shortened before its
    /// extension. Returns `file`, with the extension, if nothing else can be seen.
    pub fn sanitize(sent: &str) -> Self {
        let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
        let shown = last.nfc().filter(|&c| !is_hidden(c)).collect::<String>();
        let (stem, extension) = split_extension(shown.trim());
        let is_name = |text: &str| text.chars().any(|c| c != '.' && character::is_visible(c));
        // Names such as `.htaccess` consist of what looks like an extension.
        let is_dot_file = last.trim_start().starts_with('.') && is_name(extension);
        let stem = if is_name(stem) || stem.is_empty() && is_dot_file { stem } else { "file" };
        let room = MAX_NAME - extension.chars().count();
        Self(stem.chars().take(room).chain(extension.chars()).collect())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Wraps a name from the database.
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }
}

/// Returns whether a character is left out of a file name. Joiners and variation selectors stay,
/// because emoji need them.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || character::ends_line(c)
        || character::is_noise(c)
        || character::is_direction_mark(c)
        || character::is_override(c)
}

/// Splits a name before its extension, which begins with a dot. The extension is empty if the name
/// has none.
fn split_extension(name: &str) -> (&str, &str) {
    let Some(dot) = name.rfind('.') else { return (name, "") };
    let extension = &name[dot + 1..];
    let is_extension = (1..=MAX_EXTENSION).contains(&extension.chars().count())
        && extension.chars().all(|c| !c.is_whitespace() && character::is_visible(c));
    if is_extension { name.split_at(dot) } else { (name, "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_loses_folders_and_invisible_characters() {
        for (sent, cleaned) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\anna\\notes.txt", "notes.txt"),
            ("in\u{202E}fdp.exe\0", "infdp.exe"),
            ("cafe\u{301}.txt", "caf\u{e9}.txt"),
            ("", "file"),
            ("..", "file"),
            ("a/", "file"),
            ("\u{200B}", "file"),
            ("\u{3164}\u{2800}", "file"),
            ("\u{200B}.pdf", "file.pdf"),
            ("\u{3164}.pdf", "file.pdf"),
            ("...", "file"),
            (".htaccess", ".htaccess"),
            ("a\u{2028}b\u{AD}\u{FEFF}.log", "ab.log"),
            ("❤\u{FE0F} 👩\u{200D}💻.png", "❤\u{FE0F} 👩\u{200D}💻.png"),
            ("1. Report about all of it", "1. Report about all of it"),
            ("отчёт за май.txt", "отчёт за май.txt"),
        ] {
            assert_eq!(FileName::sanitize(sent).as_str(), cleaned, "{sent:?}");
        }
        assert_eq!(FileName::sanitize(&"я".repeat(4_096)).as_str().chars().count(), 255);
    }

    #[test]
    fn a_long_file_name_keeps_its_extension() {
        let name = FileName::sanitize(&format!("{}.docx", "я".repeat(4_096)));
        assert_eq!(name.as_str(), format!("{}.docx", "я".repeat(250)));
        let name = FileName::sanitize(&format!("a.{}", "я".repeat(4_096)));
        assert_eq!(name.as_str().chars().count(), 255);
    }
}
