//! What the kernel says of itself.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::mount::{MountFlags, mount};

use crate::protocol::{Fact, KEPT_CHARACTERS, KEPT_LINES};

/// Mounts what programs ask the kernel by, below a directory.
pub(super) fn mount_all(below: &str) -> io::Result<()> {
    for (kind, place) in
        [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run"), ("tmpfs", "/tmp")]
    {
        let target = format!("{below}{place}");
        std::fs::create_dir_all(&target)?;
        match mount(kind, &target, kind, MountFlags::empty(), None) {
            // The kernel may have mounted /dev itself.
            Ok(()) | Err(rustix::io::Errno::BUSY) => {}
            Err(error) => return Err(io::Error::other(format!("{target}: {error}"))),
        }
    }
    Ok(())
}

/// Sets one of the kernel's own settings, where there is such a one.
pub(super) fn set(path: &str, value: &str) {
    drop(std::fs::write(path, value));
}

pub(super) fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

pub(super) fn number(path: &str) -> Option<u64> {
    text(path)?.parse().ok()
}

pub(super) fn uptime_ms() -> u64 {
    let text = text("/proc/uptime").unwrap_or_default();
    let mut parts = text.split([' ', '.']).map(|part| part.parse::<u64>().unwrap_or_default());
    let (seconds, hundredths) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    seconds * 1000 + hundredths * 10
}

pub(super) fn booted() -> Fact {
    let memory = text("/proc/meminfo").unwrap_or_default();
    let memory_kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    Fact::Booted {
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        uptime_ms: uptime_ms(),
        sig_enforce: text("/sys/module/module/parameters/sig_enforce").map(|text| text == "Y"),
        memory_kib,
    }
}

/// The kernel's log, from where it was last read.
pub(super) struct KernelLog(Option<File>);

impl KernelLog {
    pub(super) fn open() -> Self {
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        Self(File::options().read(true).custom_flags(flags).open("/dev/kmsg").ok())
    }

    pub(super) fn skip(&mut self) {
        drop(self.since());
    }

    /// What was said since the last time: the first lines of it, where it is long.
    pub(super) fn since(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        let Some(file) = &mut self.0 else { return said };
        let mut record = [0; 8192];
        loop {
            match file.read(&mut record) {
                Ok(0) => return said,
                Ok(length) if said.len() < KEPT_LINES => {
                    said.extend(message(&String::from_utf8_lossy(&record[..length])));
                }
                Ok(_) => {}
                // Some were overwritten before they were read; what follows is still there.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
                Err(_) => return said,
            }
        }
    }
}

/// Of `priority,sequence,time,flags;message` with properties behind it, the message.
fn message(record: &str) -> Option<String> {
    let (head, rest) = record.split_once(';')?;
    // What the agent itself notes there.
    let facility: u32 = head.split(',').next()?.parse().ok()?;
    let line = rest.lines().next()?;
    (facility < 8 && !line.is_empty()).then(|| line.chars().take(KEPT_CHARACTERS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_record_the_kernels_own_words_are_kept() {
        assert_eq!(
            message("4,339,5140900,-;foo: disagrees about version of symbol module_layout\n SUBSYSTEM=x\n")
                .as_deref(),
            Some("foo: disagrees about version of symbol module_layout")
        );
        assert_eq!(message("12,340,5140900,-;drivetrain: loading foo\n"), None);
        assert_eq!(message("nothing"), None);
    }
}
