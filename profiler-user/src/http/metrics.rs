//! `/metrics` in the OpenMetrics text format, `/healthz` and `/readyz`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use profiler_common::outcome::Outcome;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text::encode};
use prometheus_client::metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge};
use prometheus_client::registry::{Registry, Unit};

use crate::confine;
use crate::pipeline::on_demand::OnDemand;
use crate::status::Status;
use crate::sys::{lost_pages, own};
use crate::upload::debuginfo::Files;
use crate::upload::{Counters, Delivery};

/// <https://github.com/prometheus/OpenMetrics>, version 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What the agent did.
    pub status: Arc<Status>,
    /// Who waits for a profile.
    pub on_demand: Arc<OnDemand>,
    /// What is sent elsewhere.
    pub deliveries: Vec<Arc<Delivery>>,
}

/// The routes.
pub fn router(measured: Measured) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .with_state(measured)
}

async fn metrics(State(measured): State<Measured>) -> Response {
    match text(measured) {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn healthy(State(Measured { status, .. }): State<Measured>) -> Response {
    match status.trouble() {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn ready(State(Measured { status, .. }): State<Measured>) -> Response {
    if status.is_ready() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no window has been finished yet\n").into_response()
    }
}

/// All metrics as they are now.
fn text(measured: Measured) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("profiler");
    registry.register_collector(Box::new(measured.clone()));
    let mut own = Registry::default();
    own.register_collector(Box::new(Own));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    // Each registry ends with what must be there once.
    text.truncate(text.len() - "# EOF\n".len());
    encode(&mut text, &own)?;
    Ok(text)
}

/// Writes one metric after the other.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn counter(&mut self, name: &str, help: &str, counter: &AtomicU64) -> fmt::Result {
        self.one(name, help, None, MetricType::Counter, &ConstCounter::new(counter.load(Ordering::Relaxed)))
    }

    fn seconds(&mut self, name: &str, help: &str, nanoseconds: &AtomicU64) -> fmt::Result {
        let seconds = nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        self.one(name, help, Some(&Unit::Seconds), MetricType::Counter, &ConstCounter::new(seconds))
    }

    fn one(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        value: &impl EncodeMetric,
    ) -> fmt::Result {
        value.encode(self.0.encode_descriptor(name, help, unit, kind)?)
    }

    /// One metric with a value for each value of a label.
    fn family<'v>(
        &mut self,
        [name, help, label]: [&str; 3],
        unit: Option<&Unit>,
        kind: MetricType,
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, unit, kind)?;
        for (key, value) in values {
            let labels = [(label, key)];
            let encoder = encoder.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(value).encode(encoder)?,
                _ => ConstGauge::new(value).encode(encoder)?,
            }
        }
        Ok(())
    }
}

