//! The `.repo` file that a consumer puts into `/etc/yum.repos.d`.

use crate::Publication;

/// Its name in the repository.
pub(crate) const FILE: &str = "drivetrain.repo";

/// The text of the file, for a repository at this URL.
pub(crate) fn text(publication: &Publication, url: &str) -> String {
    let cell = &publication.cell;
    let id = id(&format!("drivetrain-{}-{}-{}", publication.driver_name, cell.driver, cell.kernel));
    let name = one_line(&format!(
        "{} {} for kernel {} ({})",
        publication.driver_name, cell.driver, cell.kernel, cell.train
    ));
    let url = one_line(url);
    format!(
        "# Written by drivetrain: modules in this repository are for kernel {kernel} and no other.\n\
         [{id}]\n\
         name={name}\n\
         baseurl={url}\n\
         enabled=1\n\
         # The packages are not signed yet: who can write to the server can replace them. TLS is the protection.\n\
         gpgcheck=0\n\
         # Without it a module stream that has a package of the same name would hide ours.\n\
         module_hotfixes=1\n",
        kernel = cell.kernel
    )
}

/// DNF allows letters, digits and `-_.:` in an id.
fn id(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
