//! The file that `drivetrain init` writes.

/// A commented configuration with every key there is: what `drivetrain init` writes, and the reference of the
/// format. It parses as it is, so it cannot fall behind the code.
#[must_use]
pub fn config_template() -> &'static str {
    include_str!("template.yaml")
}
