//! What is said when a machine cannot be logged in to.

use drivetrain_host::{Machine, Script, SshMachine, SshOptions};

use super::run;
use super::server::Server;

/// Why the machine cannot be connected to, without what differs from run to run.
async fn refusal(server: &Server, options: SshOptions) -> String {
    let text = SshMachine::new(options).unwrap().connect().await.unwrap_err().to_string();
    let text = text.replace(&server.port.to_string(), "PORT").replace(server.path("").as_str(), "/server/");
    let words = text.split_inclusive(' ');
    words.map(|word| if word.starts_with("SHA256:") { "SHA256:FINGERPRINT; " } else { word }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_key_that_nobody_knows_is_refused_with_advice() {
    let Some(server) = Server::start() else { return };
    std::fs::write(
        server.path("client.conf"),
        format!("UserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n", server.path("known")),
    )
    .unwrap();
    let options = SshOptions { host_key: None, ..server.options() };
    insta::assert_snapshot!(refusal(&server, options.clone()).await, @"the host key of root@127.0.0.1 is not known, so that anybody could answer in its name: get its key (`ssh-keyscan -p PORT 127.0.0.1`), compare the fingerprint (`ssh-keygen -lf` on that) with the one on its console, and add the line to ~/.ssh/known_hosts; never switch the check off (ssh: No ED25519 host key is known for [127.0.0.1]:PORT and you have requested strict checking.; Host key verification failed.)");
    let other = std::fs::read_to_string(server.path("user.pub")).unwrap();
    std::fs::write(server.path("known"), format!("[127.0.0.1]:{} {other}", server.port)).unwrap();
    insta::assert_snapshot!(refusal(&server, options.clone()).await, @r#"the host key of root@127.0.0.1 has changed: it shows SHA256:FINGERPRINT; another machine answers at this address, or it was installed anew: compare that with the one on its console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and only where they agree remove the old key (`ssh-keygen -f "/server/known" -R "[127.0.0.1]:PORT"`) and add the new one; never switch the check off (ssh: Host key for [127.0.0.1]:PORT has changed and you have requested strict checking.; Host key verification failed.)"#);
    std::fs::write(server.path("known"), format!("[127.0.0.1]:{} {}", server.port, server.host_key()))
        .unwrap();
    SshMachine::new(options).unwrap().connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_than_the_pinned_one_is_refused() {
    let Some(server) = Server::start() else { return };
    let other = std::fs::read_to_string(server.path("user.pub")).unwrap();
    let options = SshOptions { host_key: Some(other), ..server.options() };
    insta::assert_snapshot!(refusal(&server, options).await, @"the host key of root@127.0.0.1 has changed: it shows SHA256:FINGERPRINT; that is not the key that it was made or configured with: another machine answers at this address, or it was installed anew; find out which before you change the configured key (ssh: Host key for [127.0.0.1]:PORT has changed and you have requested strict checking.; Host key verification failed.)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_names_user_and_keys() {
    let Some(server) = Server::start() else { return };
    std::fs::write(server.path("authorized"), "").unwrap();
    let text = refusal(&server, server.options()).await;
    let agent = text.contains("and no agent");
    let text = text.replace("and no agent, as SSH_AUTH_SOCK is not set", "AGENT");
    assert!(agent || text.contains("the keys of the agent"));
    insta::assert_snapshot!(text.replace("and the keys of the agent (see ssh-add -l)", "AGENT"), @"root@127.0.0.1 refuses the login: it was tried as the user root with /server/user AGENT; a key with a passphrase has to be in the agent; the public key belongs in ~root/.ssh/authorized_keys there (ssh: root@127.0.0.1: Permission denied (publickey).)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_answer_is_unreachable() {
    let Some(server) = Server::start() else { return };
    // Bound, so that nobody else gets it, and without anybody who listens.
    let port = 1;
    let options = SshOptions { port: Some(port), ..server.options() };
    insta::assert_snapshot!(refusal(&server, options).await, @"cannot connect to root@127.0.0.1: ssh: connect to host 127.0.0.1 port 1: Connection refused; check that it runs, and that `ssh root@127.0.0.1 true` works from here");
    let options = SshOptions { host_key: None, ..SshOptions::new("host.invalid") };
    let text = SshMachine::new(options).unwrap().boot_id().await.unwrap_err().to_string();
    assert!(text.starts_with("cannot connect to host.invalid: ssh: Could not resolve hostname"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_runs_no_commands_is_told_apart() {
    let Some(server) = Server::start() else { return };
    let key = std::fs::read_to_string(server.path("user.pub")).unwrap();
    std::fs::write(
        server.path("authorized"),
        format!("command=\"echo This account is not available. >&2; exit 1\" {key}"),
    )
    .unwrap();
    insta::assert_snapshot!(refusal(&server, server.options()).await, @"root@127.0.0.1 could not run a command: This account is not available.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_of_the_configuration_is_used() {
    let (Some(jump), Some(server)) = (Server::start(), Server::start()) else { return };
    let known = server.path("known");
    std::fs::write(&known, format!("[127.0.0.1]:{} {}", jump.port, jump.host_key())).unwrap();
    let config = format!(
        "GlobalKnownHostsFile /dev/null\nUserKnownHostsFile {known}\n\
         Host gate\n HostName 127.0.0.1\n Port {}\n User root\n IdentityFile {}\n\
         Host inner\n HostName 127.0.0.1\n Port {}\n User root\n ProxyJump gate\n",
        jump.port,
        jump.path("user"),
        server.port
    );
    std::fs::write(server.path("client.conf"), config).unwrap();
    let options = SshOptions {
        identity: Some(server.path("user")),
        host_key: Some(server.host_key()),
        config: Some(server.path("client.conf")),
        ..SshOptions::new("inner")
    };
    let (_, lines) =
        run(&SshMachine::new(options.clone()).unwrap(), &Script::new("echo ${SSH_CONNECTION##* }"))
            .await
            .unwrap();
    assert_eq!(lines, [server.port.to_string()]);

    std::fs::write(&known, "").unwrap();
    let text = SshMachine::new(options).unwrap().connect().await.unwrap_err().to_string();
    assert!(text.starts_with("the host key of inner is not known"), "{text}");
}

/// Started by `without_a_client_the_package_is_named`.
#[test]
#[ignore = "a process that another test starts"]
fn client() {
    if std::env::var("PATH").is_ok_and(|path| path == "/nonexistent") {
        println!("{}", SshMachine::new(SshOptions::new("builder")).unwrap_err());
    }
}

#[test]
fn without_a_client_the_package_is_named() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "errors::client", "--nocapture"])
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("ssh is not installed here: install openssh-clients (on Debian: openssh-client)"),
        "{text}"
    );
}
