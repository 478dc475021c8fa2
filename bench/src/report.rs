//! Results: one struct for programs, one table for people.

use std::time::Duration;

use hdrhistogram::Histogram;
use millstream_cli::{Output, Table};
use serde::Serialize;

use crate::process::BrokerUse;

/// Longest latency that a histogram keeps, in microseconds.
const LONGEST_US: u64 = 10 * 60 * 1_000_000;

/// Counts latencies to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are constant"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_micros() as u64);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            count: self.0.len(),
            mean_ms: self.0.mean() / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            p9999_ms: at(0.9999),
            max_ms: self.0.max() as f64 / 1000.0,
        }
    }
}

/// A distribution of latencies, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) p9999_ms: f64,
    pub(crate) max_ms: f64,
}

/// A rate over a time.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) seconds: f64,
    pub(crate) records: u64,
    pub(crate) requests: u64,
    /// Bytes of record values (produce), of batches (consume).
    pub(crate) bytes: u64,
    pub(crate) records_per_second: f64,
    pub(crate) requests_per_second: f64,
    /// Of 10⁶ bytes.
    pub(crate) megabytes_per_second: f64,
}

impl Throughput {
    pub(crate) fn new(elapsed: Duration, records: u64, requests: u64, bytes: u64) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        Self {
            seconds,
            records,
            requests,
            bytes,
            records_per_second: records as f64 / seconds,
            requests_per_second: requests as f64 / seconds,
            megabytes_per_second: bytes as f64 / 1e6 / seconds,
        }
    }
}

/// The result of a measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Report<S: Serialize> {
    pub(crate) benchmark: &'static str,
    pub(crate) address: String,
    pub(crate) settings: S,
    pub(crate) throughput: Throughput,
    /// From sending (produce) or from the intended time of sending (latency) to the acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledgement: Option<Percentiles>,
    /// From the intended time of sending to the consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_to_end: Option<Percentiles>,
    /// How late this program sent; part of the two above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) send_lateness: Option<Percentiles>,
    /// Processor seconds of this program.
    pub(crate) generator_cpu_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<BrokerUse>,
}

impl<S: Serialize> Report<S> {
    pub(crate) fn print(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Json => println!("{}", serde_json::to_string(self)?),
            Output::Text => print!("{}", self.text()),
        }
        Ok(())
    }

    fn text(&self) -> String {
        let t = &self.throughput;
        let mut text = format!(
            "{} records, {:.1} MB in {:.2} s, {} requests\n{:.0} records/s, {:.1} MB/s, {:.0} requests/s\n",
            t.records,
            t.bytes as f64 / 1e6,
            t.seconds,
            t.requests,
            t.records_per_second,
            t.megabytes_per_second,
            t.requests_per_second
        );
        let distributions = [
            ("to acknowledgement", &self.acknowledgement),
            ("to consumer", &self.end_to_end),
            ("sent late by", &self.send_lateness),
        ];
        let mut table = Table::new(&[
            "MILLISECONDS",
            "P50",
            "P90",
            "P99",
            "P99.9",
            "P99.99",
            "MAX",
            "MEAN",
        ]);
        let mut is_empty = true;
        for (name, percentiles) in distributions {
            if let Some(p) = percentiles {
                is_empty = false;
                let values = [
                    p.p50_ms, p.p90_ms, p.p99_ms, p.p999_ms, p.p9999_ms, p.max_ms, p.mean_ms,
                ];
                let cells = values.iter().map(|value| format!("{value:.3}"));
                table.row(std::iter::once(name.to_owned()).chain(cells).collect());
            }
        }
        if !is_empty {
            text.push_str(&table.to_string());
        }
        if let Some(b) = &self.broker {
            text.push_str(&format!(
                "broker: {:.2} CPU s ({:.2} cores), {:.2} CPU s/GB, {:.1} CPU s per million requests, {:.1} MiB resident, {:.1} MiB at most\n",
                b.cpu_seconds,
                b.cores,
                b.cpu_seconds_per_gb,
                b.cpu_seconds_per_million_requests,
                b.resident_mib,
                b.peak_mib
            ));
        }
        text.push_str(&format!(
            "this program: {:.2} CPU s\n",
            self.generator_cpu_seconds
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_out_to_three_digits() {
        let mut latencies = Latencies::new();
        for milliseconds in 1..=1000 {
            latencies.record(Duration::from_millis(milliseconds));
        }
        let p = latencies.percentiles();
        assert!((p.p50_ms - 500.0).abs() < 1.0, "{}", p.p50_ms);
        assert!((p.p99_ms - 990.0).abs() < 2.0, "{}", p.p99_ms);
        assert_eq!(p.count, 1000);
    }
}
