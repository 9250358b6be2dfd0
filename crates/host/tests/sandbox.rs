//! The sandbox, for real: what it hides, what it forbids, and whether anything survives it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{
    BUILD_ID, Bind, CancellationToken, Ending, Finished, Host, HostError, Job, KernelLink, Limits,
    LocalSandbox, SandboxOptions, SandboxSpec, Symlink,
};
use drivetrain_model::KernelRelease;

struct Bench {
    directory: tempfile::TempDir,
    host: LocalSandbox,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = utf8(directory.path()).join("state");
        let bench = Self { host: LocalSandbox::new(SandboxOptions::new(state)).await.unwrap(), directory };
        bench.host.create_work_directory(&bench.path("work")).await.unwrap();
        bench
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        utf8(self.directory.path()).join(name)
    }

    fn job(&self, script: &str) -> Job {
        Job {
            sandbox: SandboxSpec {
                binds: vec![Bind::writable(self.path("work"), "/job")],
                ..SandboxSpec::default()
            },
            program: "/bin/bash".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            directory: "/job".into(),
            log: None,
            append: false,
            deadline: Some(Duration::from_secs(60)),
        }
    }

    async fn run(&self, job: &Job) -> (Finished, Vec<String>) {
        let mut lines = Vec::new();
        let mut sink = |line: &str| lines.push(line.to_owned());
        let finished = self.host.run(job, &mut sink, &CancellationToken::new()).await.unwrap();
        (finished, lines)
    }

    async fn output(&self, script: &str) -> String {
        self.run(&self.job(script)).await.1.join("\n")
    }
}

fn utf8(path: &std::path::Path) -> Utf8PathBuf {
    path.to_owned().try_into().unwrap()
}

/// An argument of `sleep` that no other process on this machine has.
fn marker() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("3600.{}{:03}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The processes of this machine that have a word in their command line, with their user ids.
fn processes(marker: &str) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    for entry in Utf8Path::new("/proc").read_dir_utf8().unwrap().flatten() {
        let Ok(pid) = entry.file_name().parse() else { continue };
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        if line.split(|&b| b == 0).next().is_some_and(|program| program == b"sleep")
            && line.split(|&b| b == 0).any(|word| word == marker.as_bytes())
            && let Ok(status) = std::fs::read_to_string(entry.path().join("status"))
            && !status.contains("State:\tZ")
        {
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
            found.push((pid, uid.split('\t').next().unwrap().parse().unwrap()));
        }
    }
    found
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_job_is_nobody_and_can_write_nowhere_but_in_its_work_directory() {
    let bench = Bench::new().await;
    let secret = bench.path("secret");
    std::fs::write(&secret, "before").unwrap();
    let mut job = bench.job(
        "id -u; id -g; grep CapEff /proc/self/status; umask
         for f in /new /usr/new /usr/src/new /etc/new /lib/new /etc/passwd /in/secret /dev/new /var/new; do
             if echo after 2>/dev/null >$f; then echo WROTE $f; fi
         done
         echo mine >/job/mine && echo mine >/tmp/mine && echo done",
    );
    job.sandbox.binds.push(Bind::read_only(&secret, "/in/secret"));
    let (finished, lines) = bench.run(&job).await;
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|l| *l != "WROTE /dev/new").collect();
    let id = BUILD_ID.to_string();
    assert_eq!(lines, [&id, &id, "CapEff:\t0000000000000000", "0022", "done"]);
    assert!(finished.ending.is_success());
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "before");
    assert_eq!(std::fs::read_to_string(bench.path("work/mine")).unwrap(), "mine\n");
    assert!(!Utf8Path::new("/usr/src/new").exists() && !Utf8Path::new("/dev/new").exists());
}

#[tokio::test]
async fn nothing_of_the_host_shows() {
    let bench = Bench::new().await;
    let top = bench.output("ls -A / | tr '\\n' ' '").await;
    for name in ["root", "home", "mnt", "sys", "run", "srv", "boot", "opt"] {
        assert!(!top.split(' ').any(|entry| entry == name), "{top}");
    }
    assert_eq!(bench.output("cat /proc/sys/kernel/hostname").await, "builder");
    assert_eq!(bench.output("ls /home /root /etc/shadow /etc/ssh /var/lib 2>/dev/null").await, "");
    assert_eq!(
        bench.output("ls -A /usr/src /lib/modules /usr/lib/modules 2>/dev/null | grep -v :").await,
        ""
    );
    let count: u32 = bench.output("ls -d /proc/[0-9]* | wc -l").await.trim().parse().unwrap();
    assert!(count < 8, "{count} processes are seen");
    assert_eq!(bench.output("cat /proc/1/environ 2>/dev/null | tr '\\0' '\\n' | grep -v PATH=").await, "");
    let environment: BTreeMap<String, String> = bench
        .output("env -0 | tr '\\0' '\\n'")
        .await
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let names: Vec<&str> = environment.keys().map(String::as_str).collect();
    // bash adds the last three itself.
    assert_eq!(names, ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHLVL", "TZ", "USER", "_"]);
}

#[tokio::test]
async fn there_is_no_network() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!(
        "exec 2>/dev/null
         (exec 3<>/dev/tcp/127.0.0.1/{port}) && echo CONNECTED HERE
         (exec 3<>/dev/tcp/192.0.2.1/80) && echo CONNECTED THERE
         getent hosts example.org && echo RESOLVED
         getent hosts localhost | head -n 1 | grep -q localhost && echo localhost
         grep -c : /proc/net/dev"
    );
    assert_eq!(bench.output(&script).await, "localhost\n1");
}

