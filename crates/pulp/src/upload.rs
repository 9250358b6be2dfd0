//! Packages on their way to the server: in one request, or in chunks.

use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use drivetrain_model::Sha256Digest;
use futures_util::TryStreamExt as _;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::client::{Ask, Body};
use crate::{Client, Doing, Href, PulpError, Repeat, Result};

/// A package file, as it was looked at here.
#[derive(Debug, Clone, Copy)]
pub struct PackageFile<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its name for the server.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// Its sha256.
    pub sha256: Sha256Digest,
}

#[derive(Debug, Deserialize)]
struct Uploaded {
    pulp_href: Href,
    #[serde(default)]
    sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Upload {
    pulp_href: Href,
}

impl Client {
    /// Sends a package, outside of any repository. `chunk` is the size of its parts in bytes; `None` for one request.
    /// `sent` is told of bytes that have arrived.
    ///
    /// # Errors
    /// Where it was refused, or has become other bytes.
    pub async fn upload_package(
        &self,
        file: PackageFile<'_>,
        chunk: Option<u64>,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Href> {
        let doing = Doing::new(format!("upload {}", file.name))
            .needs("rpm.upload_rpm_packages", "rpm.rpm_package_uploader");
        let at_once = self.capabilities().await?.upload_at_once;
        let sent = self.sent(&doing, file, chunk, at_once, sent).await;
        let uploaded = sent.map_err(|error| self.only_administrators(error))?;
        self.require_same(file, uploaded).await
    }

    async fn sent(
        &self,
        doing: &Doing,
        file: PackageFile<'_>,
        chunk: Option<u64>,
        at_once: bool,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Uploaded> {
        match (at_once, chunk) {
            (true, None) => {
                let uploaded = self.in_one(doing, file, "content/rpm/packages/upload/").await?;
                sent(file.size);
                Ok(uploaded)
            }
            (false, None) => {
                let uploaded = self.in_one_task(doing, file).await?;
                sent(file.size);
                Ok(uploaded)
            }
            (_, Some(chunk)) => self.in_chunks(doing, file, chunk, at_once, sent).await,
        }
    }

    /// What an old server says to others than administrators, explained.
    fn only_administrators(&self, error: PulpError) -> PulpError {
        match (&error, self.inner.capabilities.get()) {
            (PulpError::Refused { said, .. }, Some(server))
                if said.contains("repository was not provided") =>
            {
                PulpError::Server {
                    server: self.server(),
                    what: format!(
                        "has pulp_rpm {}, where only administrators can upload packages for drivetrain. From 3.33 on \
                         the role rpm.rpm_package_uploader is enough",
                        server.rpm
                    ),
                }
            }
            _ => error,
        }
    }

    /// One request that answers with the package. Sending the same again is answered with the same.
    async fn in_one(&self, doing: &Doing, file: PackageFile<'_>, endpoint: &str) -> Result<Uploaded> {
        let answer = self.raced(|| async { self.json(&self.file_ask(doing, file, endpoint)).await });
        answer.await
    }

    /// As older servers do it: one request that begins a task.
    async fn in_one_task(&self, doing: &Doing, file: PackageFile<'_>) -> Result<Uploaded> {
        let answer: Value = self
            .raced(|| async { self.json(&self.file_ask(doing, file, "content/rpm/packages/")).await })
            .await?;
        self.of_task(doing, answer).await
    }

    fn file_ask<'a>(&self, doing: &'a Doing, file: PackageFile<'a>, endpoint: &str) -> Ask<'a> {
        Ask {
            doing,
            method: Method::POST,
            path: self.api(endpoint, &[]),
            body: Body::File {
                path: file.path,
                name: file.name.to_owned(),
                offset: 0,
                size: file.size,
                fields: Vec::new(),
            },
            headers: Vec::new(),
            repeat: Repeat::Safe,
        }
    }

    async fn of_task(&self, doing: &Doing, answer: Value) -> Result<Uploaded> {
        let finished = self.finished(doing, answer).await?;
        let href = finished.created.into_iter().find(|href| href.kind() == "content/rpm/packages");
        let pulp_href = href.ok_or_else(|| PulpError::Answer {
            doing: doing.clone(),
            url: self.server(),
            what: "the task made no package".to_owned(),
        })?;
        Ok(Uploaded { pulp_href, sha256: None })
    }

    /// Of two that send the same new file at once one may be told that it is there already: then it is.
    async fn raced<T, F: Future<Output = Result<T>>>(&self, send: impl Fn() -> F) -> Result<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            match send().await {
                Err(PulpError::Refused { said, .. }) if tries < 5 && said.contains("already exists") => {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
                other => return other,
            }
        }
    }

    async fn in_chunks(
        &self,
        doing: &Doing,
        file: PackageFile<'_>,
        chunk: u64,
        at_once: bool,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Uploaded> {
        let begin = Doing::new(format!("upload {} in parts", file.name))
            .needs("core.add_upload", "core.upload_creator");
        let path = self.api("uploads/", &[]);
        let upload: Upload =
            self.send(&begin, Method::POST, path, json!({ "size": file.size }), Repeat::Safe).await?;
        let made = self.send_chunks(doing, file, &upload.pulp_href, chunk, sent).await;
        let made = match made {
            Ok(()) => self.of_upload(doing, &upload.pulp_href, at_once).await,
            Err(error) => Err(error),
        };
        // The record stays otherwise, with its chunks. That it cannot be removed is no reason to fail: the server
        // drops what nobody finished after a while.
        drop(self.delete(&Doing::new("remove an upload"), &upload.pulp_href).await);
        made
    }

    async fn send_chunks(
        &self,
        doing: &Doing,
        file: PackageFile<'_>,
        upload: &Href,
        chunk: u64,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<()> {
        let chunk = chunk.max(64 << 10);
        // Half of the connections: other packages are on their way as well.
        let at_once = (self.settings().connections / 2).max(1);
        let offsets = (0..file.size).step_by(usize::try_from(chunk).unwrap_or(usize::MAX));
        futures_util::stream::iter(offsets.map(Ok))
            .try_for_each_concurrent(at_once, async |offset: u64| {
                let size = chunk.min(file.size - offset);
                self.send_chunk(doing, file, upload, offset, size).await?;
                sent(size);
                Ok(())
            })
            .await
    }

    async fn send_chunk(
        &self,
        doing: &Doing,
        file: PackageFile<'_>,
        upload: &Href,
        offset: u64,
        size: u64,
    ) -> Result<()> {
        let sha256 = chunk_digest(file.path, offset, size).await?;
        let range = format!("bytes {offset}-{}/{}", offset + size - 1, file.size);
        let body = Body::File {
            path: file.path,
            name: "chunk".to_owned(),
            offset,
            size,
            fields: vec![("sha256", sha256.to_string())],
        };
        let ask = Ask {
            doing,
            method: Method::PUT,
            path: upload.to_string(),
            body,
            headers: vec![("content-range", range)],
            repeat: Repeat::Safe,
        };
        self.exchange(&ask).await.map(drop)
    }

    /// Makes a package of an upload that is complete.
    async fn of_upload(&self, doing: &Doing, upload: &Href, at_once: bool) -> Result<Uploaded> {
        let endpoint = if at_once { "content/rpm/packages/upload/" } else { "content/rpm/packages/" };
        let answer: Value = self
            .raced(|| async {
                let ask = Ask {
                    doing,
                    method: Method::POST,
                    path: self.api(endpoint, &[]),
                    body: Body::Form(vec![("upload", upload.to_string())]),
                    headers: Vec::new(),
                    repeat: Repeat::Safe,
                };
                self.json(&ask).await
            })
            .await?;
        if !at_once {
            return self.of_task(doing, answer).await;
        }
        serde_json::from_value(answer).map_err(|error| PulpError::Answer {
            doing: doing.clone(),
            url: self.server(),
            what: error.to_string(),
        })
    }

    /// That what the server has is what was sent: it takes cut packages, and ignores checksums that it is given.
    async fn require_same(&self, file: PackageFile<'_>, uploaded: Uploaded) -> Result<Href> {
        let got = match uploaded.sha256 {
            Some(sha256) => sha256,
            None => {
                let doing = Doing::new(format!("compare {} with what the server has", file.name));
                let package: crate::Package = self.get(&doing, uploaded.pulp_href.to_string()).await?;
                package.pkg_id
            }
        };
        if got == file.sha256.to_string() {
            return Ok(uploaded.pulp_href);
        }
        let got = got.chars().take(64).collect();
        Err(PulpError::Checksum { file: file.name.to_owned(), got, sent: file.sha256 })
    }
}

/// Of a part of a file, read in pieces: a chunk may be larger than what is to be in memory.
async fn chunk_digest(path: &Path, offset: u64, size: u64) -> Result<Sha256Digest> {
    let owned = path.to_owned();
    let read = move || {
        let mut file = fs_err::File::open(&owned)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut hasher = Sha256::new();
        std::io::copy(&mut BufReader::with_capacity(128 << 10, file.take(size)), &mut hasher)?;
        Ok(Sha256Digest::from_bytes(hasher.finalize().into()))
    };
    let digest =
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    digest.map_err(|source| PulpError::File { file: path.display().to_string(), source })
}
