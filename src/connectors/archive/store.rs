//! The object store behind an archive: a folder, or an S3 bucket.
//!
//! The invariant: an object is either there as a whole or not at all (a rename, or the end of an upload), and what has
//! been written to a folder is on the disk before anybody is told.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path as FilePath;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use zstd::stream::write::Decoder;

use super::spool::{Content, Tally, hex};
use crate::connectors::{ArchiveSettings, S3Settings, WrongSystem};
use crate::deletion::{Denied, Verdict};
use crate::plan::SystemName;

/// One part of an upload, and what memory holds of an object. S3 takes none below this, and 10,000 of them are 50 GiB.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Inside an attempt, trouble is tried again this often; after that the engine's own delays are the better ones.
const RETRIES_MAX: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
const CORRECT_CREDENTIALS: &str = "correct the archive's credentials or permissions, then retry";

pub(in crate::connectors) struct ArchiveStore {
    store: Box<dyn ObjectStore>,
}

/// An object as it was read back.
pub(super) struct Found {
    /// None if it is not one whole frame that can be decompressed.
    pub(super) content: Option<Content>,
    /// Of the object itself, compressed.
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl ArchiveStore {
    pub(in crate::connectors) fn new(
        name: &SystemName,
        settings: &ArchiveSettings,
        base: &FilePath,
    ) -> Result<Self, WrongSystem> {
        let wrong = |key, found: String, wanted: &str| WrongSystem {
            system: name.0.clone(),
            key,
            found,
            wanted: wanted.to_owned(),
        };
        let store: Box<dyn ObjectStore> = match (&settings.folder, &settings.s3) {
            (Some(folder), _) => {
                const WANTED: &str = "a folder that this process may write to";
                let folder = base.join(folder);
                let found = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
                std::fs::create_dir_all(&folder).map_err(|error| wrong("folder", found(&error), WANTED))?;
                let store = LocalFileSystem::new_with_prefix(&folder)
                    .map_err(|error| wrong("folder", found(&error), WANTED))?;
                Box::new(store.with_fsync(true))
            }
            (None, Some(s3)) => bucket(s3).map_err(|_| {
                wrong(
                    "s3",
                    "a bucket that cannot be addressed".into(),
                    "bucket, region and endpoint of an S3 store",
                )
            })?,
            (None, None) => return Err(wrong("folder", "neither".into(), "either `folder` or `s3`")),
        };
        Ok(ArchiveStore { store })
    }

    pub(super) fn object(&self, path: &str) -> Result<Path, Verdict> {
        Path::parse(path)
            .map_err(|_| Verdict::failed("the archive's path is not one that an object store takes"))
    }

    pub(super) async fn write(&self, object: &Path, spooled: &mut File) -> Result<(), Verdict> {
        let mut part = next_part(spooled)?;
        if part.len() < PART_BYTES {
            let put = self.store.put(object, PutPayload::from(part)).await;
            return put.map(|_| ()).map_err(|error| verdict_of(&error));
        }
        let mut upload = self
            .store
            .put_multipart(object)
            .await
            .map_err(|error| verdict_of(&error))?;
        let written = async {
            while !part.is_empty() {
                upload
                    .put_part(PutPayload::from(std::mem::take(&mut part)))
                    .await
                    .map_err(|error| verdict_of(&error))?;
                part = next_part(spooled)?;
            }
            upload.complete().await.map_err(|error| verdict_of(&error))
        };
        let written = written.await;
        if written.is_err() {
            // What is left of an upload costs money; whoever cut us off leaves it to the bucket's lifecycle rule.
            let _ = upload.abort().await;
        }
        written.map(|_| ())
    }

    /// The object as it is, decompressed on the fly; none if it is not there.
    pub(super) async fn read_back(&self, object: &Path) -> Result<Option<Found>, Verdict> {
        let found = match self.store.get(object).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(verdict_of(&error)),
        };
        let mut digest = Sha256::new();
        let mut bytes = 0;
        let mut decoder =
            Decoder::new(Tally::default()).map_err(|_| Verdict::again("no room for a decompressor"))?;
        let mut readable = true;
        let mut stream = found.into_stream();
        while let Some(chunk) = stream.try_next().await.map_err(|error| verdict_of(&error))? {
            digest.update(&chunk);
            bytes += chunk.len() as u64;
            readable = readable && decoder.write_all(&chunk).is_ok();
        }
        // Finishing brings out what the decoder still holds, and errs unless the frame is whole. The last bytes of a frame
        // are its checksum: without them the rows may all be there, and the object is damaged all the same.
        let whole = if readable { decoder.finish().ok() } else { None };
        Ok(Some(Found {
            content: whole.map(Tally::finish),
            bytes,
            sha256: hex(&digest.finalize()),
        }))
    }

    /// Can it be asked at all? By listing, since a bucket that is not there answers a look at one object like an object
    /// that is not there.
    pub(in crate::connectors) async fn check(&self) -> Result<(), String> {
        match self.store.list(None).try_next().await {
            Ok(_) => Ok(()),
            Err(error) => Err(verdict_of(&error).why().unwrap_or("not ready").to_owned()),
        }
    }
}

fn bucket(settings: &S3Settings) -> Result<Box<dyn ObjectStore>, Error> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&settings.bucket)
        .with_region(&settings.region)
        .with_allow_http(settings.allow_http)
        .with_retry(RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        });
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some((id, secret)) = settings
        .access_key_id
        .as_ref()
        .zip(settings.secret_access_key.as_ref())
    {
        builder = builder
            .with_access_key_id(id.expose_secret())
            .with_secret_access_key(secret.expose_secret());
    }
    let store = builder.build()?;
    Ok(match settings.prefix.as_str() {
        "" => Box::new(store),
        prefix => Box::new(PrefixStore::new(store, Path::parse(prefix)?)),
    })
}

fn next_part(spooled: &mut File) -> Result<Vec<u8>, Verdict> {
    let mut part = Vec::with_capacity(PART_BYTES);
    spooled
        .take(PART_BYTES as u64)
        .read_to_end(&mut part)
        .map_err(|error| Verdict::again(format!("the spooled rows cannot be read ({:?})", error.kind())))?;
    Ok(part)
}

/// The store's own text may quote answers and addresses, so only its kind is told.
fn verdict_of(error: &Error) -> Verdict {
    match error {
        Error::PermissionDenied { .. } => Verdict::denied(
            Denied::Perhaps,
            "the archive refuses this access",
            CORRECT_CREDENTIALS,
        ),
        Error::Unauthenticated { .. } => Verdict::denied(
            Denied::All,
            "the archive does not know these credentials",
            CORRECT_CREDENTIALS,
        ),
        Error::NotFound { .. } => Verdict::blocked(
            "the archive's bucket or folder is not there",
            "create it, then retry",
        ),
        Error::InvalidPath { .. } => {
            Verdict::failed("the archive's path is not one that an object store takes")
        }
        Error::NotSupported { .. } | Error::NotImplemented { .. } => {
            Verdict::failed("the archive's store lacks an operation that archives need")
        }
        _ => Verdict::again("the archive's store is in trouble"),
    }
}
