//! The plan of small trains, and what refuses them.

use std::collections::BTreeSet;

use drivetrain_config::Config;
use drivetrain_model::{
    Capability, ComponentAction, ComponentName, Evr, InputRole, Nevra, Package, PublicationState,
    RepositoryId, Sha256Digest, Snapshot,
};
use insta::assert_snapshot;
use proptest::prelude::*;

use crate::{
    Existing, Origin, Refusal, RepositoryMetadata, ServedLock, SourcePackage, Tools, components, plan, select,
};

fn config(kernel: &str, driver: &str) -> Config {
    let text = format!(
        "train:\n  name: rocky-9\n  arch: x86_64\n  kernel: {kernel}\n  repositories:\n    baseos:\n      url: \
         https://mirror.example/baseos/{{snapshot}}/\n      snapshot: 20261101T000000\n      verify: checksums-only\n    \
         appstream:\n      url: https://mirror.example/appstream/\n      verify: checksums-only\ndriver:\n  name: \
         doca-ofed\n  version: 3.2.0\n  repository:\n    url: https://vendor.example/\n    verify: \
         checksums-only\n{driver}publish:\n  directory:\n    path: /srv/drivers\n"
    );
    drivetrain_config::parse(&text, "drivetrain.yaml", &|_| None, "/etc".into()).unwrap()
}

fn package(nevra: &str, provides: &[(&str, &str)]) -> Package {
    let nevra = Nevra::parse(nevra).unwrap();
    let checksum = Sha256Digest::of(nevra.to_string().as_bytes()).into();
    let location = format!("Packages/{}", nevra.file_name());
    let mut package = Package::bare(nevra, checksum, 1000, location);
    package.provides = provides
        .iter()
        .map(|(name, version)| {
            Capability::versioned(*name, drivetrain_model::Comparison::Equal, Evr::parse(version))
        })
        .collect();
    package
}

fn repository(id: &str, snapshot: Option<&str>, packages: Vec<Package>) -> RepositoryMetadata {
    RepositoryMetadata {
        id: RepositoryId::parse(id).unwrap(),
        url: format!("https://mirror.example/{id}/").parse().unwrap(),
        snapshot: snapshot.map(|snapshot| Snapshot::parse(snapshot).unwrap()),
        priority: 99,
        exclude: Vec::new(),
        repomd: Sha256Digest::of(id.as_bytes()),
        keys: Vec::new(),
        packages,
    }
}

fn core(version: &str) -> Package {
    package(&format!("kernel-core-{version}.x86_64"), &[("kernel-uname-r", &format!("{version}.x86_64"))])
}

fn devel(version: &str) -> Package {
    package(
        &format!("kernel-devel-{version}.x86_64"),
        &[("kernel-devel-uname-r", &format!("{version}.x86_64"))],
    )
}

const OLD: &str = "5.14.0-427.9.1.el9_4";
const NEW: &str = "5.14.0-427.31.1.el9_4";

fn train(cores: &[&str], devels: &[&str]) -> Vec<RepositoryMetadata> {
    vec![
        repository(
            "appstream",
            Some("20261001T000000"),
            devels.iter().map(|version| devel(version)).collect(),
        ),
        repository("baseos", Some("20261101T000000"), cores.iter().map(|version| core(version)).collect()),
    ]
}

fn vendor() -> RepositoryMetadata {
    repository("doca-ofed", None, vec![package("doca-ofed-source-3.2.0-1.noarch", &[])])
}

fn source(name: &str, makes: &[&str], needs: &[&str]) -> SourcePackage {
    SourcePackage {
        nevra: Nevra::parse(&format!("{name}-25.10-1.src")).unwrap(),
        sha256: Sha256Digest::of(name.as_bytes()),
        size: 5000,
        packages: makes.iter().map(|&name| name.to_owned()).collect(),
        may_need: needs.iter().map(|&name| Capability::unversioned(name)).collect(),
        takes_kernel: true,
        origin: Origin::Vendor,
    }
}

