//! The nodes of an installation, and what they report about themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// A node that was seen lately.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its id, which it draws at each start.
    pub id: Uuid,
    /// The version that it runs.
    pub version: String,
    /// The name of its machine.
    pub host: String,
    /// What it reports about itself.
    pub report: NodeReport,
}

/// What a node reports about itself. A field that a node of another version does not know has its
/// default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// A hash of each setting that all nodes must share, by its key.
    pub configuration: BTreeMap<String, String>,
    /// The id of the storage of attachments, or `None` if it has none or cannot read it.
    pub storage: Option<Uuid>,
    /// Whether it cannot read its storage of attachments.
    pub storage_unreadable: bool,
    /// The use of the connections for requests.
    pub pool: PoolUse,
    /// Its file descriptors, or `None` if it does not report them, or not as this version does.
    #[serde(deserialize_with = "if_readable")]
    pub descriptors: Option<Descriptors>,
}

fn if_readable<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Descriptors>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(value)?).unwrap_or_default())
}

/// How many file descriptors a process may open, and how many it may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// The limit, or `None` if there is none.
    pub limit: Option<u64>,
    /// The largest number of connections of clients.
    pub connections: usize,
    /// The largest number that it may need.
    pub required: u64,
}

/// The use of a pool of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolUse {
    /// The largest number of connections.
    pub limit: usize,
    /// How many are open.
    pub open: usize,
    /// How many are in use.
    pub in_use: usize,
    /// How many requests wait for one.
    pub waiting: usize,
}

impl PoolUse {
    /// Whether requests wait because all connections are in use.
    pub fn is_exhausted(self) -> bool {
        self.waiting > 0 && self.in_use >= self.limit
    }
}

/// In which way a node differs from another one, although it must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It runs another version.
    Version,
    /// These settings have other values.
    Configuration(Vec<String>),
    /// It stores attachments elsewhere.
    Storage,
}

impl Difference {
    /// The values of [`kind`](Self::kind).
    pub const KINDS: [&'static str; 3] = ["version", "configuration", "storage"];

    /// Returns the kind of the difference, as a label of metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Version => Self::KINDS[0],
            Self::Configuration(_) => Self::KINDS[1],
            Self::Storage => Self::KINDS[2],
        }
    }
}

impl Node {
    /// Returns how this node differs from another one. Settings that only one of them reports are
    /// not compared, nor is a storage that cannot be read.
    pub fn differences_from(&self, other: &Self) -> Vec<Difference> {
        let version = (self.version != other.version).then_some(Difference::Version);
        let differs = |(key, hash): (&String, &String)| {
            let theirs = other.report.configuration.get(key)?;
            (theirs != hash).then(|| key.clone())
        };
        let keys = self.report.configuration.iter().filter_map(differs).collect::<Vec<_>>();
        let configuration = (!keys.is_empty()).then_some(Difference::Configuration(keys));
        let is_known = !self.report.storage_unreadable && !other.report.storage_unreadable;
        let storage = is_known && self.report.storage != other.report.storage;
        let storage = storage.then_some(Difference::Storage);
        [version, configuration, storage].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(version: &str, prefix: &str, storage: u128) -> Node {
        let configuration = [("tickets.prefix".to_owned(), prefix.to_owned())].into();
        let storage = Some(Uuid::from_u128(storage));
        Node {
            id: Uuid::nil(),
            version: version.to_owned(),
            host: String::new(),
            report: NodeReport { configuration, storage, ..NodeReport::default() },
        }
    }

    #[test]
    fn a_report_of_another_version_is_read_as_far_as_possible() {
        let report = |descriptors: Value| {
            let report = serde_json::json!({ "descriptors": descriptors, "pool": { "limit": 7 } });
            serde_json::from_value::<NodeReport>(report).unwrap()
        };
        let unknown = report(serde_json::json!({ "maximum": 5 }));
        assert_eq!((unknown.descriptors, unknown.pool.limit), (None, 7));
        let descriptors = Descriptors { limit: None, connections: 1, required: 2 };
        let known = report(serde_json::to_value(descriptors).unwrap());
        assert_eq!(known.descriptors, Some(descriptors));
    }

    #[test]
    fn nodes_are_compared_by_what_they_must_share() {
        let this = node("1", "CS", 1);
        assert_eq!(this.differences_from(&node("1", "CS", 1)), []);
        assert_eq!(this.differences_from(&node("2", "CS", 1)), [Difference::Version]);
        let prefix = Difference::Configuration(vec!["tickets.prefix".to_owned()]);
        assert_eq!(this.differences_from(&node("1", "XY", 2)), [prefix, Difference::Storage]);
        let mut older = this.clone();
        older.report.configuration.clear();
        assert_eq!(this.differences_from(&older), []);
        // A node that has no storage stores nothing here, and one that cannot read its storage says nothing.
        let mut without = this.clone();
        without.report.storage = None;
        assert_eq!(this.differences_from(&without), [Difference::Storage]);
        without.report.storage_unreadable = true;
        assert_eq!(this.differences_from(&without), []);
        assert_eq!(without.differences_from(&this), []);
    }
}
