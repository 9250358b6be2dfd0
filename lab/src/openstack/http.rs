//! HTTP, by curl.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cmd::{command, run_with_input};

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) token: Option<String>,
    pub(super) body: Value,
}

/// A request with an answer, whatever its status. What is no JSON is `null`.
pub(super) fn request(method: &str, url: &str, token: Option<&str>, body: Option<&Value>) -> Result<Answer> {
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "120", "--request", method]);
    curl.args(["--write-out", "\n%{http_code} %header{x-subject-token}"]);
    curl.args(["--header", "OpenStack-API-Version: compute 2.79"]);
    if let Some(token) = token {
        curl.args(["--header", &format!("X-Auth-Token: {token}")]);
    }
    if body.is_some() {
        curl.args(["--header", "Content-Type: application/json", "--data-binary", "@-"]);
    }
    let sent = body.map(Value::to_string).unwrap_or_default();
    let output = run_with_input(curl.arg(url), sent.as_bytes())?;
    let (body, last) = output.rsplit_once('\n').context("curl said nothing")?;
    let (status, token) = last.split_once(' ').context("curl said no status")?;
    let token = Some(token.to_owned()).filter(|token| !token.is_empty());
    Ok(Answer { status: status.parse()?, token, body: serde_json::from_str(body).unwrap_or_default() })
}
