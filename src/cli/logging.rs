//! Logs, which are written to standard error, and traces, which are sent to a collector.

use std::{
    io::{self, IsTerminal as _},
    str::FromStr as _,
    thread,
    time::Duration,
};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterFn, LevelFilter, Targets, filter_fn},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use super::{
    output::{CliResult, RefusedConfig},
    trace_exporter::TraceExporter,
};
use crate::config::{Config, ConfigError, LogFormat};

/// Libraries whose debug logs contain tokens, texts and the values in statements. They log at
/// `info` at most, whatever the filter says.
const LIMITED_LIBRARIES: [&str; 5] =
    ["tungstenite", "tokio_tungstenite", "tokio_postgres", "hyper", "async_graphql"];
/// The target of the spans that make up traces, which are not logged, whatever the filter says.
const TRACED: &str = "otel";
/// How long sending the last traces may take when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends the remaining traces when the process ends.
pub(super) struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Sends what was not sent yet.
    pub(super) async fn finish(self) {
        let Some(provider) = self.0 else { return };
        let sent =
            tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        if let Ok(Err(error)) = sent.await {
            tracing::warn!(%error, "sending the last traces failed");
        }
    }
}

/// Starts logging and tracing as configured.
pub(super) fn start(config: &Config) -> CliResult<Telemetry> {
    let filter = filter(&config.log.filter)?;
    let Some(endpoint) = &config.tracing.otlp_endpoint else {
        // The filter is global: spans that only traces need cost nothing.
        tracing_subscriber::registry()
            .with(filter)
            .with(limits())
            .with(log_layer(config.log.format))
            .try_init()?;
        return Ok(Telemetry(None));
    };
    let provider = provider(endpoint, config.tracing.sample_ratio)?;
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("ticketwire"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(TRACED, Level::TRACE));
    let log = log_layer(config.log.format).with_filter(limits()).with_filter(filter);
    tracing_subscriber::registry().with(traces).with(log).try_init()?;
    Ok(Telemetry(Some(provider)))
}

/// Returns the configured filter. A misspelt level would be taken for the name of a module, and mute
/// all others.
fn filter(text: &str) -> Result<EnvFilter, RefusedConfig> {
    let words = text.split(',').map(str::trim);
    let mut alone = words.filter(|word| !word.is_empty() && !word.contains(['=', '[']));
    if let Some(word) = alone.find(|word| LevelFilter::from_str(word).is_err()) {
        let problem = format!(
            "has `{word}`, which is no level: write off, error, warn, info, debug, trace, or module=level"
        );
        return Err(refused("log.filter", problem));
    }
    EnvFilter::try_new(text)
        .map_err(|error| refused("log.filter", format!("cannot be read: {error}")))
}

/// Returns the filter that holds whatever the configured one says. Directives could not do this: one
/// for a module of a library, or for a span, would win.
fn limits() -> FilterFn {
    filter_fn(|metadata: &Metadata<'_>| {
        let library = metadata.target().split("::").next().unwrap_or_default();
        match library {
            TRACED => false,
            // Its errors are those of the connection, which the caller reports.
            "rustls_platform_verifier" => *metadata.level() == Level::WARN,
            // What a bucket is asked again. If that fails too, the caller reports it.
            "object_store" => *metadata.level() != Level::INFO,
            _ if LIMITED_LIBRARIES.contains(&library) => *metadata.level() <= Level::INFO,
            _ => true,
        }
    })
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}

fn refused(key: &'static str, problem: String) -> RefusedConfig {
    RefusedConfig(ConfigError::Value { key, problem })
}

/// Returns the source of traces, which sends them in the background.
fn provider(endpoint: &str, sample_ratio: f64) -> CliResult<SdkTracerProvider> {
    // This fails if another part of the process has installed a provider, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let build = move || SpanExporter::builder().with_http().with_endpoint(endpoint).build();
    // The exporter's client blocks, so it must not be created by a thread of the runtime.
    let exporter = thread::spawn(build).join().map_err(|_| "tracing cannot be started")?;
    let exporter = exporter
        .map_err(|error| refused("tracing.otlp_endpoint", format!("cannot be used: {error}")))?;
    let resource = Resource::builder()
        .with_service_name("ticketwire")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio)));
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(TraceExporter::new(exporter))
        .with_sampler(sampler)
        .with_resource(resource)
        .build())
}
