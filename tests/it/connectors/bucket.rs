//! A real S3-compatible server of one test's own: SeaweedFS, which `make test` installs. Whatever way the test goes, it
//! ends and its folder is removed: a shell waits for the end of a pipe whose other end only the test holds.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{ObjectStoreExt, PutPayload, RetryConfig};
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::house::patience;

const BUCKET: &str = "archive";
const KEY_ID: &str = "sexton";
/// The server starts in three seconds; between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// As `sexton::services` chooses them: below those of outgoing connections, so that nobody takes one in between.
const PORTS: std::ops::Range<u16> = 10_240..32_000;
/// Beside a compiler it sometimes gives up on itself while it starts.
const TRIES_MAX: u32 = 3;
/// What of its log a person needs to see.
const LAST_WORDS_LINES: usize = 15;
/// The server also listens on sockets in /tmp that are named after its ports, and leaves them there.
const KEEPER: &str = r#"
trap '' HUP INT PIPE QUIT TERM
folder="$1"; shift; ports="$1"; shift
"$@" > "$folder/log" 2>&1 < /dev/null &
pid=$!
cat > /dev/null
kill -KILL "$pid"
wait "$pid"
for port in $ports; do rm -f /tmp/seaweedfs-*-"$port".sock; done
rm -rf "$folder"
"#;

pub(super) struct Bucket {
    pub(super) endpoint: String,
    pub(super) secret: String,
    keeper: Child,
    folder: PathBuf,
}

impl Bucket {
    pub(super) async fn start() -> Self {
        for _ in 1..TRIES_MAX {
            if let Ok(bucket) = Self::try_to_start().await {
                return bucket;
            }
        }
        let bucket = Self::try_to_start().await;
        bucket.unwrap_or_else(|log| panic!("no S3 server in time; its last words:\n{log}"))
    }

    /// Its log, if it was not ready in time.
    async fn try_to_start() -> Result<Self, String> {
        let program = program();
        let folder = TempDir::new().unwrap().keep();
        let secret = format!("{:032x}", rand::random::<u128>());
        let identities = serde_json::json!({"identities": [{
            "name": "sexton", "credentials": [{"accessKey": KEY_ID, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        let identities_file = folder.join("identities.json");
        std::fs::write(&identities_file, identities.to_string()).unwrap();
        std::fs::create_dir(folder.join("data")).unwrap();
        let ports: [u16; 8] = free();
        let [
            master,
            master_grpc,
            volume,
            volume_grpc,
            filer,
            filer_grpc,
            s3,
            s3_grpc,
        ] = ports;
        let arguments = [
            format!("-dir={}", folder.join("data").display()),
            "-ip=127.0.0.1".into(),
            "-ip.bind=127.0.0.1".into(),
            format!("-master.port={master}"),
            format!("-master.port.grpc={master_grpc}"),
            // It would tell its makers of itself.
            "-master.telemetry=false".into(),
            "-master.volumeSizeLimitMB=64".into(),
            format!("-volume.port={volume}"),
            format!("-volume.port.grpc={volume_grpc}"),
            "-volume.max=20".into(),
            "-filer".into(),
            format!("-filer.port={filer}"),
            format!("-filer.port.grpc={filer_grpc}"),
            "-s3".into(),
            format!("-s3.port={s3}"),
            format!("-s3.port.grpc={s3_grpc}"),
            // As S3 itself: a bucket is somebody's decision.
            "-s3.autoCreateBucket=false".into(),
            "-s3.port.iceberg=0".into(),
            "-s3.port.lance=0".into(),
            format!("-s3.config={}", identities_file.display()),
        ];
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "bucket-keeper"])
            .arg(&folder)
            .arg(ports.map(|port| port.to_string()).join(" "))
            .arg(&program)
            .arg(format!("-logdir={}", folder.display()))
            .arg("server")
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh");
        let bucket = Bucket {
            endpoint: format!("http://127.0.0.1:{s3}"),
            secret,
            keeper,
            folder,
        };
        let ready = tokio::time::timeout(patience() / TRIES_MAX, bucket.made(filer)).await;
        ready.map_err(|_| bucket.log())?;
        Ok(bucket)
    }

    /// Until the bucket is there and an object can be put into it.
    async fn made(&self, filer: u16) {
        let store = self.store();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        // A folder here is a bucket to those who ask by S3.
        let folder = format!("http://127.0.0.1:{filer}/buckets/{BUCKET}/");
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            every.tick().await;
            let made = client.post(&folder).send().await;
            let there = |status: StatusCode| status.is_success() || status == StatusCode::CONFLICT;
            if !made.is_ok_and(|made| there(made.status())) {
                continue;
            }
            let probe = object_store::path::Path::from("probe");
            if store.put(&probe, PutPayload::from_static(b"x")).await.is_ok() {
                return store.delete(&probe).await.unwrap();
            }
        }
    }

    /// The bucket as an outsider with the right credentials sees it.
    pub(super) fn store(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_endpoint(&self.endpoint)
            .with_access_key_id(KEY_ID)
            .with_secret_access_key(&self.secret)
            .with_allow_http(true)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .unwrap()
    }

    /// The section of a system that keeps archives here.
    pub(super) fn settings(&self) -> String {
        format!(
            "[archive]\nkind = \"archive\"\n[archive.s3]\nbucket = \"{BUCKET}\"\nprefix = \"kept\"\nendpoint = {:?}\n\
             access_key_id = \"{KEY_ID}\"\nsecret_access_key = {:?}\nallow_http = true\n",
            self.endpoint, self.secret
        )
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        // A fatal word is followed by pages of stacks.
        let telling = |line: &&str| line.starts_with(['W', 'E', 'F']);
        let lines: Vec<&str> = log.lines().filter(telling).collect();
        lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n")
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Where `make test` puts it, else from the PATH.
fn program() -> PathBuf {
    let of_the_build = Path::new(env!("CARGO_BIN_EXE_sexton"))
        .ancestors()
        .nth(2)
        .unwrap();
    let installed = of_the_build.join("tools/bin/weed");
    let on_the_path = || {
        let path = std::env::var_os("PATH")?;
        let mut all = std::env::split_paths(&path).map(|folder| folder.join("weed"));
        all.find(|program| program.is_file())
    };
    if installed.is_file() {
        return installed;
    }
    on_the_path().unwrap_or_else(|| {
        panic!(
            "no S3 server: found neither {} nor `weed` on the PATH; `scripts/setup tests` installs it",
            installed.display()
        )
    })
}

/// All of them are held until the last is found, so that they differ.
fn free<const N: usize>() -> [u16; N] {
    let mut held = Vec::with_capacity(N);
    while held.len() < N {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", rand::random_range(PORTS))) {
            held.push(listener);
        }
    }
    std::array::from_fn(|at| held[at].local_addr().unwrap().port())
}

#[tokio::test]
async fn nothing_of_the_server_is_left() {
    let mut bucket = Bucket::start().await;
    let folder = bucket.folder.clone();
    let port = bucket.endpoint.rsplit(':').next().unwrap().to_owned();
    let address = format!("127.0.0.1:{port}");
    std::net::TcpStream::connect(&address).expect("it listens");
    // As if the test had been killed: only the pipe ends.
    drop(bucket.keeper.stdin.take());
    bucket.keeper.wait().unwrap();
    std::net::TcpStream::connect(&address).expect_err("it has ended");
    assert!(!folder.exists());
    for entry in std::fs::read_dir("/tmp").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap_or_default();
        assert!(!name.starts_with("seaweedfs-") || !name.contains(&port), "{name}");
    }
}