#[tokio::test]
async fn kernels_links_and_binds_are_where_they_are_asked_for() {
    let bench = Bench::new().await;
    std::fs::create_dir_all(bench.path("tree/include")).unwrap();
    std::fs::write(bench.path("tree/Makefile"), "all:\n").unwrap();
    let mut job = bench.job(
        "cat /lib/modules/6.1-test/build/Makefile /lib/modules/6.1-test/source/Makefile /usr/src/kernels/now/Makefile
         readlink -f /lib/modules/6.1-test/build; cat /a/b/c/Makefile; stat -c %a /a /usr/src/kernels; gcc --version >/dev/null && echo gcc",
    );
    job.sandbox.binds.push(Bind::read_only(bench.path("tree"), "/usr/src/kernels/6.1-test"));
    job.sandbox.binds.push(Bind::read_only(bench.path("tree"), "/a/b/c"));
    job.sandbox.symlinks.push(Symlink { link: "/usr/src/kernels/now".into(), target: "6.1-test".into() });
    job.sandbox.kernels.push(KernelLink {
        release: KernelRelease::parse("6.1-test").unwrap(),
        build: "/usr/src/kernels/6.1-test".into(),
    });
    let (_, lines) = bench.run(&job).await;
    assert_eq!(lines, ["all:", "all:", "all:", "/usr/src/kernels/6.1-test", "all:", "755", "755", "gcc"]);
}

#[tokio::test]
async fn on_the_host_a_job_is_not_root() {
    let bench = Bench::new().await;
    let marker = marker();
    let job = bench.job(&format!("sleep {marker} & wait"));
    let cancel = CancellationToken::new();
    let mut sink = |_: &str| {};
    let run = bench.host.run(&job, &mut sink, &cancel);
    let look = async {
        while processes(&marker).is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let found = processes(&marker);
        cancel.cancel();
        found
    };
    let (finished, found) = tokio::join!(run, look);
    assert_eq!(finished.unwrap().ending, Ending::Cancelled);
    let own = rustix::process::getuid().as_raw();
    let expected = if own == 0 { BUILD_ID } else { own };
    assert!(found.iter().all(|(_, uid)| *uid == expected), "{found:?}");
}

/// A tree that does what it can to stay: new sessions, ignored signals, closed output.
fn stubborn(marker: &str) -> String {
    format!(
        "trap '' TERM INT HUP
         setsid nohup sleep {marker} >/dev/null 2>&1 </dev/null &
         (setsid bash -c 'exec >&- 2>&-; sleep {marker}' &)
         echo ready; sleep {marker}"
    )
}

