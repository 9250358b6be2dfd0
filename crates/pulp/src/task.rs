//! Tasks: what the server does later, and how that ends.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Client, Doing, Href, PulpError, Repeat, Result};

const FIRST_POLL: Duration = Duration::from_millis(30);
const LONGEST_POLL: Duration = Duration::from_secs(1);
/// After how long a task that waits is looked into.
const SUSPICIOUS: Duration = Duration::from_secs(10);
/// How long there may be no worker at all.
const WITHOUT_WORKERS: Duration = Duration::from_secs(90);

/// Of a task what is asked for: its `result` may be a whole object.
const FIELDS: &str = "pulp_href,state,error,created_resources";

#[derive(Debug, Deserialize)]
struct Task {
    state: String,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    created_resources: Vec<Option<String>>,
}

#[derive(Debug, Deserialize)]
struct Count {
    count: u64,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The objects that were made.
    pub created: Vec<Href>,
    /// The object itself, where it was answered at once.
    pub object: Option<Value>,
}

impl Client {
    /// Waits for what an answer stands for: a task, or the object at once. Pulp does some changes in the request
    /// and others in a task, and which ones differs between its versions.
    ///
    /// # Errors
    /// With the task's own words where it failed; [`PulpError::TaskLost`] where it may do to send it again.
    pub(crate) async fn finished(&self, doing: &Doing, answer: Value) -> Result<Finished> {
        match answer.get("task").and_then(Value::as_str).map(Href::parse) {
            Some(Ok(task)) => self.task(doing, &task).await,
            Some(Err(what)) => Err(PulpError::Answer { doing: doing.clone(), url: self.server(), what }),
            None => Ok(Finished { created: Vec::new(), object: Some(answer) }),
        }
    }

    /// Takes back a task that takes too long, so that what it holds is free for the next one. That it cannot be is no
    /// reason for another error.
    pub(crate) async fn give_up(&self, error: &PulpError) {
        let PulpError::TaskSlow { doing, task, .. } = error else { return };
        let cancel = json!({ "state": "canceled" });
        drop(self.send::<Value>(doing, Method::PATCH, task.clone(), cancel, Repeat::Safe).await);
    }

    async fn task(&self, doing: &Doing, task: &Href) -> Result<Finished> {
        let started = Instant::now();
        let mut poll = FIRST_POLL;
        let mut suspicious_at = SUSPICIOUS;
        let mut no_worker_since = None;
        loop {
            let path = crate::client::with_query(task.as_str(), &[("fields", FIELDS)]);
            let state: Task = self.get(doing, path).await?;
            match state.state.as_str() {
                "completed" => return self.completed(doing, state),
                "failed" | "canceled" | "skipped" => return Err(failed(doing, task, &state)),
                _ => {}
            }
            if state.state == "waiting" && started.elapsed() > suspicious_at {
                suspicious_at += SUSPICIOUS;
                self.require_worker(doing, task, started, &mut no_worker_since).await?;
            }
            if started.elapsed() > self.inner.settings.task_patience {
                let workers = self.status().await.map_or(0, |status| status.workers());
                return Err(slow(doing, task, &state.state, started, workers));
            }
            tokio::time::sleep(poll).await;
            poll = poll.mul_f64(1.5).min(LONGEST_POLL);
        }
    }

    /// Of a task that waits: that there are workers, and that they know of it. What is queued while no worker runs
    /// is not begun when one comes, until another task is queued: so it is taken back, for the caller to send again.
    async fn require_worker(
        &self,
        doing: &Doing,
        task: &Href,
        started: Instant,
        no_worker_since: &mut Option<Instant>,
    ) -> Result<()> {
        let workers = self.status().await?.workers();
        if workers == 0 {
            let since = no_worker_since.get_or_insert_with(Instant::now);
            if since.elapsed() > WITHOUT_WORKERS {
                return Err(slow(doing, task, "waiting", started, workers));
            }
            return Ok(());
        }
        *no_worker_since = None;
        let path = self.api("tasks/", &[("state", "running"), ("limit", "1"), ("fields", "state")]);
        let running: Count = self.get(doing, path).await?;
        if running.count > 0 {
            return Ok(());
        }
        let cancel = json!({ "state": "canceled" });
        // It may have been begun in the meantime, and then cannot be taken back; the next poll shows it.
        let taken: Result<Value> =
            self.send(doing, Method::PATCH, task.to_string(), cancel, Repeat::Safe).await;
        match taken {
            Ok(_) => Err(PulpError::TaskLost {
                doing: doing.clone(),
                task: task.to_string(),
                said: "was not begun though workers are online and idle".to_owned(),
            }),
            Err(PulpError::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn completed(&self, doing: &Doing, task: Task) -> Result<Finished> {
        let created = task.created_resources.into_iter().flatten().map(|href| Href::parse(&href));
        let created = created.collect::<std::result::Result<_, _>>();
        created.map(|created| Finished { created, object: None }).map_err(|what| PulpError::Answer {
            doing: doing.clone(),
            url: self.server(),
            what,
        })
    }
}

fn slow(doing: &Doing, task: &Href, state: &str, started: Instant, workers: usize) -> PulpError {
    PulpError::TaskSlow {
        doing: doing.clone(),
        task: task.to_string(),
        state: state.to_owned(),
        waited: Duration::from_secs(started.elapsed().as_secs()),
        workers,
    }
}

/// How it failed: by an exception of its own, or because its worker was killed, which is no fault of the task.
fn failed(doing: &Doing, task: &Href, state: &Task) -> PulpError {
    let text = |key: &str| state.error.as_ref().and_then(|error| error.get(key)).and_then(Value::as_str);
    let (doing, task) = (doing.clone(), task.to_string());
    if let Some(description) = text("description").filter(|text| !text.is_empty()) {
        let words = crate::error::said(description.as_bytes(), false);
        return PulpError::Task { doing, task, said: format!("failed: {words}") };
    }
    let reason = crate::error::said(text("reason").unwrap_or("no reason is given").as_bytes(), false);
    PulpError::TaskLost { doing, task, said: format!("is {}: {reason}", state.state) }
}
