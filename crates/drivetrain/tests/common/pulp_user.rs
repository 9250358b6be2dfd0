//! A user of a Pulp server who publishes, and is nothing more.

use drivetrain_lab::pulp::Server;

use super::Site;

/// What such a user has to be.
const ROLES: [&str; 7] = [
    "rpm.rpm_package_uploader",
    "rpm.rpmrepository_creator",
    "rpm.rpmpublication_creator",
    "rpm.rpmdistribution_creator",
    // For evidence.
    "file.filerepository_creator",
    "file.filedistribution_creator",
    "file.file_uploader",
];

/// The password, which nothing but the server may ever see.
pub const PASSWORD: &str = "7Q-sehr-geheim";

/// Makes the user, and lets the site publish to the server as that one.
pub fn publishes_to(site: &mut Site, server: &Server) {
    server.create_user("release", PASSWORD, &ROLES).unwrap();
    site.environment.push(("ARK_PASSWORD".to_owned(), PASSWORD.to_owned()));
    site.configure(|settings| {
        settings.publish_to = Some(format!(
            "  pulp:\n    url: {}\n    credentials:\n      username: release\n      password: ${{ARK_PASSWORD}}",
            server.api_url()
        ));
    });
}
