//! The media type of a file, detected from its content while it is received.

use std::ops::Range;

/// How many bytes from the start of a file are used to detect its type.
const HEAD: usize = 8_192;
/// The first bytes of a compound file: old Office documents, mails of Outlook and others
/// ([MS-CFB]).
const COMPOUND_FILE: [u8; 8] = [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
/// The type of a compound file of an unknown kind.
const UNKNOWN_COMPOUND_FILE: &str = "application/x-ole-storage";
/// The length of the part of a compound file's header that is read.
const COMPOUND_HEADER: usize = 52;
/// How many bytes of a compound file's directory are used: 128 entries, of which documents have
/// about ten.
const DIRECTORY: usize = 16_384;
/// The length of an entry of the directory.
const ENTRY: usize = 128;

/// The first bytes of a ZIP file with entries: also of new Office documents.
const ZIP: [u8; 4] = *b"PK\x03\x04";
/// The first bytes of an entry in the directory at the end of a ZIP file, and the length of what
/// comes before its name.
const ZIP_ENTRY: ([u8; 4], usize) = (*b"PK\x01\x02", 46);
/// How many bytes from the end of a ZIP file are searched for its directory.
const TAIL: usize = 65_536;

/// The types of Office documents in ZIP files, by the folder of their content.
const BY_FOLDER: [(&str, &str); 4] = [
    ("word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("visio/", "application/vnd.ms-visio.drawing.main+xml"),
];

/// The types of compound files by the class of their root, whose first four bytes differ.
const BY_CLASS: [(u32, &str); 10] = [
    (0x0002_0900, "application/msword"),
    (0x0002_0906, "application/msword"),
    (0x0002_0810, "application/vnd.ms-excel"),
    (0x0002_0820, "application/vnd.ms-excel"),
    (0x6481_8D10, "application/vnd.ms-powerpoint"),
    (0x0002_0D0B, "application/vnd.ms-outlook"),
    (0x0002_1A13, "application/vnd.visio"),
    (0x0002_1A14, "application/vnd.visio"),
    (0x74B7_8F3A, "application/vnd.ms-project"),
    (0x000C_1084, "application/x-msi"),
];

/// The types of compound files by a stream or folder in their root.
const BY_NAME: [(&str, &str); 10] = [
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("PP97_DUALSTORAGE", "application/vnd.ms-powerpoint"),
    ("__nameid_version1.0", "application/vnd.ms-outlook"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
    ("VisioDocument", "application/vnd.visio"),
    ("Quill", "application/x-mspublisher"),
    ("MatOST", "application/vnd.ms-works"),
];

/// Detects the type of a file from its bytes, which it receives in order.
#[derive(Debug, Default)]
pub struct TypeDetector {
    position: usize,
    head: Vec<u8>,
    /// Where the directory of a compound file is, once that is known.
    directory_at: Option<Range<usize>>,
    directory: Vec<u8>,
    /// The end of a ZIP file: up to twice [`TAIL`].
    tail: Vec<u8>,
}

impl TypeDetector {
    /// Reads the next bytes of the file.
    pub fn read(&mut self, bytes: &[u8]) {
        let missing = HEAD - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        if self.directory_at.is_none() {
            self.directory_at = directory_range(&self.head);
        }
        if let Some(wanted) = &self.directory_at {
            let start = wanted.start.saturating_sub(self.position).min(bytes.len());
            let end = wanted.end.saturating_sub(self.position).min(bytes.len());
            self.directory.extend_from_slice(&bytes[start..end]);
        }
        if self.head.starts_with(&ZIP) {
            self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
            let old = if self.tail.len() > 2 * TAIL { self.tail.len() - TAIL } else { 0 };
            self.tail.drain(..old);
        }
        self.position += bytes.len();
    }

    /// Returns the media type of the file that was read.
    pub fn media_type(&self) -> &'static str {
        if self.head.starts_with(&COMPOUND_FILE) {
            return compound_file_type(&self.directory).unwrap_or(UNKNOWN_COMPOUND_FILE);
        }
        if let Some(found) = office_document_type(&self.tail) {
            return found;
        }
        if let Some(found) = infer::get(&self.head) {
            return found.mime_type();
        }
        let text = match std::str::from_utf8(&self.head) {
            Ok(_) => true,
            // The text may be cut in the middle of a character.
            Err(error) => error.error_len().is_none(),
        };
        if text && !self.head.contains(&0) { "text/plain" } else { "application/octet-stream" }
    }
}

/// Returns the type of the Office document with this end of its ZIP file.
fn office_document_type(tail: &[u8]) -> Option<&'static str> {
    if !zip_names(tail).any(|name| name == b"[Content_Types].xml") {
        return None;
    }
    let within = |folder: &str| zip_names(tail).any(|name| name.starts_with(folder.as_bytes()));
    BY_FOLDER.iter().find(|(folder, _)| within(folder)).map(|(_, found)| *found)
}

/// Returns the names in the directory of a ZIP file. They may overlap: only look at the start of one.
fn zip_names(tail: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (signature, before_name) = ZIP_ENTRY;
    let starts = (0..tail.len()).filter(move |&start| tail[start..].starts_with(&signature));
    starts.filter_map(move |start| {
        let length =
            usize::from(u16::from_le_bytes(tail.get(start + 28..start + 30)?.try_into().ok()?));
        let name = start + before_name;
        tail.get(name..name + length)
    })
}

/// Returns where the directory of a compound file begins, and how much of it is read. Its further
/// sectors usually follow the first one; what follows instead is no entry of the root.
fn directory_range(head: &[u8]) -> Option<Range<usize>> {
    let header = head.get(..COMPOUND_HEADER)?;
    if !header.starts_with(&COMPOUND_FILE) {
        return None;
    }
    let sector_size = match u16::from_le_bytes([header[30], header[31]]) {
        12 => 4_096,
        _ => 512,
    };
    let first = usize::try_from(number(header, 48)?).ok()?;
    let start = first.checked_add(1)?.checked_mul(sector_size)?;
    Some(start..start.checked_add(DIRECTORY)?)
}

fn compound_file_type(directory: &[u8]) -> Option<&'static str> {
    let root = directory.get(..ENTRY)?;
    let class = number(root, 80)?;
    if let Some((_, found)) = BY_CLASS.iter().find(|(known, _)| *known == class) {
        return Some(found);
    }
    let names = root_names(directory);
    let known = BY_NAME.iter().find(|(name, _)| names.iter().any(|found| found == name));
    known.map(|(_, found)| *found)
}