fn stack() -> Vec<SourcePackage> {
    vec![
        source("iser", &["kmod-iser"], &["make"]),
        source("mlnx-ofa_kernel", &["mlnx-ofa_kernel", "mlnx-ofa_kernel-devel"], &["gcc"]),
        source("tool", &["kmod-tool"], &["kmod-iser"]),
        SourcePackage { takes_kernel: false, ..source("rdma-core", &["libibverbs"], &[]) },
    ]
}

fn text(refusal: &Refusal) -> String {
    refusal.problems.iter().map(|problem| format!("{}\nnext: {}\n", problem.what, problem.next)).collect()
}

fn names(components: &crate::Components) -> Vec<&str> {
    components.ordered.iter().map(|component| component.name.as_str()).collect()
}

#[test]
fn the_newest_kernel_by_version_is_chosen_not_by_text() {
    let selection = select(&config("latest", ""), &train(&[OLD, NEW], &[OLD, NEW]), &vendor(), &[]).unwrap();
    assert_eq!(selection.kernel.release.as_str(), format!("{NEW}.x86_64"));
    assert_eq!(selection.devel.input.role, InputRole::KernelDevel);
    assert_eq!(
        selection.devel.input.url.as_str(),
        format!("https://mirror.example/appstream/Packages/kernel-devel-{NEW}.x86_64.rpm")
    );
    let considered: Vec<_> =
        selection.kernel.considered.iter().map(|choice| (choice.chosen, choice.why.as_str())).collect();
    assert_eq!(considered, [(true, "the newest of the train"), (false, "older than the newest")]);
}

#[test]
fn a_policy_is_kept_to() {
    let train = train(&[OLD, NEW], &[OLD, NEW]);
    for kernel in [
        format!("{{exact: {OLD}.x86_64}}"),
        format!("{{ceiling: {OLD}.x86_64}}"),
        "{ceiling: 5.14.0-427.30.el9_4.x86_64}".to_owned(),
    ] {
        let selection = select(&config(&kernel, ""), &train, &vendor(), &[]).unwrap();
        assert_eq!(selection.kernel.release.as_str(), format!("{OLD}.x86_64"), "{kernel}");
    }
}