impl Writer<'_> {
    /// What became of files with symbols.
    fn debuginfo(&mut self, deliveries: &[Arc<Delivery>]) -> fmt::Result {
        let mut offering = deliveries.iter().filter(|delivery| delivery.target().debuginfo).peekable();
        if offering.peek().is_none() {
            return Ok(());
        }
        let help = "Files with symbols that were to be offered, by what became of them.";
        let mut encoder = self.0.encode_descriptor("debuginfo_files", help, None, MetricType::Counter)?;
        for delivery in offering {
            let Files { sent, not_wanted, useless, too_large, failed, dropped } = &delivery.debuginfo.files;
            let outcomes: [(&str, &AtomicU64); 6] = [
                ("sent", sent),
                ("not_wanted", not_wanted),
                ("useless", useless),
                ("too_large", too_large),
                ("failed", failed),
                ("dropped", dropped),
            ];
            for (outcome, counter) in outcomes {
                let labels = [("target", delivery.name()), ("outcome", outcome)];
                ConstCounter::new(counter.load(Ordering::Relaxed)).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// What became of everything that was to be sent.
    fn uploads(&mut self, deliveries: &[Arc<Delivery>]) -> fmt::Result {
        let help = "Profiles to be sent, by what became of them; made is all of them.";
        let mut encoder = self.0.encode_descriptor("upload_series", help, None, MetricType::Counter)?;
        for delivery in deliveries {
            let Counters { made, delivered, rejected, expired, full, lost, .. } = &delivery.counters;
            let outcomes: [(&str, &AtomicU64); 6] = [
                ("made", made),
                ("delivered", delivered),
                ("rejected", rejected),
                ("expired", expired),
                ("full", full),
                ("lost", lost),
            ];
            for (outcome, counter) in outcomes {
                let labels = [("target", delivery.name()), ("outcome", outcome)];
                ConstCounter::new(counter.load(Ordering::Relaxed)).encode(encoder.encode_family(&labels)?)?;
            }
        }
        self.debuginfo(deliveries)?;
        let of = |counter: fn(&Counters) -> &AtomicU64| {
            deliveries.iter().map(move |one| (one.name(), counter(&one.counters).load(Ordering::Relaxed)))
        };
        let bytes = Some(&Unit::Bytes);
        let retries = of(|counters| &counters.retries);
        self.family(
            ["upload_retries", "Requests that failed.", "target"],
            None,
            MetricType::Counter,
            retries,
        )?;
        let sent = of(|counters| &counters.bytes);
        self.family(
            ["upload", "Bytes of profiles that arrived.", "target"],
            bytes,
            MetricType::Counter,
            sent,
        )?;
        let batches = of(|counters| &counters.waiting[0]);
        self.family(
            ["spool_batches", "Windows that wait to be sent.", "target"],
            None,
            MetricType::Gauge,
            batches,
        )?;
        let waiting = of(|counters| &counters.waiting[1]);
        self.family(["spool", "Bytes that wait to be sent.", "target"], bytes, MetricType::Gauge, waiting)
    }
}

impl Collector for Measured {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self { status, on_demand, deliveries } = self;
        let mut to = Writer(encoder);
        let version = [("version", env!("CARGO_PKG_VERSION")), ("arch", std::env::consts::ARCH)];
        let mut info = to.0.encode_descriptor("build", "What was built.", None, MetricType::Gauge)?;
        ConstGauge::new(1).encode(info.encode_family(&version)?)?;
        let outcomes = status.outcomes();
        let by_name = Outcome::ALL.iter().map(|&outcome| (outcome.name(), outcomes[outcome as usize]));
        to.family(
            ["ticks", "Ticks of the clocks by what became of them.", "outcome"],
            None,
            MetricType::Counter,
            by_name,
        )?;
        let counters = &status.counters;
        to.counter("windows", "Windows, or parts of them, that were named.", &counters.windows)?;
        to.seconds("naming", "Time that naming took.", &counters.naming_ns)?;
        to.seconds("naming_wait", "Time that windows waited to be named.", &counters.waiting_ns)?;
        let help = "Times that the kernel refused to hand out a window, which then waited there.";
        to.counter("window_refusals", help, &counters.refusals)?;
        let help = "Pages of files that were cut short while they were read.";
        to.counter("lost_pages", help, &AtomicU64::new(lost_pages::count()))?;
        let help = "Processes that read names and ended: over a file, which has none then, or by somebody.";
        to.counter("reader_ends", help, &AtomicU64::new(own::share().ends))?;
        let help = "Times that a file's debug information was left out, for it may be more than --memory has room for.";
        to.counter("debug_information_left_out", help, &AtomicU64::new(status.gauge().left_out()))?;
        to.counter("profiles_written", "Profiles written to the folder.", &counters.written)?;
        to.counter("profile_write_errors", "Profiles that could not be written.", &counters.write_errors)?;
        to.counter("windows_pruned", "Windows removed from the folder.", &counters.pruned)?;
        to.counter("http_profiles", "Profiles taken over HTTP.", &counters.requests)?;
        let waiting = ConstGauge::new(u64::try_from(on_demand.len()).unwrap_or(u64::MAX));
        to.one(
            "http_profiles_in_progress",
            "Profiles being taken over HTTP.",
            None,
            MetricType::Gauge,
            &waiting,
        )?;
        let processes = ConstGauge::new(u64::try_from(status.processes().len()).unwrap_or(u64::MAX));
        to.one("processes", "Processes sampled in the last window.", None, MetricType::Gauge, &processes)?;
        let gauge = status.gauge();
        let parts = gauge.parts();
        let help = "Memory in use by part, BPF maps included.";
        to.family(
            ["memory", help, "part"],
            Some(&Unit::Bytes),
            MetricType::Gauge,
            parts.named().into_iter(),
        )?;
        let budget = ConstGauge::new(gauge.memory().bytes);
        to.one("memory_budget", "What --memory allows.", Some(&Unit::Bytes), MetricType::Gauge, &budget)?;
        let paused = ConstGauge::new(u64::from(status.is_paused()));
        to.one(
            "paused",
            "1 while other hosts of the fleet have their turn.",
            None,
            MetricType::Gauge,
            &paused,
        )?;
        let in_force = confine::in_force();
        let of = |is_so: fn(&confine::InForce) -> bool| u64::from(in_force.is_some_and(is_so));
        let parts = [
            ("seccomp", of(|in_force| in_force.seccomp)),
            ("landlock", of(|in_force| in_force.landlock.is_some())),
            ("no_new_privileges", of(|in_force| in_force.no_new_privileges)),
        ];
        to.family(
            ["confinement", "1 where the agent is held back so.", "part"],
            None,
            MetricType::Gauge,
            parts.into_iter(),
        )?;
        if deliveries.is_empty() { Ok(()) } else { to.uploads(deliveries) }
    }
}

/// What client libraries of Prometheus say of every process
/// (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
#[derive(Debug)]
struct Own;

impl Collector for Own {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Writer(encoder);
        let usage = own::usage();
        let cpu = ConstCounter::new(usage.cpu.as_secs_f64());
        to.one(
            "process_cpu",
            "CPU time of the profiler's user side.",
            Some(&Unit::Seconds),
            MetricType::Counter,
            &cpu,
        )?;
        let resident = ConstGauge::new(usage.resident_bytes);
        to.one(
            "process_resident_memory",
            "Resident set size.",
            Some(&Unit::Bytes),
            MetricType::Gauge,
            &resident,
        )?;
        let files = ConstGauge::new(usage.open_files);
        to.one("process_open_fds", "Open file descriptors.", None, MetricType::Gauge, &files)?;
        let since = usage.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = ConstGauge::new(since.as_secs_f64());
        to.one(
            "process_start_time",
            "Start of the process since the Unix epoch.",
            Some(&Unit::Seconds),
            MetricType::Gauge,
            &start,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::budget::{Gauge, Memory};

    #[test]
    fn every_outcome_and_every_part_is_there() {
        let status = Arc::new(Status::new(Gauge::new(Memory { bytes: 1 << 30 }), Duration::from_secs(60)));
        status.counters.naming_ns.store(1_500_000_000, Ordering::Relaxed);
        let text = text(Measured { status, on_demand: Arc::default(), deliveries: vec![] }).unwrap();
        for outcome in Outcome::ALL {
            assert!(
                text.contains(&format!("profiler_ticks_total{{outcome=\"{}\"}} 0\n", outcome.name())),
                "{text}"
            );
        }
        for wanted in [
            "profiler_build{version=",
            "# TYPE profiler_naming_seconds counter\n",
            "profiler_naming_seconds_total 1.5\n",
            "profiler_memory_bytes{part=\"tables\"} ",
            "profiler_memory_budget_bytes 1073741824\n",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.ends_with("# EOF\n"));
    }
}