#[tokio::test]
async fn cancelling_dropping_and_deadlines_leave_no_survivor() {
    let bench = Bench::new().await;
    for how in ["cancel", "deadline", "drop"] {
        let marker = marker();
        let mut job = bench.job(&stubborn(&marker));
        let cancel = CancellationToken::new();
        if how == "deadline" {
            job.deadline = Some(Duration::from_secs(2));
        }
        let mut sink = |_: &str| {};
        let run = bench.host.run(&job, &mut sink, &cancel);
        let all_there = async {
            while processes(&marker).len() < 3 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match how {
            "cancel" => {
                let (finished, ()) = tokio::join!(run, async {
                    all_there.await;
                    cancel.cancel();
                });
                assert_eq!(finished.unwrap().ending, Ending::Cancelled);
            }
            "deadline" => assert_eq!(run.await.unwrap().ending, Ending::TimedOut),
            _ => tokio::select! { _ = run => panic!("it ended by itself"), () = all_there => {} },
        }
        wait_until("all are dead", || processes(&marker).is_empty());
    }
}

#[tokio::test]
async fn a_job_that_is_dropped_while_its_sandbox_is_set_up_leaves_no_survivor() {
    let bench = Bench::new().await;
    let marker = marker();
    let job = bench.job(&format!("sleep {marker}"));
    for step in 0..200 {
        let mut sink = |_: &str| {};
        let cancel = CancellationToken::new();
        let run = bench.host.run(&job, &mut sink, &cancel);
        tokio::select! {
            _ = run => panic!("it ended by itself"),
            () = tokio::time::sleep(Duration::from_micros(step * 60)) => {}
        }
    }
    wait_until("all are dead", || processes(&marker).is_empty());
}

#[tokio::test]
async fn processes_left_behind_die_with_the_job() {
    let bench = Bench::new().await;
    let marker = marker();
    let job = bench.job(&format!("setsid sleep {marker} >/dev/null 2>&1 & echo out"));
    let (finished, lines) = bench.run(&job).await;
    assert_eq!((finished.ending, lines), (Ending::Exited(0), vec!["out".to_owned()]));
    wait_until("it is dead", || processes(&marker).is_empty());
}

/// The process that [`a_killed_drivetrain_leaves_no_survivor`] kills; does nothing in an ordinary test run.
#[tokio::test]
#[ignore = "a part of another test"]
async fn victim() {
    let Ok(marker) = std::env::var("DRIVETRAIN_TEST_MARKER") else { return };
    let bench = Bench::new().await;
    bench.run(&bench.job(&stubborn(&marker))).await;
}

#[test]
fn a_killed_drivetrain_leaves_no_survivor() {
    let marker = marker();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored"])
        .env("DRIVETRAIN_TEST_MARKER", &marker)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_until("all three run", || processes(&marker).len() == 3);
    // SIGKILL: nobody gets to tidy up.
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_until("all are dead", || processes(&marker).is_empty());
}

#[tokio::test]
async fn output_is_streamed_and_logged_as_it_comes() {
    let bench = Bench::new().await;
    let log = bench.path("log");
    std::fs::write(&log, "from before\n").unwrap();
    let mut job = bench.job("echo one; echo two >&2; printf 'caf\\xe9'; exit 3");
    job.log = Some(log.clone());
    let (finished, lines) = bench.run(&job).await;
    assert_eq!(finished.ending, Ending::Exited(3));
    assert_eq!(lines, ["one", "two", "caf\u{fffd}"]);
    assert_eq!(std::fs::read(&log).unwrap(), b"one\ntwo\ncaf\xe9");
    job.append = true;
    bench.run(&job).await;
    assert_eq!(std::fs::read(&log).unwrap(), b"one\ntwo\ncaf\xe9one\ntwo\ncaf\xe9");

    // A kill keeps what was written so far.
    job.arguments[1] = "echo last words; sleep 3600".to_owned();
    job.append = false;
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let mut sink = move |_: &str| token.cancel();
    bench.host.run(&job, &mut sink, &cancel).await.unwrap();
    assert_eq!(std::fs::read(&log).unwrap(), b"last words\n");
}

#[tokio::test]
async fn a_file_cannot_grow_beyond_its_limit() {
    let bench = Bench::new().await;
    let mut job = bench.job("dd if=/dev/zero of=/job/big bs=1M count=8 2>/dev/null; stat -c %s /job/big");
    job.sandbox.limits = Limits { file_size: 1 << 20 };
    assert_eq!(bench.run(&job).await.1.last().unwrap(), "1048576");
}

#[tokio::test]
async fn what_the_sandbox_refuses_is_said() {
    let bench = Bench::new().await;
    let mut job = bench.job("true");
    job.sandbox.binds.push(Bind::read_only("/nowhere/at/all", "/in"));
    let mut sink = |_: &str| {};
    let error = bench.host.run(&job, &mut sink, &CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(&error, HostError::Sandbox { message } if message.contains("/nowhere/at/all")),
        "{error:?}"
    );
    // A program that prints the same words is not mistaken for the sandbox.
    let (finished, _) = bench.run(&bench.job("echo one; echo 'bwrap: no'; exit 1")).await;
    assert_eq!(finished.ending, Ending::Exited(1));
}

#[tokio::test]
async fn a_file_is_fetched_and_what_only_looks_like_one_is_not() {
    let bench = Bench::new().await;
    let (secret, target) = (bench.path("secret"), bench.path("fetched"));
    std::fs::write(&secret, "secret").unwrap();
    bench.host.put(&secret, &bench.path("work/given")).await.unwrap();
    let script = format!("cat /job/given >/job/made; ln -s {secret} /job/link; mkfifo /job/pipe");
    assert_eq!(bench.output(&script).await, "");
    bench.host.get(&bench.path("work/made"), &target).await.unwrap();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "secret");
    for name in ["link", "pipe", "nothing"] {
        let made = bench.path("work").join(name);
        let fetching = bench.host.get(&made, &target);
        let error = tokio::time::timeout(Duration::from_secs(5), fetching).await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with("cannot read "), "{error}");
    }
}

#[tokio::test]
async fn our_umask_does_not_shut_a_job_out() {
    let bench = Bench::new().await;
    let shut = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(bench.path("work"), shut).unwrap();
    for file in ["passwd", "hosts"] {
        let shut = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(bench.path("state/etc").join(file), shut).unwrap();
    }
    bench.host.create_work_directory(&bench.path("work")).await.unwrap();
    LocalSandbox::new(SandboxOptions::new(bench.path("state"))).await.unwrap();
    assert_eq!(bench.output("pwd; id -un; grep -c localhost /etc/hosts").await, "/job\nbuild\n2");
}

#[tokio::test]
async fn directories_that_a_job_locked_are_removed_all_the_same() {
    let bench = Bench::new().await;
    bench.output("mkdir -p /job/a/b && touch /job/a/b/c && ln -s / /job/a/root && chmod 0 /job/a/b").await;
    bench.host.remove_directory(&bench.path("work")).await.unwrap();
    assert!(!bench.path("work").exists());
    bench.host.remove_directory(&bench.path("work")).await.unwrap();
    assert!(Utf8Path::new("/usr").exists());
}
