//! Exit codes: what a calling script may rely on.

/// How a command ended. The numbers are part of the interface and are listed by `drivetrain --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// All that was asked for was done, or there was nothing to do.
    Success = 0,
    /// Something failed for which there is no number of its own.
    Failure = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
    /// The plan cannot be carried out, or does not fit the lock.
    Plan = 3,
    /// An input could not be had, or is not what its checksum or signature says.
    Input = 4,
    /// A component did not build.
    Build = 5,
    /// A module would not load on the target kernel; nothing was published.
    Proof = 6,
    /// Publishing failed; what was served before is served still.
    Publish = 7,
    /// Another run holds the cell, or the host to build on.
    Busy = 8,
    /// A machine to build on could not be had, made ready, or removed.
    Machine = 9,
    /// Some of several cells succeeded, and others did not.
    Some = 10,
    /// A fault of drivetrain's own.
    Internal = 70,
    /// Interrupted by a signal; the next run goes on from here.
    Interrupted = 130,
}

impl ExitCode {
    /// All of them, in order, with a line of explanation each.
    pub const ALL: &[(ExitCode, &str)] = &[
        (Self::Success, "done, or nothing to do"),
        (Self::Failure, "failed, for a reason without a code of its own"),
        (Self::Usage, "the command line or the configuration is wrong; nothing was started"),
        (Self::Plan, "the plan cannot be carried out, or does not fit the lock"),
        (Self::Input, "an input could not be fetched, or failed its checksum or signature"),
        (Self::Build, "a component did not build"),
        (Self::Proof, "a module would not load on the target kernel; nothing was published"),
        (Self::Publish, "publishing failed; what was served before is served still"),
        (Self::Busy, "another run holds the cell, or the host to build on"),
        (Self::Machine, "a machine to build on could not be had, made ready, or removed"),
        (Self::Some, "some of several cells succeeded, and others did not"),
        (Self::Internal, "a fault of drivetrain's own: please report it"),
        (Self::Interrupted, "interrupted; the next run goes on from here"),
    ];
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> u8 {
        code as u8
    }
}
