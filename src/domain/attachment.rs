//! Attachments: files that came with a ticket's description or a comment.

use unicode_normalization::UnicodeNormalization as _;

use super::{
    clock::Timestamp,
    ids::{AccountId, AttachmentId, CommentId, SessionId, TicketId},
};

/// The longest name, in characters.
const MAX_NAME: usize = 255;
/// So many bytes of a file's beginning tell its type.
pub const HEAD: usize = 8_192;

/// An attachment that is tied to what it came with.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// The ticket that it is on.
    pub ticket_id: TicketId,
    /// The comment that it is on; `None`: the ticket's description.
    pub comment_id: Option<CommentId>,
    /// What people call it.
    pub name: FileName,
    /// What is in it.
    pub content: Content,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// So many bytes.
    pub size: u64,
    /// What it looks like, whatever its sender said.
    pub media_type: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// How much may be attached at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To one file, in bytes.
    pub max_file_bytes: u64,
    /// Files.
    pub max_files: usize,
    /// All files together, in bytes.
    pub max_total_bytes: u64,
}

/// What a link to an attachment stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The attachment.
    pub attachment: AttachmentId,
    /// Who asked for it.
    pub account: AccountId,
    /// Through which session.
    pub session: SessionId,
    /// Until when it may be followed.
    pub expires_at: Timestamp,
}

/// A file's name, for people only: no folders, nothing that can't be shown or that changes
/// how other text is shown, 1 to 255 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(String);

impl FileName {
    /// What is left of a name as it was sent; `file` where nothing is.
    pub fn sanitize(sent: &str) -> Self {
        let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
        let shown = last.nfc().filter(|&c| !is_invisible(c)).collect::<String>();
        let name = shown.trim().chars().take(MAX_NAME).collect::<String>();
        let nothing = name.chars().all(|c| c == '.' || c.is_whitespace());
        Self(if nothing { "file".into() } else { name.trim_end().into() })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name that was kept.
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

/// What a file looks like, by its beginning.
pub fn media_type(head: &[u8]) -> &'static str {
    if let Some(found) = infer::get(head) {
        return found.mime_type();
    }
    let text = match std::str::from_utf8(head) {
        Ok(_) => true,
        // Cut in the middle of a character.
        Err(error) => error.error_len().is_none(),
    };
    if text && !head.contains(&0) { "text/plain" } else { "application/octet-stream" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_what_people_can_see() {
        for (sent, kept) in [
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
            assert_eq!(FileName::sanitize(sent).as_str(), kept, "{sent:?}");
        }
        assert_eq!(FileName::sanitize(&"я".repeat(4_096)).as_str().chars().count(), 255);
    }

    #[test]
    fn a_type_is_what_the_bytes_look_like() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "image/png");
        assert_eq!(media_type("Привет".as_bytes()), "text/plain");
        assert_eq!(media_type(&"я".as_bytes()[..1]), "text/plain");
        assert_eq!(media_type(b"a\0b"), "application/octet-stream");
        assert_eq!(media_type(b"a\xffb"), "application/octet-stream");
    }
}
