//! What makes a machine ours.

use std::io::{self, Write as _};

use camino::Utf8Path;
use fs_err as fs;

use crate::cloud_init::user_data;
use crate::{Identity, MachineError, Order, Result};

/// Large enough for FAT, and for two small files.
const SIZE: u64 = 2 << 20;

/// Writes a file system labelled `CIDATA` with what cloud-init's NoCloud datasource reads.
pub(crate) fn write(path: &Utf8Path, order: &Order, user: &str) -> Result<()> {
    let metadata = format!("instance-id: {0}\nlocal-hostname: {0}\n", order.lease.id);
    let files = [("meta-data", metadata), ("user-data", user_data(&order.identity, user))];
    super::files::write_private(path, &[])?;
    write_files(path, &files).map_err(MachineError::file("write", path))
}

fn write_files(path: &Utf8Path, files: &[(&str, String)]) -> io::Result<()> {
    let mut image = fs_err::OpenOptions::new().read(true).write(true).open(path)?;
    image.set_len(SIZE)?;
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"CIDATA     ");
    fatfs::format_volume(&mut image, options)?;
    let system = fatfs::FileSystem::new(&mut image, fatfs::FsOptions::new())?;
    for (name, content) in files {
        system.root_dir().create_file(name)?.write_all(content.as_bytes())?;
    }
    system.unmount()?;
    fs::File::open(path)?.sync_all()
}

/// systemd's credentials, each an SMBIOS string of type 11: who may log in as root, and the key that the machine shows.
///
/// `ssh.authorized_keys.root` and `tmpfiles.extra` are read by systemd-tmpfiles (systemd.system-credentials(7)).
pub(crate) fn credentials(identity: &Identity) -> [String; 2] {
    let key = base64(identity.host_key.as_bytes());
    let public = base64(format!("{}\n", identity.host_public_key).as_bytes());
    let lines = format!(
        "f+~ /etc/ssh/ssh_host_ed25519_key 0600 root root - {key}\n\
         f+~ /etc/ssh/ssh_host_ed25519_key.pub 0644 root root - {public}\n"
    );
    let authorized = format!("{}\n", identity.user_key);
    [("ssh.authorized_keys.root", authorized), ("tmpfiles.extra", lines)]
        .map(|(name, value)| format!("io.systemd.credential.binary:{name}={}", base64(value.as_bytes())))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_both_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = camino::Utf8PathBuf::from_path_buf(directory.path().join("seed")).unwrap();
        super::super::files::write_private(&path, &[]).unwrap();
        write_files(
            &path,
            &[("meta-data", "instance-id: x\n".to_owned()), ("user-data", "#cloud-config\n".to_owned())],
        )
        .unwrap();
        let mut image = fs_err::File::open(&path).unwrap();
        let system = fatfs::FileSystem::new(&mut image, fatfs::FsOptions::new()).unwrap();
        assert_eq!(system.volume_label(), "CIDATA");
        let names: Vec<String> = system.root_dir().iter().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["meta-data", "user-data"]);
    }
}
