//! Metrics that are read for one scrape, and the formats of the text.

use std::{collections::HashSet, sync::atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Metrics whose values are read for one scrape.
pub struct Snapshot {
    pub(super) registry: Registry,
    /// The metrics of the process, whose names have no prefix.
    pub(super) process: Registry,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { registry: Registry::with_prefix("ticketwire"), process: Registry::default() }
    }
}

impl Snapshot {
    /// Adds a gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: i64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// Adds a gauge in seconds.
    pub fn seconds(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    /// Adds a gauge in seconds for each value of a label.
    pub fn labelled_seconds(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, f64)>,
    ) {
        let family = Family::<[(&'static str, String); 1], Gauge<f64, AtomicU64>>::default();
        for (name, value) in values {
            family.get_or_create(&[(label, name)]).set(value);
        }
        self.registry.register(name, help, family);
    }

    /// Adds a counter. `name` lacks the ending `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.registry.register(name, help, counter);
    }

    /// Adds a counter of seconds. `name` lacks the ending `_total`.
    pub fn seconds_counter(&mut self, name: &str, help: &str, value: f64) {
        self.registry.register(name, help, seconds_counter(value));
    }

    /// Adds a gauge of the process, whose name gets no prefix.
    pub fn process_gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.process.register(name, help, gauge);
    }

    /// Adds a counter of seconds of the process, whose name gets no prefix and lacks `_total`.
    pub fn process_seconds_counter(&mut self, name: &str, help: &str, value: f64) {
        self.process.register(name, help, seconds_counter(value));
    }

    /// Adds a gauge for each value of a label.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (String, i64)>,
    ) {
        let family = Family::<[(&'static str, String); 1], Gauge>::default();
        for (name, value) in values {
            family.get_or_create(&[(label, name)]).set(value);
        }
        self.registry.register(name, help, family);
    }
}

fn seconds_counter(value: f64) -> Counter<f64, AtomicU64> {
    let counter = Counter::<f64, AtomicU64>::default();
    counter.inc_by(value);
    counter
}

/// Turns `OpenMetrics` text into the text format 0.0.4, which older scrapers and `promtool` read:
/// the name of a counter has its ending in the comments too.
pub fn to_text_format(open_metrics: &str) -> String {
    let counters = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters = counters.collect::<HashSet<_>>();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut parts = line.splitn(4, ' ');
        let comment = (parts.next(), parts.next(), parts.next(), parts.next());
        match comment {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(name) => {
                text += &format!("# {kind} {name}_total {rest}");
            }
            _ => text += line,
        }
        text.push('\n');
    }
    text
}
