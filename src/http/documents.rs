//! The documents that a node has parsed and measured. Clients send few documents over and over.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_graphql::parser::types::ExecutableDocument;
use moka::sync::Cache;

/// The longest document that is kept, in bytes.
const MAX_LENGTH: usize = 16_384;
/// How much memory all documents may take, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// How many bytes a parsed document takes for each byte of its text, about.
const BYTES_PER_BYTE: usize = 32;

/// Documents by their text. Clones share them.
#[derive(Clone)]
pub struct Documents(Cache<Arc<str>, Arc<Document>>);

/// A document that the [guard](super::guard) has accepted.
pub struct Document {
    /// The parsed document.
    pub parsed: ExecutableDocument,
    is_valid: AtomicBool,
}

impl Default for Documents {
    fn default() -> Self {
        let weight = |text: &Arc<str>, _: &Arc<Document>| {
            u32::try_from(text.len() * BYTES_PER_BYTE).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(MAX_BYTES).weigher(weight).build())
    }
}

impl Documents {
    /// Returns the document with this text, if it was added.
    pub fn get(&self, text: &str) -> Option<Arc<Document>> {
        self.0.get(text)
    }

    /// Adds a document that the [guard](super::guard) has accepted, unless it is long.
    pub fn add(&self, text: &str, parsed: &ExecutableDocument) {
        if text.len() <= MAX_LENGTH {
            let document = Document { parsed: parsed.clone(), is_valid: AtomicBool::new(false) };
            self.0.insert(text.into(), Arc::new(document));
        }
    }
}

impl Document {
    /// Whether the schema has validated the document.
    pub fn is_valid(&self) -> bool {
        self.is_valid.load(Ordering::Relaxed)
    }

    /// Records that the schema has validated the document.
    pub fn set_valid(&self) {
        self.is_valid.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    #[test]
    fn a_long_document_is_not_kept() {
        let documents = Documents::default();
        let query = format!("{{ {} }}", "a ".repeat(MAX_LENGTH / 2));
        documents.add(&query, &parse_query(&query).unwrap());
        assert!(documents.get(&query).is_none());
    }
}
