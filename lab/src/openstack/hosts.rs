//! What stands in for the machines of a hypervisor that is not one: for each server an sshd on this host, at the
//! server's own address, with the keys that the server's user data say. Who logs in is on this host.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use super::Server;
use crate::cmd::{command, run, run_with_input};

/// The servers that have an address, as they are in the databases.
const SERVERS: &str = "SELECT CONCAT_WS(' ', i.uuid, a.ip_address, REPLACE(i.user_data, '\\n', '')) \
     FROM nova_cell1.instances i JOIN neutron.ports p ON p.device_id = i.uuid \
     JOIN neutron.ipallocations a ON a.port_id = p.id \
     WHERE i.deleted = 0 AND i.vm_state = 'active' AND i.user_data IS NOT NULL";

/// The hosts of a cloud. They and their addresses are gone when it is dropped.
pub struct Hosts {
    directory: Utf8PathBuf,
    running: BTreeMap<String, Host>,
}

struct Host {
    address: String,
    sshd: Child,
}

impl Hosts {
    /// None yet; with their files in an empty directory.
    #[must_use]
    pub fn new(directory: &Utf8Path) -> Self {
        Self { directory: directory.to_owned(), running: BTreeMap::new() }
    }

    /// Starts a host for each server that has none, and ends those of servers that are gone.
    ///
    /// # Errors
    /// Where there is no sshd, or its address cannot be given to this host.
    pub fn attend(&mut self, server: &Server) -> Result<()> {
        let mut there = BTreeSet::new();
        for line in server.sql(SERVERS)?.lines() {
            let Some((id, rest)) = line.split_once(' ') else { continue };
            let Some((address, data)) = rest.split_once(' ') else { continue };
            there.insert(id.to_owned());
            if !self.running.contains_key(id) {
                let host = self.start(id, address, data)?;
                self.running.insert(id.to_owned(), host);
            }
        }
        self.running.retain(|id, _| there.contains(id));
        Ok(())
    }

    fn start(&self, id: &str, address: &str, data: &str) -> Result<Host> {
        let text = run_with_input(command("base64").arg("--decode"), data.as_bytes())?;
        let text = text.strip_prefix("#cloud-config\n").context("user data that are not cloud-init's")?;
        let data: Value = serde_json::from_str(text)?;
        let word = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let key = word("/ssh_keys/ed25519_private").context("user data without a host key")?;
        let user = word("/users/0/ssh_authorized_keys/0").context("user data without a user's key")?;
        let directory = self.directory.join(id);
        fs::create_dir_all(&directory)?;
        fs::create_dir_all("/run/sshd")?;
        fs::write(directory.join("host"), key)?;
        fs::set_permissions(directory.join("host"), std::fs::Permissions::from_mode(0o600))?;
        fs::write(directory.join("user.pub"), user + "\n")?;
        let config = format!(
            "Port 22\nListenAddress {address}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nMaxStartups 50\n"
        );
        fs::write(directory.join("config"), config)?;
        run(command("ip").args(["address", "replace", &format!("{address}/32"), "dev", "lo"]))?;
        let sshd = command("/usr/sbin/sshd")
            .args(["-D", "-f", directory.join("config").as_str()])
            .stdin(Stdio::null())
            .stderr(fs::File::create(directory.join("log"))?.into_parts().0)
            .spawn()
            .context("starting sshd")?;
        Ok(Host { address: address.to_owned(), sshd })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.sshd.kill());
        drop(self.sshd.wait());
        drop(run(command("ip").args(["address", "delete", &format!("{}/32", self.address), "dev", "lo"])));
    }
}
