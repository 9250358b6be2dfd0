//! The agent alone: small, and so what the tests of this crate boot.

fn main() -> std::process::ExitCode {
    drivetrain_boot::guest::enter().unwrap_or(std::process::ExitCode::FAILURE)
}