#[test]
fn a_kernel_without_kernel_devel_is_refused_with_the_snapshots_that_disagree() {
    let refusal = select(&config("latest", ""), &train(&[OLD, NEW], &[OLD]), &vendor(), &[]).unwrap_err();
    assert_eq!(refusal.considered.len(), 2);
    assert_snapshot!(text(&refusal), @r"
    5.14.0-427.31.1.el9_4.x86_64 (kernel-core-5.14.0-427.31.1.el9_4.x86_64 in baseos (snapshot 20261101T000000)) has no kernel-devel: the newest is for 5.14.0-427.9.1.el9_4.x86_64, in appstream (snapshot 20261001T000000)
    next: the snapshots of baseos and appstream are of different states: move appstream on to one that has kernel-devel for this kernel; until then build for the kernel before it, with `kernel: {ceiling: 5.14.0-427.9.1.el9_4.x86_64}` under `train`, and keep the nodes from booting the newer one
    ");
}

#[test]
fn what_the_train_does_not_have_is_said() {
    let refuse = |kernel: &str, train: Vec<RepositoryMetadata>| {
        text(&select(&config(kernel, ""), &train, &vendor(), &[]).unwrap_err())
    };
    assert_snapshot!(refuse("latest", train(&[], &[OLD])), @r"
    the train has no kernel-core for x86_64: looked in appstream (snapshot 20261001T000000), baseos (snapshot 20261101T000000)
    next: add the repository that has it (BaseOS) to train.repositories; look at its snapshot and `exclude`
    ");
    assert_snapshot!(refuse("latest", train(&[OLD], &[])), @r"
    5.14.0-427.9.1.el9_4.x86_64 (kernel-core-5.14.0-427.9.1.el9_4.x86_64 in baseos (snapshot 20261101T000000)) has no kernel-devel: no repository of the train has any; looked in appstream (snapshot 20261001T000000), baseos (snapshot 20261101T000000)
    next: add the repository that has it (AppStream) to train.repositories
    ");
    assert_snapshot!(refuse("{exact: 5.14.0-427.31.2.el9_4.x86_64}", train(&[OLD, NEW], &[OLD])), @r"
    train.kernel asks for exactly 5.14.0-427.31.2.el9_4.x86_64, and the train has 5.14.0-427.31.1.el9_4.x86_64, 5.14.0-427.9.1.el9_4.x86_64
    next: change train.kernel, or the snapshots of the train; the nearest is 5.14.0-427.31.1.el9_4.x86_64
    ");
    let mut empty = vendor();
    empty.packages.clear();
    assert_snapshot!(text(&select(&config("latest", ""), &train(&[OLD], &[OLD]), &empty, &[]).unwrap_err()), @r"
    doca-ofed at https://mirror.example/doca-ofed/ has no package doca-ofed-source, which holds the driver's source
    next: compare driver.version and driver.repository.url with the vendor's repository, and driver.source with the name of the package there
    ");
}

#[test]
fn an_excluded_package_is_not_seen_and_a_lower_priority_number_wins() {
    let mut excluding = train(&[OLD, NEW], &[OLD, NEW]);
    excluding[1].exclude = vec!["kernel-core-5.14.0-427.31*".to_owned()];
    let selection = select(&config("latest", ""), &excluding, &vendor(), &[]).unwrap();
    assert_eq!(selection.kernel.release.as_str(), format!("{OLD}.x86_64"));
    let mut preferring = train(&[NEW], &[OLD, NEW]);
    let mut preferred = repository("site", None, vec![core(OLD)]);
    preferred.priority = 10;
    preferring.push(preferred);
    let selection = select(&config("latest", ""), &preferring, &vendor(), &[]).unwrap();
    assert_eq!(selection.kernel.release.as_str(), format!("{OLD}.x86_64"));
}

#[test]
fn one_package_with_two_contents_is_refused() {
    let mut twice = train(&[NEW], &[NEW]);
    let mut other = devel(NEW);
    other.checksum = Sha256Digest::of(b"something else").into();
    twice[1].packages.push(other);
    let said = text(&select(&config("latest", ""), &twice, &vendor(), &[]).unwrap_err());
    assert!(said.starts_with(&format!("kernel-devel-{NEW}.x86_64 is in appstream")), "{said}");
}

#[test]
fn components_come_after_what_they_need_and_userspace_is_left_out() {
    let found = components(&config("latest", ""), &stack()).unwrap();
    assert_eq!(names(&found), ["mlnx-ofa_kernel", "iser", "tool"]);
    assert_eq!(found.ordered[1].needs, [ComponentName::parse("mlnx-ofa_kernel").unwrap()]);
    assert_eq!(found.skipped[0].name.as_str(), "rdma-core");
    assert!(found.skipped[0].why.contains("KVERSION"));
}

#[test]
fn the_configuration_decides_what_is_built() {
    let found = components(
        &config("latest", "  components:\n    exclude: [tool]\n  needs:\n    mlnx-ofa_kernel: []\n"),
        &stack(),
    )
    .unwrap();
    assert_eq!(names(&found), ["mlnx-ofa_kernel", "iser"]);
    let found =
        components(&config("latest", "  components:\n    include: [mlnx-ofa_kernel, rdma-core]\n"), &stack())
            .unwrap();
    assert_eq!(names(&found), ["mlnx-ofa_kernel", "rdma-core"]);
}

#[test]
fn the_sites_own_source_takes_the_vendors_place() {
    let mut sources = stack();
    let url: url::Url = "file:///srv/iser.src.rpm".parse().unwrap();
    let own = SourcePackage {
        sha256: Sha256Digest::of(b"own"),
        origin: Origin::Extra { url: url.clone() },
        ..source("iser", &["kmod-iser"], &[])
    };
    sources.push(own);
    let found = components(&config("latest", ""), &sources).unwrap();
    let iser = found.ordered.iter().find(|component| component.name.as_str() == "iser").unwrap();
    assert_eq!(iser.source.sha256, Sha256Digest::of(b"own"));
    assert!(found.skipped.iter().any(|skipped| skipped.why.contains("takes the place of")));
    let selection = select(&config("latest", ""), &train(&[NEW], &[NEW]), &vendor(), &[]).unwrap();
    let plan = plan(&config("latest", ""), &selection, &found, None, &tools(), &Existing::default());
    assert_eq!(plan.lock.input(InputRole::ExtraSource).unwrap().url, url);
}

#[test]
fn mistakes_about_components_are_said() {
    let refuse = |driver: &str, sources: &[SourcePackage]| {
        text(&components(&config("latest", driver), sources).unwrap_err())
    };
    assert_snapshot!(refuse("  components:\n    exclude: [isser]\n", &stack()), @r"
    driver.components.exclude names isser, and there is no source RPM of that name
    next: did you mean iser? There are: iser, mlnx-ofa_kernel, rdma-core, tool
    ");
    assert_snapshot!(refuse("  components:\n    exclude: [iser]\n  needs:\n    tool: [iser]\n", &stack()), @r"
    driver.needs says that tool needs iser, which is left out: excluded by driver.components.exclude
    next: leave tool out as well, or build iser
    ");
    let circle = [source("a", &["kmod-a"], &["kmod-b"]), source("b", &["kmod-b"], &["kmod-a"])];
    assert_snapshot!(refuse("", &circle), @r"
    components need each other in a circle: a needs b; b needs a
    next: take one of these out of driver.needs, or leave a component out
    ");
    let mut twice = stack();
    twice.push(SourcePackage { sha256: Sha256Digest::of(b"x"), ..source("iser", &[], &[]) });
    assert!(refuse("", &twice).starts_with("component iser is there twice"));
    assert!(refuse("", &stack()[3..]).starts_with("nothing is left to build: rdma-core"));
}

fn tools() -> Tools {
    Tools {
        digest: Sha256Digest::of(b"gcc"),
        description: "gcc 12".to_owned(),
        kernel_module_package: true,
        builder: Vec::new(),
        packages: Vec::new(),
        signed_by: None,
        modules_signed_by: None,
    }
}

#[test]
fn what_is_finished_is_reused_and_what_is_served_is_not_published_again() {
    let config = config("latest", "");
    let selection = select(&config, &train(&[NEW], &[NEW]), &vendor(), &[]).unwrap();
    let components = components(&config, &stack()).unwrap();
    let first = plan(&config, &selection, &components, None, &tools(), &Existing::default());
    assert!(first.components.iter().all(|component| component.action == ComponentAction::Build));
    assert_eq!(first.publication.state, PublicationState::Absent);
    let existing = Existing {
        finished: BTreeSet::from([first.lock.components[0].key]),
        served: Some(ServedLock { version: 4, lock: Some(first.lock.digest()) }),
        ..Existing::default()
    };
    let second = plan(&config, &selection, &components, None, &tools(), &existing);
    assert_eq!(second.components[0].action, ComponentAction::Reuse { key: first.lock.components[0].key });
    assert_eq!(second.components[1].action, ComponentAction::Build);
    assert!(second.is_done());
    // Other tools, other RPMs: neither fits any more.
    let tools = Tools { digest: Sha256Digest::of(b"gcc 13"), ..tools() };
    let third = plan(&config, &selection, &components, None, &tools, &existing);
    assert_eq!(third.components[0].action, ComponentAction::Build);
    assert_eq!(third.publication.state, PublicationState::Outdated { version: 4 });
    assert!(!first.lock.differences(&third.lock).is_empty());
}

#[test]
fn the_vendors_tool_is_an_input_of_every_component_that_it_builds() {
    let machine = "builder: {kind: ssh, ssh: {host: b}, prepare: {}}\n";
    let with = |driver: &str| {
        let text = format!("  build: vendor-tool\n{driver}{machine}");
        config("latest", &text)
    };
    let train = train(&[NEW], &[NEW]);
    assert_snapshot!(text(&select(&with(""), &train, &vendor(), &[]).unwrap_err()), @r"
    doca-ofed at https://mirror.example/doca-ofed/ has no package doca-extra, which has the vendor's build tool
    next: name the package that has doca-kernel-support as driver.vendor_tool.package, or leave driver.build out: drivetrain builds the source RPMs without that tool
    ");
    let made = |config: &Config, tool: &str| {
        let mut vendor = vendor();
        vendor.packages.push(package(tool, &[]));
        let selection = select(config, &train, &vendor, &[]).unwrap();
        let components = components(config, &stack()).unwrap();
        let tools = Tools { kernel_module_package: false, builder: vec!["b".to_owned()], ..tools() };
        plan(config, &selection, &components, None, &tools, &Existing::default())
    };
    let tool = "doca-extra-3.2.0-1.noarch";
    let plan = made(&with(""), tool);
    assert_eq!(plan.lock.input(InputRole::DriverTool).unwrap().nevra.to_string(), tool);
    assert_eq!(plan.lock.settings["driver.build"], "vendor-tool");
    assert_eq!(plan.builder, ["b".to_owned(), format!("the vendor's own tool builds, from {tool}")]);
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    let keys = |plan: &drivetrain_model::Plan| -> Vec<_> {
        plan.lock.components.iter().map(|component| component.key).collect()
    };
    let others = [
        made(&with(""), "doca-extra-3.2.1-1.noarch"),
        made(&with("  vendor_tool: {arguments: [--no-kver]}\n"), tool),
        made(&config("latest", ""), tool),
    ];
    for other in others {
        assert!(keys(&plan).iter().all(|key| !keys(&other).contains(key)));
    }
}

#[test]
fn a_changed_component_changes_the_keys_of_those_built_against_it_and_no_others() {
    let config = config("latest", "");
    let selection = select(&config, &train(&[NEW], &[NEW]), &vendor(), &[]).unwrap();
    let mut sources = stack();
    sources.push(source("knem", &["kmod-knem"], &[]));
    let keys = |sources: &[SourcePackage]| {
        let components = components(&config, sources).unwrap();
        plan(&config, &selection, &components, None, &tools(), &Existing::default()).lock.components
    };
    let before = keys(&sources);
    sources[1].sha256 = Sha256Digest::of(b"a new mlnx-ofa_kernel");
    let after = keys(&sources);
    let changed: Vec<&str> = before
        .iter()
        .filter(|old| after.iter().any(|new| new.name == old.name && new.key != old.key))
        .map(|old| old.name.as_str())
        .collect();
    assert_eq!(changed, ["mlnx-ofa_kernel", "iser", "tool"]);
}

proptest! {
    /// Whatever needs what: either an order in which everything comes after its needs, or a refusal.
    #[test]
    fn an_order_is_an_order(edges in proptest::collection::vec((0_usize..8, 0_usize..8), 0..20)) {
        let sources: Vec<SourcePackage> = (0..8)
            .map(|number| {
                let needs: Vec<String> =
                    edges.iter().filter(|(from, _)| *from == number).map(|(_, to)| format!("kmod-c{to}")).collect();
                let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                source(&format!("c{number}"), &[&format!("kmod-c{number}")], &needs)
            })
            .collect();
        match components(&config("latest", ""), &sources) {
            Ok(found) => {
                prop_assert_eq!(found.ordered.len(), 8);
                let mut seen: Vec<&ComponentName> = Vec::new();
                for component in &found.ordered {
                    prop_assert!(component.needs.iter().all(|need| seen.contains(&need)));
                    seen.push(&component.name);
                }
                let mut backwards = sources.clone();
                backwards.reverse();
                prop_assert_eq!(components(&config("latest", ""), &backwards).unwrap().ordered, found.ordered);
            }
            Err(refusal) => prop_assert!(refusal.to_string().contains("circle")),
        }
    }
}

#[test]
fn a_builder_without_the_macros_of_enterprise_linux_is_told_of_once_it_matters() {
    let warnings = |driver: &str| {
        let config = config("latest", driver);
        let selection = select(&config, &train(&[NEW], &[NEW]), &vendor(), &[]).unwrap();
        let components = components(&config, &stack()).unwrap();
        let tools = Tools { kernel_module_package: false, ..tools() };
        let plan = plan(&config, &selection, &components, None, &tools, &Existing::default());
        plan.problems.into_iter().map(|problem| problem.what).collect::<Vec<_>>()
    };
    let warned = warnings("");
    assert!(warned.len() == 1 && warned[0].contains("COMPONENT-modules"), "{warned:?}");
    assert!(warnings("  macros: {KMP: 0}\n").is_empty());
}
