//! Scripts: what they see, how they end, what breaks under them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use drivetrain_host::{CancellationToken, Ending, HostError, Machine, Script, SshMachine, SshOptions};

use super::proxy::Proxy;
use super::server::{Server, World};
use super::{jobs_of, kill, left_behind, marker, processes, run, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_its_variables_and_its_output_comes_in_order() {
    let Some(server) = Server::start() else { return };
    let machine = server.machine();
    let log = server.path("log.txt");
    let mut script = Script::new(
        "echo \"$GREETING\"; echo two >&2; pwd; echo $((1 + 1)); locale | grep LC_CTYPE; umask; exit 3",
    );
    script.environment.insert("GREETING".to_owned(), "it's a \"$day\"\nof two lines \\".to_owned());
    script.log = Some(log.clone());
    let (finished, lines) = run(&machine, &script).await.unwrap();
    assert_eq!(finished.ending, Ending::Exited(3));
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    assert_eq!(
        lines,
        ["it's a \"$day\"", "of two lines \\", "two", &home, "2", "LC_CTYPE=\"C.UTF-8\"", "0022"]
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 7);

    let unset = Script::new("echo before; echo $NOT_THERE; echo after");
    let (finished, lines) = run(&machine, &unset).await.unwrap();
    assert_eq!(finished.ending, Ending::Exited(2));
    assert_eq!(lines[0], "before");
    assert!(!lines.contains(&"after".to_owned()));
    assert_eq!(left_behind("NOT_THERE"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_dev_stdout_empties_nothing_and_what_stays_in_the_background_is_not_waited_for() {
    let Some(server) = Server::start() else { return };
    let marker = marker();
    let script =
        format!("echo one; echo two >/dev/stdout; echo three >/dev/stderr; sleep {marker} & echo four");
    let (finished, lines) = run(&server.machine(), &Script::new(script)).await.unwrap();
    assert_eq!(
        (finished.ending, lines),
        (Ending::Exited(0), ["one", "two", "three", "four"].map(str::to_owned).to_vec())
    );
    let left = processes(&marker);
    assert_eq!(left.len(), 1);
    left.into_iter().for_each(kill);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_and_many_scripts_at_once_come_whole() {
    let Some(server) = Server::start() else { return };
    let machine = server.machine();
    let script = Script::new("seq 1 200000");
    let quick = Script::new("echo $$; sleep 0.3; echo done");
    let started = Instant::now();
    let (much, a, b) = tokio::join!(run(&machine, &script), run(&machine, &quick), run(&machine, &quick));
    println!("three at once: {:?}", started.elapsed());
    let expected: Vec<String> = (1..=200_000).map(|number| number.to_string()).collect();
    assert!(much.unwrap().1 == expected);
    assert_eq!(a.unwrap().1[1], "done");
    assert_eq!(b.unwrap().1[1], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_script_nor_variable_is_in_any_argument() {
    let Some(server) = Server::start() else { return };
    let machine = server.machine();
    let secret = marker();
    let mut script = Script::new(
        "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file; echo; done 2>/dev/null || true",
    );
    script.environment.insert("SECRET".to_owned(), secret.clone());
    let (_, lines) = run(&machine, &script).await.unwrap();
    assert!(lines.iter().any(|line| line.contains("ssh")));
    assert!(!lines.iter().any(|line| line.contains(&secret)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_wire_loses_and_doubles_no_line() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::to(server.port);
    let machine = SshMachine::new(SshOptions { port: Some(proxy.port), ..server.options() }).unwrap();
    machine.connect().await.unwrap();
    let script = Script::new("seq 1 20000; for i in $(seq 20001 20300); do echo $i; sleep 0.01; done");
    let cutting = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(700)).await;
            proxy.cut();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set_down(true);
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.set_down(false);
    };
    proxy.cut_after(60_000);
    let (outcome, ()) = tokio::join!(run(&machine, &script), cutting);
    let (finished, lines) = outcome.unwrap();
    assert_eq!(finished.ending, Ending::Exited(0));
    assert!(proxy.cuts() >= 5);
    let expected: Vec<String> = (1..=20_300).map(|number| number.to_string()).collect();
    assert!(lines == expected, "{} lines", lines.len());
}

/// A tree that does what it can to live on.
fn stubborn(marker: &str) -> String {
    format!(
        "trap '' TERM INT HUP\n\
         sleep {marker} &\n\
         setsid sleep {marker} &\n\
         (env -i /usr/bin/setsid /bin/sh -c 'sleep {marker} & sleep {marker}') &\n\
         nohup sleep {marker} >/dev/null 2>&1 &\n\
         sleep 0.3; echo ready\n\
         sleep {marker}\n"
    )
}

/// Those of `stubborn`: five, and the shell that has the words among its own.
const STUBBORN: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_kills_the_whole_tree() {
    let Some(server) = Server::start() else { return };
    kill_by_token(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_bash_as_the_shell_and_nothing_executable_in_tmp_all_is_the_same() {
    let Some(server) = Server::start_in(&World { hardened: true, ..World::default() }) else { return };
    let machine = server.machine();
    let script =
        Script::new("echo ${BASH_VERSION%%.*}; findmnt -no OPTIONS /var/tmp | grep -o noexec; exit 4");
    let (finished, lines) = run(&machine, &script).await.unwrap();
    assert_eq!(finished.ending, Ending::Exited(4));
    assert_eq!(lines, ["5", "noexec"]);
    kill_by_token(&server).await;
}

async fn kill_by_token(server: &Server) {
    let machine = server.machine();
    let marker = marker();
    let script = Script::new(stubborn(&marker));
    let cancel = CancellationToken::new();
    let mut lines = Vec::new();
    let mut sink = |line: &str| {
        lines.push(line.to_owned());
        cancel.cancel();
    };
    let finished = machine.run(&script, &mut sink, &cancel).await.unwrap();
    assert_eq!(finished.ending, Ending::Cancelled);
    assert_eq!(lines, ["ready"]);
    assert_eq!(processes(&marker), [] as [i32; 0]);
    assert_eq!(left_behind(&marker), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_kills_the_whole_tree() {
    let Some(server) = Server::start() else { return };
    let marker = marker();
    let script = Script { deadline: Some(Duration::from_secs(2)), ..Script::new(stubborn(&marker)) };
    let (finished, lines) = run(&server.machine(), &script).await.unwrap();
    assert_eq!(finished.ending, Ending::TimedOut);
    assert_eq!(lines, ["ready"]);
    assert_eq!(processes(&marker).len() + left_behind(&marker), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_cancelled_already_starts_nothing() {
    let Some(server) = Server::start() else { return };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let file = server.path("made");
    let script = Script::new(format!("touch {file}"));
    let finished = server.machine().run(&script, &mut |_: &str| {}, &cancel).await.unwrap();
    assert_eq!(finished.ending, Ending::Cancelled);
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_future_kills_the_whole_tree() {
    let Some(server) = Server::start() else { return };
    let marker = marker();
    {
        let machine = server.machine();
        let script = Script::new(stubborn(&marker));
        let running = run(&machine, &script);
        let up = until("the tree", Duration::from_secs(20), || processes(&marker).len() >= STUBBORN - 1);
        tokio::select! {
            _ = running => panic!("it ended"),
            () = up => {}
        }
        machine.settle().await;
    }
    assert_eq!(processes(&marker).len() + left_behind(&marker), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_hears_nothing_kills_the_script_itself() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::to(server.port);
    let options = SshOptions {
        port: Some(proxy.port),
        abandon_after: Duration::from_secs(3),
        patience: Duration::from_secs(1),
        ..server.options()
    };
    let machine = SshMachine::new(options).unwrap();
    let marker = marker();
    let script = Script::new(stubborn(&marker));
    let cutting = async {
        // It lives for longer than that while it is heard of.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(processes(&marker).len() >= STUBBORN - 1);
        proxy.set_down(true);
    };
    let (outcome, ()) = tokio::join!(run(&machine, &script), cutting);
    let error = outcome.unwrap_err();
    assert!(matches!(error, HostError::ConnectionLost { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.starts_with(
            "the connection to root@127.0.0.1 was lost while trying to follow a script, and was not back within 1 seconds"
        ),
        "{text}"
    );
    until("nothing is left", Duration::from_secs(15), || {
        processes(&marker).len() + left_behind(&marker) == 0
    })
    .await;
    machine.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_comes_back_too_late_finds_the_script_killed() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::to(server.port);
    let options =
        SshOptions { port: Some(proxy.port), abandon_after: Duration::from_secs(2), ..server.options() };
    let machine = SshMachine::new(options).unwrap();
    let marker = marker();
    let script = Script::new(format!("sleep {marker}"));
    let cutting = async {
        until("it runs", Duration::from_secs(10), || !processes(&marker).is_empty()).await;
        proxy.set_down(true);
        until("it is killed", Duration::from_secs(10), || {
            processes(&marker).len() + left_behind(&marker) == 0
        })
        .await;
        proxy.set_down(false);
    };
    let (outcome, ()) = tokio::join!(run(&machine, &script), cutting);
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "root@127.0.0.1 did not hear from here for 2 seconds, and has killed the script that it ran: run it again when \
         the connection holds"
    );
    machine.settle().await;
}

/// Started by `nothing_outlives_a_killed_drivetrain`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a process that another test starts"]
async fn client() {
    let Ok(port) = std::env::var("DRIVETRAIN_TEST_PORT") else { return };
    let variable = |name: &str| std::env::var(format!("DRIVETRAIN_TEST_{name}")).unwrap();
    let options = SshOptions {
        port: port.parse().ok(),
        identity: Some(variable("IDENTITY").into()),
        host_key: Some(variable("HOST_KEY")),
        config: Some(variable("CONFIG").into()),
        abandon_after: Duration::from_secs(3),
        ..SshOptions::new("root@127.0.0.1")
    };
    let machine = SshMachine::new(options).unwrap();
    drop(run(&machine, &Script::new(variable("SCRIPT"))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_killed_drivetrain() {
    let Some(server) = Server::start() else { return };
    let marker = marker();
    let mut client = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "jobs::client"])
        .env("DRIVETRAIN_TEST_PORT", server.port.to_string())
        .env("DRIVETRAIN_TEST_IDENTITY", server.path("user"))
        .env("DRIVETRAIN_TEST_HOST_KEY", server.host_key())
        .env("DRIVETRAIN_TEST_CONFIG", server.path("client.conf"))
        .env("DRIVETRAIN_TEST_SCRIPT", stubborn(&marker))
        // Where the private files go, which a killed process cannot remove.
        .env("XDG_RUNTIME_DIR", server.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the tree", Duration::from_secs(20), || processes(&marker).len() >= STUBBORN - 1).await;
    let connections = || processes(server.path("client.conf").as_str()).len();
    assert!(connections() > 0);
    client.kill().unwrap();
    client.wait().unwrap();
    until("no connection is left", Duration::from_secs(5), || connections() == 0).await;
    until("nothing is left", Duration::from_secs(15), || {
        processes(&marker).len() + left_behind(&marker) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_whose_supervisor_is_killed_was_killed_from_outside() {
    let Some(server) = Server::start() else { return };
    let marker = marker();
    let script = Script::new(format!("sleep {marker}"));
    let machine = server.machine();
    let killing = async {
        until("it runs", Duration::from_secs(10), || !processes(&marker).is_empty()).await;
        // As the kernel does it that is out of memory: the supervisor first, then the rest.
        let supervise = jobs_of(&marker)[0].join("supervise");
        let found = [supervise.as_str(), &marker].map(processes).concat();
        assert!(found.len() >= 3, "supervisor, watch and sleep: {found:?}");
        found.into_iter().for_each(kill);
    };
    let (outcome, ()) = tokio::join!(run(&machine, &script), killing);
    assert_eq!(outcome.unwrap().0.ending, Ending::Killed);
    assert_eq!(left_behind(&marker), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_permits_one_session_will_do() {
    let Some(server) = Server::start_in(&World { config: "MaxSessions 1", ..World::default() }) else {
        return;
    };
    let (finished, lines) = run(&server.machine(), &Script::new("echo here")).await.unwrap();
    assert_eq!((finished.ending, lines), (Ending::Exited(0), vec!["here".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_profile_says_to_everybody_is_not_output() {
    let Some(server) = Server::start() else { return };
    // A login by key may bring a command along that is run instead; this one says something first.
    let key = std::fs::read_to_string(server.path("user.pub")).unwrap();
    let forced = format!("command=\"echo Welcome, all is logged; eval \\\"$SSH_ORIGINAL_COMMAND\\\"\" {key}");
    std::fs::write(server.path("authorized"), forced).unwrap();
    let (_, lines) = run(&server.machine(), &Script::new("echo here")).await.unwrap();
    assert_eq!(lines, ["here"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dead_jobs_have_left_is_swept_away_after_a_day() {
    let Some(server) = Server::start() else { return };
    let machine = server.machine();
    let base = Utf8Path::new("/var/tmp/.drivetrain-jobs-0");
    run(&machine, &Script::new("true")).await.unwrap();
    let (old, young) = (base.join(format!("{}-old", marker())), base.join(format!("{}-young", marker())));
    for directory in [&old, &young] {
        std::fs::create_dir(directory).unwrap();
        std::fs::write(directory.join("heartbeat"), "").unwrap();
    }
    let day = Duration::from_secs(86_400);
    let heartbeat = std::fs::File::open(old.join("heartbeat")).unwrap();
    heartbeat.set_modified(std::time::SystemTime::now() - day * 2).unwrap();
    run(&machine, &Script::new("true")).await.unwrap();
    assert!(!old.exists());
    assert!(young.exists());
    std::fs::remove_dir_all(young).unwrap();
}
