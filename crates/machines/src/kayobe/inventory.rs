//! The inventory that has the machine in it.

use camino::Utf8Path;
use drivetrain_host::SshOptions;
use serde_json::{Map, Value, json};

/// The machine, as Ansible is told of it.
pub(super) struct Inventory<'a> {
    pub(super) host: &'a str,
    pub(super) groups: &'a [String],
    pub(super) ssh: &'a SshOptions,
    /// The user to log in as.
    pub(super) user: &'a str,
    /// The file with the machine's key; without one, the user's known hosts vouch for it.
    pub(super) known_hosts: Option<&'a Utf8Path>,
    /// For the sockets of shared connections.
    pub(super) sockets: &'a Utf8Path,
    /// A variable that all processes of these logins get.
    pub(super) mark: (&'a str, &'a str),
}

impl Inventory<'_> {
    /// It, as JSON, which is YAML.
    pub(super) fn text(&self) -> String {
        let mut groups = Map::new();
        groups.insert("all".to_owned(), json!({ "hosts": { self.host: self.variables() } }));
        for group in self.groups {
            groups.insert(group.clone(), json!({ "hosts": { self.host: {} } }));
        }
        Value::Object(groups).to_string()
    }

    fn variables(&self) -> Map<String, Value> {
        let mut variables = Map::new();
        let mut set = |name: &str, value: Value| variables.insert(name.to_owned(), value);
        let address = self.ssh.destination.rsplit('@').next().unwrap_or_default();
        set("ansible_connection", "ssh".into());
        set("ansible_host", address.into());
        if let Some(port) = self.ssh.port {
            set("ansible_port", port.into());
        }
        // Kayobe makes a user of its own for later runs. There are none: what is done is done as who we are.
        set("ansible_user", self.user.into());
        set("bootstrap_user", self.user.into());
        if let Some(identity) = &self.ssh.identity {
            set("ansible_ssh_private_key_file", identity.as_str().into());
        }
        // Of an option that is given twice ssh takes the first, and these come before all that a site has configured.
        set("ansible_ssh_args", self.arguments().into());
        set("ansible_host_key_checking", true.into());
        set("ansible_control_path", format!("{}/%%r", self.sockets).into());
        variables
    }

    fn arguments(&self) -> String {
        let (name, value) = self.mark;
        let mut options = vec![
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "UpdateHostKeys=no".to_owned(),
            "ControlMaster=auto".to_owned(),
            "ControlPersist=60s".to_owned(),
            "ServerAliveInterval=10".to_owned(),
            format!("SetEnv={name}={value}"),
        ];
        if let Some(known_hosts) = self.known_hosts {
            options.push(format!("UserKnownHostsFile=\"{known_hosts}\""));
            options.extend(["GlobalKnownHostsFile=/dev/null", "VerifyHostKeyDNS=no"].map(str::to_owned));
        }
        if self.ssh.identity.is_some() {
            options.push("IdentitiesOnly=yes".to_owned());
        }
        let mut words: Vec<String> =
            options.iter().flat_map(|option| ["-o".to_owned(), quote(option)]).collect();
        if let Some(config) = &self.ssh.config {
            words.extend(["-F".to_owned(), quote(config.as_str())]);
        }
        words.join(" ")
    }
}

/// One word, for what takes words apart as a shell does.
fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "=/._-+:@,".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
