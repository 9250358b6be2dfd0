//! HTTP, by curl.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cmd::{command, run_with_input};

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A request with an answer, whatever its status. `user` is `name:password`.
pub(super) fn request(method: &str, url: &str, user: Option<&str>, body: Option<&Value>) -> Result<Answer> {
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]);
    curl.args(["--request", method, "--write-out", "\n%{http_code}"]);
    if let Some(user) = user {
        curl.args(["--user", user]);
    }
    if body.is_some() {
        curl.args(["--header", "Content-Type: application/json", "--data-binary", "@-"]);
    }
    let sent = body.map(Value::to_string).unwrap_or_default();
    let output = run_with_input(curl.arg(url), sent.as_bytes())?;
    let (body, status) = output.rsplit_once('\n').context("curl said nothing")?;
    Ok(Answer { status: status.parse()?, body: body.to_owned() })
}

/// A GET without a user.
pub(super) fn get(url: &str) -> Result<Answer> {
    request("GET", url, None, None)
}
