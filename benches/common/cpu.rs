//! The CPU time of processes.

/// The fields of `/proc/…/stat` after the name of the program that count the time of the process:
/// in user mode and in the kernel.
pub const OWN: [usize; 2] = [11, 12];

/// Returns the sum of some fields of `/proc/…/stat` that count time, in seconds, or `None` if there
/// is no such process.
pub fn seconds(pid: u32, fields: &[usize]) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let values = stat.rsplit(") ").next().expect("fields").split(' ').collect::<Vec<_>>();
    let ticks = fields.iter().map(|&field| values[field].parse::<f64>().expect("a number"));
    // Linux counts in ticks of 10 ms.
    Some(ticks.sum::<f64>() / 100.0)
}
