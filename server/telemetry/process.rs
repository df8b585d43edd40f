//! Metrics of this process, read from the system.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::model::UnixMillis;

/// Clock ticks per second of `/proc/self/stat`: USER_HZ is 100 on every Linux (proc(5), time(7)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Raises the limit of open files and sockets to the maximum that the system allows for this process. Returns the
/// number before and after; `u64::MAX` means no limit.
pub fn raise_open_files_limit() -> std::io::Result<(u64, u64)> {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(u64::MAX);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if before >= most {
        return Ok((before, before));
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok((before, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)))
}

/// Returns the resident memory in bytes; `None` without `/proc`.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Returns the number of open files and sockets; `None` without `/proc`.
pub fn open_files() -> Option<u64> {
    std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64)
}

/// Returns the CPU time used, user and system, in seconds; `None` without `/proc`.
pub fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the command in parentheses and may contain anything.
    let after_command = stat.rsplit_once(')')?.1;
    let mut fields = after_command.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// Metrics of the process, with the names of Prometheus' own client libraries.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    pub(super) started: UnixMillis,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        let limit = getrlimit(Resource::Nofile).current.map(|files| files as f64);
        let started = self.started.0 as f64 / 1_000.0;
        gauge(
            "process_start_time",
            "Start time of the process since the Unix epoch",
            Some(&Unit::Seconds),
            Some(started),
        )?;
        gauge("process_resident_memory", "Resident memory", Some(&Unit::Bytes), resident_bytes().map(|n| n as f64))?;
        gauge("process_open_fds", "Number of open files and sockets", None, open_files().map(|n| n as f64))?;
        gauge("process_max_fds", "Maximum number of open files and sockets", None, limit)?;
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let help = "Total CPU time, user and system";
            let unit = Some(&Unit::Seconds);
            counter.encode(encoder.encode_descriptor("process_cpu", help, unit, counter.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_metrics_are_readable() {
        assert!(resident_bytes().expect("memory") > 1 << 20);
        assert!(open_files().expect("files") >= 3);
        assert!(cpu_seconds().expect("time") >= 0.0);
    }

    #[test]
    fn limit_of_open_files_is_raised_once() {
        let (before, after) = raise_open_files_limit().expect("raised");
        assert!(after >= before);
        assert_eq!(raise_open_files_limit().expect("again"), (after, after));
    }
}
