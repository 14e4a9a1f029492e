//! The metrics of the process, by the names that Prometheus' client libraries use. On systems without
//! `/proc` most of them are left out.

use std::fs;

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use crate::metrics::Snapshot;

/// The fields of `/proc/self/stat` after the name, counted from the state (field 3 of `proc(5)`).
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
#[cfg(target_os = "linux")]
const START_TIME: usize = 19;
const RESIDENT_PAGES: usize = 21;

/// Adds the metrics of this process.
pub fn add(snapshot: &mut Snapshot) {
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        let help = "The largest number of file descriptors";
        snapshot.process_gauge("process_max_fds", help, limit as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them reads the folder.
        let count = open.count().saturating_sub(1);
        snapshot.process_gauge("process_open_fds", "Open file descriptors", count as f64);
    }
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        let _ = add_stat(snapshot, &stat);
    }
}

fn add_stat(snapshot: &mut Snapshot, stat: &str) -> Option<()> {
    // The name may contain spaces and parentheses.
    let fields = stat.rsplit_once(") ")?.1.split(' ').collect::<Vec<_>>();
    let field = |index: usize| fields.get(index)?.parse::<f64>().ok();
    let ticks = clock_ticks_per_second() as f64;
    let used = (field(USER_TIME)? + field(SYSTEM_TIME)?) / ticks;
    let help = "Processor time of the user and the system";
    snapshot.process_seconds_counter("process_cpu_seconds", help, used);
    let resident = field(RESIDENT_PAGES)? * page_size() as f64;
    snapshot.process_gauge("process_resident_memory_bytes", "Resident memory", resident);
    #[cfg(target_os = "linux")]
    {
        let help = "When the process started, in seconds since 1970";
        let started = started(field(START_TIME)? / ticks);
        snapshot.process_gauge("process_start_time_seconds", help, started);
    }
    Some(())
}

/// Returns when the process started, in seconds since 1970. `/proc/stat` has the start of the system,
/// but a unit may hide it.
#[cfg(target_os = "linux")]
fn started(seconds_after_boot: f64) -> f64 {
    use std::sync::OnceLock;

    use rustix::time::{ClockId, clock_gettime};

    // Computed once: the two clocks are not read at the same moment.
    static STARTED: OnceLock<f64> = OnceLock::new();
    let seconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let booted = || seconds(ClockId::Realtime) - seconds(ClockId::Boottime);
    *STARTED.get_or_init(|| booted() + seconds_after_boot)
}
