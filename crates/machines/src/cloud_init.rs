//! What cloud-init is told.

use crate::Identity;

/// The user data for a machine: who may log in, and the key that the machine shows. JSON is YAML, so that nothing
/// needs to be quoted by hand.
#[must_use]
pub fn user_data(identity: &Identity, user: &str) -> String {
    let data = serde_json::json!({
        "disable_root": user != "root",
        "ssh_pwauth": false,
        "ssh_deletekeys": true,
        "ssh_keys": {
            "ed25519_private": identity.host_key,
            "ed25519_public": identity.host_public_key,
        },
        "ssh_genkeytypes": [],
        "users": [{
            "name": user,
            "ssh_authorized_keys": [identity.user_key],
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": true,
            "shell": "/bin/bash",
        }],
    });
    format!("#cloud-config\n{data}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_is_what_cloud_init_reads() {
        let identity = Identity {
            user_key: "ssh-ed25519 AAAA drivetrain".to_owned(),
            host_key: "-----BEGIN OPENSSH PRIVATE KEY-----\nxyz\n-----END OPENSSH PRIVATE KEY-----\n"
                .to_owned(),
            host_public_key: "ssh-ed25519 BBBB".to_owned(),
        };
        let text = user_data(&identity, "cloud-user");
        let json = text.strip_prefix("#cloud-config\n").unwrap();
        let data: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(data["users"][0]["ssh_authorized_keys"][0], identity.user_key);
        assert_eq!(data["ssh_keys"]["ed25519_private"], identity.host_key);
        assert_eq!(data["disable_root"], true);
    }
}
