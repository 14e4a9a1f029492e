//! Attachments: files on a ticket's description or on a comment.

use unicode_normalization::UnicodeNormalization as _;

use super::{
    clock::Timestamp,
    ids::{AccountId, AttachmentId, CommentId, SessionId, TicketId},
};

/// The maximum length of a name, in characters.
const MAX_NAME: usize = 255;
/// How many bytes from the start of a file are used to detect its type.
pub const HEAD: usize = 8_192;

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
    /// Cleans the name that a client sent. Returns `file` if nothing of it is left.
    pub fn sanitize(sent: &str) -> Self {
        let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
        let shown = last.nfc().filter(|&c| !is_invisible(c)).collect::<String>();
        let name = shown.trim().chars().take(MAX_NAME).collect::<String>();
        let nothing = name.chars().all(|c| c == '.' || c.is_whitespace());
        Self(if nothing { "file".into() } else { name.trim_end().into() })
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

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
        )
}

/// Detects the media type of a file from its first bytes.
pub fn media_type(head: &[u8]) -> &'static str {
    if let Some(found) = infer::get(head) {
        return found.mime_type();
    }
    let text = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The text may be cut in the middle of a character.
        Err(error) => error.error_len().is_none(),
    };
    if text && !head.contains(&0) { "text/plain" } else { "application/octet-stream" }
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
            ("отчёт за май.txt", "отчёт за май.txt"),
        ] {
            assert_eq!(FileName::sanitize(sent).as_str(), cleaned, "{sent:?}");
        }
        assert_eq!(FileName::sanitize(&"я".repeat(4_096)).as_str().chars().count(), 255);
    }

    #[test]
    fn a_media_type_is_detected_from_the_content() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "image/png");
        assert_eq!(media_type("Привет".as_bytes()), "text/plain");
        assert_eq!(media_type(&"я".as_bytes()[..1]), "text/plain");
        assert_eq!(media_type(b"a\0b"), "application/octet-stream");
        assert_eq!(media_type(b"a\xffb"), "application/octet-stream");
    }
}
