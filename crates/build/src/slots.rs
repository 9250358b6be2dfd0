//! Compile slots that several builds of one process share.

use std::num::NonZeroUsize;
use std::sync::Arc;

use camino::Utf8Path;
use drivetrain_host::Host;
use fs_err as fs;

use crate::BuildError;
use crate::jobserver::JobServer;
use crate::lease::RunDirectory;

/// A pool of compile slots, for builds that run beside each other: together they run no more compilers than one of them
/// alone would, and what one of them leaves idle another takes.
#[derive(Debug)]
pub struct Slots {
    pub(crate) server: Arc<JobServer>,
    run: RunDirectory,
}

impl Slots {
    /// Makes a pool of as many slots, in a directory of its own in `work`, which is where the builds work.
    ///
    /// # Errors
    /// Where the directory or the pipe in it cannot be made.
    pub async fn create(host: &dyn Host, work: &Utf8Path, jobs: NonZeroUsize) -> Result<Self, BuildError> {
        let run = RunDirectory::create(host, work).await?;
        let server = Self::server(host, run.path(), jobs).await?;
        Ok(Self { server, run })
    }

    /// The pool of one build alone, in its own directory.
    pub(crate) async fn server(
        host: &dyn Host,
        run: &Utf8Path,
        jobs: NonZeroUsize,
    ) -> Result<Arc<JobServer>, BuildError> {
        let directory = run.join("slots");
        host.create_work_directory(&directory).await.map_err(BuildError::Host)?;
        let server =
            JobServer::create(&directory, jobs.get()).map_err(BuildError::file("create", &directory))?;
        Ok(Arc::new(server))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // What cannot be removed now, the next build removes.
        drop(fs::remove_dir_all(self.run.path()));
    }
}
