//! Sends traces to a collector, and logs when that begins to fail.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

/// An exporter that logs the first failure and the end of a series of failures.
#[derive(Debug)]
pub(super) struct TraceExporter {
    exporter: OtlpExporter,
    is_failing: AtomicBool,
}

impl TraceExporter {
    pub(super) fn new(exporter: OtlpExporter) -> Self {
        Self { exporter, is_failing: AtomicBool::new(false) }
    }
}

impl SpanExporter for TraceExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let sent = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !was_failing => tracing::warn!(
                %error,
                "sending traces failed: they are dropped until the collector of `tracing.otlp_endpoint` \
                 accepts them"
            ),
            Ok(()) if was_failing => tracing::info!("the collector accepts traces again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
