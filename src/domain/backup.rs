//! Backups: the manifest, which says what a whole backup consists of.

use serde::{Deserialize, Serialize};

use super::{clock::Timestamp, ids::AttachmentId};

/// The format of the backups that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The folder of the tables.
pub const TABLES: &str = "database";
/// The index of the attachments.
pub const INDEX: &str = "attachments.gz";
/// The folder of the attachments.
pub const ATTACHMENTS: &str = "attachments";

/// The description of a whole backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the backup.
    pub format: u32,
    /// The version of the program that wrote it.
    pub program: String,
    /// When the backup was begun.
    pub created_at: Timestamp,
    /// The version of the last migration that the database had.
    pub schema: String,
    /// The versions of all migrations that the database had, oldest first.
    pub migrations: Vec<String>,
    /// The ids of the sealing keys that the database was used with, in hexadecimal digits. The keys
    /// are not in the backup.
    pub sealing_keys: Vec<String>,
    /// The tables. Each refers only to those before it.
    pub tables: Vec<Table>,
    /// The names of the tables, views and sequences of the database that are not of Ticketwire, and
    /// not in the backup.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// The sequences.
    pub sequences: Vec<Sequence>,
    /// The attachments, or `None` if the backup is of the database alone.
    pub attachments: Option<Attachments>,
}

impl Manifest {
    /// Returns the size of everything that is stored, the manifest excluded, in bytes.
    pub fn bytes(&self) -> u64 {
        let tables = self.tables.iter().map(|table| table.part.bytes);
        let attachments = self.attachments.iter().flat_map(|them| [them.index.bytes, them.bytes]);
        tables.chain(attachments).fold(0, u64::saturating_add)
    }

    /// Returns the number of rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.part.rows).fold(0, u64::saturating_add)
    }

    /// Returns the attachments that the storage had lost when the backup was taken.
    pub fn lost(&self) -> &[AttachmentId] {
        self.attachments.as_ref().map_or(&[], |them| &them.lost)
    }

    /// Returns the number of attachments in the backup.
    pub fn files(&self) -> u64 {
        self.attachments.as_ref().map_or(0, |them| them.files)
    }
}

/// A stored object of a backup: compressed lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in the backup.
    pub name: String,
    /// Its stored size, in bytes.
    pub bytes: u64,
    /// The number of its lines, which are rows of a table.
    pub rows: u64,
    /// The SHA-256 of what is stored, in hexadecimal digits.
    pub sha256: String,
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The table's name.
    pub name: String,
    /// The columns, in the order of their values in each row.
    pub columns: Vec<String>,
    /// The rows, in the text format of COPY.
    pub part: Part,
}

/// The state of a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The sequence's name.
    pub name: String,
    /// Its last value.
    pub value: i64,
    /// Whether that value was used.
    pub used: bool,
}

/// The attachments of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachments {
    /// A line for each attachment that the database names: see [`File`].
    pub index: Part,
    /// The number of files in the backup.
    pub files: u64,
    /// Their size, in bytes.
    pub bytes: u64,
    /// The files that the storage did not have, or not with the content that the database expects.
    pub absent: Vec<AttachmentId>,
    /// Those of them that were not being deleted when the backup ended: they are lost.
    #[serde(default)]
    pub lost: Vec<AttachmentId>,
}

/// An attachment, as a line of the index describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The attachment's id.
    pub id: AttachmentId,
    /// Its size, in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

impl File {
    /// Parses a line without its end: id, size and SHA-256, separated by tabs. `None` if it has
    /// another form.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(line).ok()?.split('\t');
        let id = AttachmentId(fields.next()?.parse().ok()?);
        let size = fields.next()?.parse().ok()?;
        let sha256 = fields.next()?.to_owned();
        fields.next().is_none().then_some(Self { id, size, sha256 })
    }

    /// Returns the name of the file's content in a backup.
    pub fn name(&self) -> String {
        format!("{ATTACHMENTS}/{}", self.id.0)
    }
}

/// Returns the tables, each after those that it refers to. `references` has a pair for each
/// reference: a table, and the table that it refers to.
///
/// # Errors
/// The tables that refer to each other.
pub fn in_order_of_reference(
    tables: Vec<String>,
    references: &[(String, String)],
) -> Result<Vec<String>, Vec<String>> {
    let (mut ordered, mut rest) = (Vec::new(), tables);
    while !rest.is_empty() {
        let waits = |table: &String| {
            references.iter().any(|(from, to)| from == table && from != to && rest.contains(to))
        };
        let (waiting, ready): (Vec<_>, Vec<_>) = rest.iter().cloned().partition(waits);
        if ready.is_empty() {
            return Err(waiting);
        }
        ordered.extend(ready);
        rest = waiting;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(tables: &str, references: &[(&str, &str)]) -> Result<String, String> {
        let tables = tables.split(' ').map(str::to_owned).collect();
        let references = references.iter().map(|(from, to)| ((*from).into(), (*to).into()));
        let ordered = in_order_of_reference(tables, &references.collect::<Vec<_>>());
        ordered.map(|names| names.join(" ")).map_err(|names| names.join(" "))
    }

    #[test]
    fn a_table_comes_after_those_that_it_refers_to() {
        let references = [("a", "b"), ("b", "c"), ("c", "c"), ("a", "elsewhere")];
        assert_eq!(ordered("a b c d", &references), Ok("c d b a".into()));
        assert_eq!(ordered("a b c", &[("a", "b"), ("b", "a")]), Err("a b".into()));
    }

    #[test]
    fn a_line_of_the_index_has_three_fields() {
        let line = "018f0000-0000-7000-8000-000000000001\t12\tab";
        let file = File::parse(line.as_bytes()).expect("a file");
        assert_eq!((file.size, file.sha256.as_str()), (12, "ab"));
        assert_eq!(file.name(), "attachments/018f0000-0000-7000-8000-000000000001");
        assert_eq!(File::parse(b"../x\t12\tab"), None);
        assert_eq!(File::parse(format!("{line}\t").as_bytes()), None);
    }
}
