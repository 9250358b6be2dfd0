//! A process while it runs: its output, and its deadline.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::lines::LineSplitter;
use crate::log::Log;
use crate::{HostError, LineSink};

/// Hands the output of a process on until nobody holds the pipe any more: to the log as it is, to the sink in lines, and
/// to `look` as it comes. `of` is for the error.
pub(crate) async fn pump(
    of: &'static str,
    output: &mut Receiver,
    log: &mut Option<Log>,
    sink: &mut dyn LineSink,
    look: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<(), HostError> {
    let mut buffer = vec![0; 64 * 1024];
    let mut lines = LineSplitter::default();
    loop {
        let count = output.read(&mut buffer).await.map_err(HostError::process(of))?;
        if count == 0 {
            lines.finish(sink);
            return Ok(());
        }
        look(&buffer[..count]);
        if let Some(log) = log {
            log.write(&buffer[..count])?;
        }
        lines.push(&buffer[..count], sink);
    }
}

/// Ends after this time; never, where there is none.
pub(crate) async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
