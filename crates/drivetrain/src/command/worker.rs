//! `drivetrain worker`: what a builder runs. Not for people.

use std::io;

use drivetrain_build::{serve_build, serve_probe, serve_unpack};
use drivetrain_host::CancellationToken;
use drivetrain_model::ExitCode;

use crate::cli::Worker;
use crate::failure::Result;
use crate::pipeline::until_signal;

/// Does what the other side asks for, and tells it on standard output, for which this is the view.
pub async fn run(args: &Worker) -> Result<ExitCode> {
    let out = Box::new(io::stdout());
    let cancel = CancellationToken::new();
    let work = async {
        match args {
            Worker::Probe { directory } => serve_probe(directory, out).await,
            Worker::Build { directory, request } => serve_build(directory, request, out, &cancel).await,
            Worker::Unpack { archive, place } => serve_unpack(archive, place, out),
        }
        Ok(ExitCode::Success)
    };
    until_signal(&cancel, work).await
}