/// Returns the names of what is in the root of a compound file. They form a tree, whose nodes are
/// the numbers of entries.
fn root_names(directory: &[u8]) -> Vec<String> {
    let entries = directory.chunks_exact(ENTRY).collect::<Vec<_>>();
    let mut seen = vec![false; entries.len()];
    let mut next = vec![entries.first().and_then(|root| number(root, 76))];
    let mut names = Vec::new();
    while let Some(index) = next.pop() {
        let Some(index) = index.and_then(|index| usize::try_from(index).ok()) else { continue };
        let Some(entry) = entries.get(index).filter(|_| !seen[index]) else { continue };
        seen[index] = true;
        names.push(entry_name(entry));
        next.extend([number(entry, 68), number(entry, 72)]);
    }
    names
}

fn entry_name(entry: &[u8]) -> String {
    // In bytes, with the zero at its end.
    let length = usize::from(u16::from_le_bytes([entry[64], entry[65]])).clamp(2, 64) - 2;
    let units = entry[..length].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    char::decode_utf16(units).filter_map(Result::ok).collect()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(file: &[u8], chunk: usize) -> &'static str {
        let mut detector = TypeDetector::default();
        for part in file.chunks(chunk) {
            detector.read(part);
        }
        detector.media_type()
    }

    /// A compound file with this class and these streams, whose directory begins at a sector.
    fn compound_file(class: u32, streams: &[&str], sector: u32) -> Vec<u8> {
        let mut file = vec![0; 512];
        file[..8].copy_from_slice(&COMPOUND_FILE);
        file[30] = 9;
        file[48..52].copy_from_slice(&sector.to_le_bytes());
        file.resize(512 * (sector as usize + 1), 0xAA);
        for (index, name) in ["Root Entry"].iter().chain(streams).enumerate() {
            let mut entry = [0xFF; ENTRY];
            let units =
                name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<_>>();
            entry[..units.len()].copy_from_slice(&units);
            entry[64..66].copy_from_slice(&u16::try_from(units.len()).unwrap().to_le_bytes());
            if index == 0 {
                entry[76..80].copy_from_slice(&1_u32.to_le_bytes());
                entry[80..84].copy_from_slice(&class.to_le_bytes());
            } else if index < streams.len() {
                let right = u32::try_from(index + 1).unwrap();
                entry[72..76].copy_from_slice(&right.to_le_bytes());
            }
            file.extend(entry);
        }
        file
    }

    #[test]
    fn a_media_type_is_detected_from_the_content() {
        assert_eq!(detect(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 5), "image/png");
        assert_eq!(detect("Привет".as_bytes(), 1), "text/plain");
        assert_eq!(detect(&"я".as_bytes()[..1], 1), "text/plain");
        assert_eq!(detect(b"a\0b", 9), "application/octet-stream");
        assert_eq!(detect(b"a\xffb", 9), "application/octet-stream");
    }

    #[test]
    fn compound_files_are_told_apart_by_their_class_or_their_streams() {
        for (class, streams, expected) in [
            (0x0002_0820, &["x"][..], "application/vnd.ms-excel"),
            (0, &["Workbook", "\u{5}SummaryInformation"], "application/vnd.ms-excel"),
            (0, &["1Table", "Data", "x", "y", "WordDocument"], "application/msword"),
            (0, &["Current User", "PowerPoint Document"], "application/vnd.ms-powerpoint"),
            (0, &["__substg1.0_0037001F", "__nameid_version1.0"], "application/vnd.ms-outlook"),
            (0, &["EncryptedPackage"], UNKNOWN_COMPOUND_FILE),
            (0, &[], UNKNOWN_COMPOUND_FILE),
        ] {
            for sector in [0, 3, 700] {
                for chunk in [1, 51, 512, 1 << 20] {
                    let file = compound_file(class, streams, sector);
                    assert_eq!(detect(&file, chunk), expected, "{streams:?} {sector} {chunk}");
                }
            }
        }
    }

    #[test]
    fn office_documents_in_zip_files_are_told_apart_wherever_their_content_is() {
        let zip = |names: &[&str]| {
            let mut file = [ZIP.to_vec(), vec![0; 200_000]].concat();
            for name in names {
                let (signature, before_name) = ZIP_ENTRY;
                let mut entry = vec![0; before_name];
                entry[..4].copy_from_slice(&signature);
                entry[28..30].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
                entry.extend(name.as_bytes());
                file.extend(entry);
            }
            file
        };
        for (names, expected) in [
            (&["[Content_Types].xml", "docProps/app.xml", "xl/workbook.xml"][..], BY_FOLDER[1].1),
            (&["word/document.xml", "[Content_Types].xml"], BY_FOLDER[0].1),
            (&["[Content_Types].xml", "ppt/presentation.xml"], BY_FOLDER[2].1),
            (&["word/document.xml"], "application/zip"),
        ] {
            for chunk in [7, 4_096, 70_000, 1 << 20] {
                assert_eq!(detect(&zip(names), chunk), expected, "{names:?} {chunk}");
            }
        }
    }

    #[test]
    fn names_that_overlap_take_no_more_time_than_others() {
        // Each entry's name has 49,093 bytes of two-byte characters, with other entries in it.
        let file = [ZIP.to_vec(), b"PK\x01\x02\xC5\xBF\xC5\xBF".repeat(16_384)].concat();
        assert_eq!(detect(&file, 60_000), "application/zip");
    }

    #[test]
    fn a_damaged_compound_file_is_of_unknown_type() {
        let whole = compound_file(0, &["Workbook"], 2);
        for length in [8, 60, 512, 1_600] {
            assert_eq!(detect(&whole[..length], 100), UNKNOWN_COMPOUND_FILE, "{length}");
        }
        let mut looping = whole.clone();
        let first = 512 * 3 + ENTRY;
        looping[first + 68..first + 76].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(detect(&looping, 100), "application/vnd.ms-excel");
    }
}
