//! Numbers and moments as people read them.

use jiff::Timestamp;

/// A time span: `340 ms`, `12.3 s`, `3 min 12 s`, `1 h 5 min`.
#[must_use]
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A size: `512 B`, `6.7 MB`. Powers of ten, as package managers show them.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: &[&str] = &["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut tenths = count / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `1 module`, `18 modules`, `2 repositories`.
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {what}s"),
    }
}

/// `2026-11-27 22:08:07 UTC`
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_sizes_and_numbers_are_short() {
        assert_eq!(
            [999, 59_999, 192_345, 3_900_000].map(duration),
            ["999 ms", "59.9 s", "3 min 12 s", "1 h 5 min"]
        );
        assert_eq!([999, 1000, 6_712_345].map(bytes), ["999 B", "1.0 kB", "6.7 MB"]);
        assert_eq!(count(1, "module"), "1 module");
        assert_eq!(count(0, "repository"), "0 repositories");
    }
}
