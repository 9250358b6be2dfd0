//! Closures of small worlds.

use std::collections::BTreeSet;

use drivetrain_model::{Architecture, Nevra, RepositoryId};
use insta::assert_snapshot;

use crate::testing::Small;
use crate::{
    Closure, How, Options, Ranking, Reason, Unsolvable, Want, World, closure, paths_to_look_up, takeovers,
};

fn solve(world: &World<'_>, wants: &[&str], options: &Options) -> Result<Closure, Box<Unsolvable>> {
    let wants: Vec<Want> = wants.iter().map(|text| Want::find(world, text).unwrap()).collect();
    closure(world, &wants, options)
}

fn names(closure: &Closure) -> Vec<String> {
    closure.packages.iter().map(|package| package.nevra.to_string()).collect()
}

fn set(small: &Small, wants: &[&str]) -> Vec<String> {
    names(&solve(&small.world(), wants, &Options::default()).unwrap_or_else(|error| panic!("{error}")))
}

fn refused(small: &Small, wants: &[&str]) -> String {
    let error = solve(&small.world(), wants, &Options::default()).unwrap_err();
    error.because.iter().map(|fact| format!("{fact}\n")).collect()
}

#[test]
fn what_the_train_has_is_not_copied_and_what_it_lacks_is() {
    let small = Small::new(
        "libnl3-3.9-1.x86_64\nlibibverbs-61.0-2.x86_64\n  provides: libibverbs.so.1()(64bit)\n",
        "doca-1-1.noarch\n  requires: libibverbs = 2510, libnl3, perftest\n\
         libibverbs-2510-1.x86_64\n  provides: libibverbs.so.1()(64bit)\n  requires: libnl3\n\
         libnl3-3.9-2.x86_64\nperftest-25-1.x86_64\n  requires: libibverbs.so.1()(64bit)\nucx-1-1.x86_64\n",
    );
    assert_eq!(
        set(&small, &["doca"]),
        ["doca-1-1.noarch", "libibverbs-2510-1.x86_64", "perftest-25-1.x86_64"]
    );
    // The same question, the same answer, whoever asks for it in whichever order.
    assert_eq!(set(&small, &["perftest", "doca"]), set(&small, &["doca", "perftest"]));
}

#[test]
fn a_library_of_the_trains_that_does_not_fit_any_more_is_brought_along() {
    // The train's librdmacm needs the train's libibverbs, whose place the vendor's takes.
    let small = Small::new(
        "libibverbs-61-2.x86_64\nlibrdmacm-61-2.x86_64\n  provides: librdmacm.so.1\n  requires: libibverbs = 61-2\n",
        "doca-1-1.noarch\n  requires: libibverbs = 2510-1, librdmacm.so.1\n\
         libibverbs-2510-1.x86_64\nlibrdmacm-2510-1.x86_64\n  provides: librdmacm.so.1\n  requires: libibverbs = 2510-1\n",
    );
    assert_eq!(
        set(&small, &["doca"]),
        ["doca-1-1.noarch", "libibverbs-2510-1.x86_64", "librdmacm-2510-1.x86_64"]
    );
}

#[test]
fn every_package_says_why_it_is_there_and_every_need_of_the_set_by_what_it_is_met() {
    let small = Small::new(
        "bash-5-1.x86_64\n  file: /usr/bin/bash\nlibx-1-1.x86_64\n",
        "tools-1-1.noarch\n  requires: /usr/bin/bash, perftest\nperftest-25-1.x86_64\n  requires: libx\n",
    );
    let closure = solve(&small.world(), &["tools"], &Options::default()).unwrap();
    assert_eq!(closure.packages[1].reasons, [Reason::Wanted { text: "tools".to_owned() }]);
    let by = Nevra::parse("tools-1-1.noarch").unwrap();
    assert_eq!(closure.packages[0].reasons, [Reason::Needed { by, capability: "perftest".to_owned() }]);
    let satisfied: Vec<String> = closure
        .satisfied
        .iter()
        .map(|one| format!("{} by {} for {}", one.capability, one.by, one.needed_by[0]))
        .collect();
    assert_eq!(
        satisfied,
        [
            "/usr/bin/bash by bash-5-1.x86_64 for tools-1-1.noarch",
            "libx by libx-1-1.x86_64 for perftest-25-1.x86_64"
        ]
    );
}

#[test]
fn what_turns_out_not_to_be_needed_is_left_out() {
    // `mta` is asked for before it is known that exim comes anyway.
    let small = Small::new(
        "",
        "all-1-1.noarch\n  requires: mta, mailer\nanimail-1-1.x86_64\n  provides: mta\n\
         exim-1-1.x86_64\n  provides: mta, mailer\n",
    );
    assert_eq!(set(&small, &["all"]), ["all-1-1.noarch", "exim-1-1.x86_64"]);
}

#[test]
fn the_trains_package_is_preferred_unless_the_vendors_repository_goes_before_it() {
    let small = Small::new("libx-1-1.x86_64\n", "tools-1-1.noarch\n  requires: libx\nlibx-2-1.x86_64\n");
    assert_eq!(set(&small, &["tools"]), ["tools-1-1.noarch"]);
    let mut repositories = small.repositories();
    repositories[2].priority = 50;
    let world = World::new(&Architecture::parse("x86_64").unwrap(), repositories);
    let closure = solve(&world, &["tools"], &Options::default()).unwrap();
    assert_eq!(names(&closure), ["libx-2-1.x86_64", "tools-1-1.noarch"]);
}

#[test]
fn what_is_built_here_is_taken_before_what_the_vendor_has_for_the_same_need() {
    let small = Small::new(
        "",
        "tools-1-1.noarch\n  requires: kmod-iser\niser-dkms-2-1.noarch\n  provides: kmod-iser = 2-1\n",
    )
    .with_own("kmod-iser-1-1.x86_64\n");
    assert_eq!(set(&small, &["tools"]), ["kmod-iser-1-1.x86_64", "tools-1-1.noarch"]);
}

#[test]
fn a_circle_of_needs_is_no_difficulty() {
    let small = Small::new(
        "",
        "a-1-1.noarch\n  requires: b\nb-1-1.noarch\n  requires: c\nc-1-1.noarch\n  requires: a\n",
    );
    assert_eq!(set(&small, &["b"]).len(), 3);
}

#[test]
fn rich_dependencies_mean_what_rpm_says() {
    let vendor = "gui-1-1.noarch\nb-1-1.noarch\nc-1-1.noarch\nd-1-1.noarch\n  provides: x, y\ne-1-1.noarch\n  provides: x\n";
    for (requires, expected) in [
        ("(b and c)", &["b", "c"][..]),
        ("(nothing or c)", &["c"]),
        ("(b if gui)", &[]),
        ("(b if gui else c)", &["c"]),
        ("(b unless gui)", &["b"]),
        ("(b unless gui else c)", &["b"]),
        ("(x with y)", &["d"]),
        ("(x without y)", &["e"]),
        ("((b if gui) and gui)", &["b", "gui"]),
    ] {
        let small = Small::new("", &format!("{vendor}a-1-1.noarch\n  requires: {requires}\n"));
        let found: Vec<String> =
            set(&small, &["a"]).iter().map(|nevra| nevra.split('-').next().unwrap().to_owned()).collect();
        let mut expected: Vec<&str> = expected.iter().copied().chain(["a"]).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "{requires}");
    }
}

#[test]
fn conflicts_and_obsoletes_keep_packages_apart() {
    let small = Small::new(
        "old-1-1.x86_64\n  provides: need\n",
        "a-1-1.noarch\n  requires: need\n  conflicts: old < 2\nnew-1-1.x86_64\n  provides: need\n",
    );
    assert_eq!(set(&small, &["a"]), ["a-1-1.noarch", "new-1-1.x86_64"]);
    let small = Small::new(
        "old-1-1.x86_64\n  provides: need\n",
        "a-1-1.noarch\n  requires: need\n  obsoletes: old < 2\nnew-1-1.x86_64\n  provides: need\n",
    );
    assert_eq!(set(&small, &["a"]), ["a-1-1.noarch", "new-1-1.x86_64"]);
    // By what it provides nothing is obsoleted.
    let small = Small::new(
        "p-1-1.x86_64\n  provides: need, old\n",
        "a-1-1.noarch\n  requires: need\n  obsoletes: old\n",
    );
    assert_eq!(set(&small, &["a"]), ["a-1-1.noarch"]);
}

#[test]
fn several_kernels_go_together_and_two_versions_of_anything_else_do_not() {
    let vendor = |name: &str| {
        format!(
            "a-1-1.noarch\n  requires: {name} = 1\nb-1-1.noarch\n  requires: {name} = 2\n{name}-1-1.x86_64\n{name}-2-1.x86_64\n"
        )
    };
    assert_eq!(set(&Small::new("", &vendor("kernel")), &["a", "b"]).len(), 4);
    assert_snapshot!(refused(&Small::new("", &vendor("perftest")), &["a", "b"]), @r"
    a is wanted: a-1-1.noarch
    b is wanted: b-1-1.noarch
    a-1-1.noarch needs perftest = 1, which only perftest-1-1.x86_64 has
    b-1-1.noarch needs perftest = 2, which only perftest-2-1.x86_64 has
    perftest-1-1.x86_64 and perftest-2-1.x86_64 are one package in two versions, and cannot both be installed
    ");
}

#[test]
fn a_library_for_older_processors_comes_with_its_counterpart() {
    let small = Small::new(
        "",
        "a-1-1.x86_64\n  requires: libx.so.1\nlibx-1-1.i686\n  provides: libx.so.1\nlibx-1-1.x86_64\n  provides: libx.so.1()(64bit)\n",
    );
    assert_eq!(set(&small, &["a"]), ["a-1-1.x86_64", "libx-1-1.i686", "libx-1-1.x86_64"]);
    // Whoever asks for a name gets the machine's own architecture.
    assert_eq!(set(&small, &["libx"]), ["libx-1-1.x86_64"]);
    assert_eq!(set(&small, &["libx.i686"]), ["libx-1-1.i686"]);
}

#[test]
fn what_is_recommended_comes_where_it_is_asked_for_and_can_be_had() {
    let small = Small::new(
        "",
        "a-1-1.noarch\n  requires: b\n  recommends: c, d\nb-1-1.noarch\n  conflicts: d\nc-1-1.noarch\nd-1-1.noarch\n\
         e-1-1.noarch\n  supplements: a\n",
    );
    assert_eq!(set(&small, &["a"]), ["a-1-1.noarch", "b-1-1.noarch"]);
    let weak = Options { weak: true, ..Options::default() };
    let closure = solve(&small.world(), &["a"], &weak).unwrap();
    assert_eq!(names(&closure), ["a-1-1.noarch", "b-1-1.noarch", "c-1-1.noarch", "e-1-1.noarch"]);
    assert_eq!(closure.packages[3].reasons, [Reason::Supplements { capability: "a".to_owned() }]);
}

#[test]
fn excluded_packages_and_disabled_module_streams_are_not_there() {
    let small = Small::new("", "a-1-1.noarch\n  requires: b\nb-1-1.noarch\nb-2-1.noarch\n");
    let mut repositories = small.repositories();
    repositories[2].hidden.insert(Nevra::parse("b-2-1.noarch").unwrap());
    let arch = Architecture::parse("x86_64").unwrap();
    let closure = solve(&World::new(&arch, repositories.clone()), &["a"], &Options::default()).unwrap();
    assert_eq!(names(&closure), ["a-1-1.noarch", "b-1-1.noarch"]);
    repositories[2].exclude = vec!["b-1*".to_owned()];
    let world = World::new(&arch, repositories);
    let error = solve(&world, &["a"], &Options::default()).unwrap_err();
    assert_snapshot!(error, @"a is wanted: a-1-1.noarch; a-1-1.noarch needs b, which nothing has (b-1-1.noarch of vendor has it, and is excluded by the configuration; b-2-1.noarch of vendor has it, and is of a module stream that is not enabled)");
}

#[test]
fn a_missing_need_is_explained_from_the_want_on_with_what_comes_near() {
    let small = Small::new(
        "libnl3-3.7-1.x86_64\n",
        "doca-1-1.noarch\n  requires: ucx\nucx-1-1.x86_64\n  requires: libnl3 >= 3.9\n",
    );
    assert_snapshot!(refused(&small, &["doca"]), @r"
    doca is wanted: doca-1-1.noarch
    doca-1-1.noarch needs ucx, which only ucx-1-1.x86_64 has
    ucx-1-1.x86_64 needs libnl3 >= 3.9, which nothing has (libnl3-3.7-1.x86_64 of train has libnl3 = 3.7-1)
    ");
    let small = Small::new("", "a-1-1.noarch\n  requires: libibverb\nlibibverbs-1-1.x86_64\n");
    assert_snapshot!(refused(&small, &["a"]), @r"
    a is wanted: a-1-1.noarch
    a-1-1.noarch needs libibverb, which nothing has (there is libibverbs)
    ");
}

#[test]
fn a_conflict_is_explained_by_the_facts_that_make_it_and_no_others() {
    let small = Small::new(
        "kernel-core-5-1.x86_64\n",
        "a-1-1.noarch\n  requires: b, z\nb-1-1.noarch\n  requires: kernel-core\nz-1-1.noarch\n  conflicts: kernel-core < 6\n\
         other-1-1.noarch\n",
    );
    assert_snapshot!(refused(&small, &["a", "other"]), @r"
    a is wanted: a-1-1.noarch
    a-1-1.noarch needs b, which only b-1-1.noarch has
    a-1-1.noarch needs z, which only z-1-1.noarch has
    b-1-1.noarch needs kernel-core, which only kernel-core-5-1.x86_64 has
    z-1-1.noarch conflicts with kernel-core < 6, which only kernel-core-5-1.x86_64 has
    ");
}

#[test]
fn a_dependency_that_cannot_be_understood_keeps_its_package_out() {
    let small = Small::new("", "a-1-1.noarch\n  requires: (b or\n");
    assert!(refused(&small, &["a"]).contains("says (b or, which is no dependency that can be understood"));
}

#[test]
fn a_want_is_a_name_a_full_name_a_capability_or_a_path() {
    let small = Small::new(
        "perftest-4-1.x86_64\n",
        "perftest-25-1.x86_64\n  provides: ib_write_bw\n  file: /usr/bin/ib_write_bw\nperftest-24-1.x86_64\n",
    );
    for want in [
        "perftest",
        "perftest.x86_64",
        "perftest-25-1.x86_64",
        "ib_write_bw",
        "perftest > 24",
        "/usr/bin/ib_write_bw",
    ] {
        assert_eq!(set(&small, &[want]), ["perftest-25-1.x86_64"], "{want}");
    }
    assert_eq!(set(&small, &["perftest = 24"]), ["perftest-24-1.x86_64"]);
    let world = small.world();
    let error = Want::find(&world, "perftset").unwrap_err();
    assert_eq!(error.suggestions, ["perftest"]);
    // What only the train has is met by it, and nothing is to be published.
    assert_eq!(set(&Small::new("vim-9-1.x86_64\n", "a-1-1.noarch\n"), &["vim"]), Vec::<String>::new());
}

#[test]
fn files_that_the_primary_metadata_do_not_list_are_asked_for_by_path() {
    let small = Small::new(
        "python3-3-1.x86_64\ndata-1-1.noarch\n",
        "a-1-1.noarch\n  requires: /usr/share/data/x, /usr/bin/python3\n",
    );
    let mut world = small.world();
    let wants = vec![Want::find(&world, "a").unwrap()];
    let paths = paths_to_look_up(&world, &wants, &Options::default());
    assert_eq!(paths, BTreeSet::from(["/usr/share/data/x".to_owned()]));
    let owner = |path: &str, nevra: &str| (path.to_owned(), Nevra::parse(nevra).unwrap());
    let owners =
        [owner("/usr/share/data/x", "data-1-1.noarch"), owner("/usr/bin/python3", "python3-3-1.x86_64")];
    world.add_files(&RepositoryId::parse("train").unwrap(), &owners);
    assert_eq!(names(&closure(&world, &wants, &Options::default()).unwrap()), ["a-1-1.noarch"]);
}

#[test]
fn packages_whose_place_is_taken_are_told() {
    let small = Small::new(
        "libibverbs-61-2.x86_64\nopenmpi-2:4.1-1.x86_64\nrdma-61-1.x86_64\n",
        "doca-1-1.noarch\n  requires: libibverbs = 2510, openmpi = 4.1.7\nlibibverbs-2510-1.x86_64\n  obsoletes: rdma < 100\n\
         openmpi-4.1.7-1.x86_64\n",
    );
    let closure = solve(&small.world(), &["doca"], &Options::default()).unwrap();
    let shadows: Vec<(String, String, How)> = closure
        .shadows
        .into_iter()
        .map(|shadow| (shadow.package.to_string(), shadow.shadowed.to_string(), shadow.how))
        .collect();
    let capability = "rdma < 100".to_owned();
    assert_eq!(
        shadows,
        [
            ("libibverbs-2510-1.x86_64".into(), "libibverbs-61-2.x86_64".into(), How::Newer),
            ("libibverbs-2510-1.x86_64".into(), "rdma-61-1.x86_64".into(), How::Obsoletes { capability }),
            ("openmpi-4.1.7-1.x86_64".into(), "openmpi-2:4.1-1.x86_64".into(), How::NotNewer),
        ]
    );
}

const PUBLISHED: &str = "kmod-iser-1-1.x86_64\nkmod-srp-1-1.x86_64\ntools-1-1.noarch\n  requires: kmod-srp\n";
const DKMS: &str = "dkms-3-1.noarch\niser-dkms-2-1.noarch\n  provides: kmod-iser = 2-1\n  obsoletes: kmod-iser < 2-1\n  requires: dkms\n\
                    kmod-srp-2-1.x86_64\n";

fn taken_over(priorities: [i32; 3], exclude: &[&str]) -> String {
    let small = Small::new("kernel-core-5-1.x86_64\ntools-1:1-1.noarch\n", DKMS).with_own(PUBLISHED);
    let mut repositories = small.repositories();
    for (repository, priority) in repositories.iter_mut().zip(priorities) {
        repository.priority = priority;
    }
    repositories[2].exclude = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
    let world = World::ranked(&Architecture::parse("x86_64").unwrap(), repositories, Ranking::Consumer);
    takeovers(&world).iter().map(|takeover| format!("{takeover}\n")).collect()
}

#[test]
fn what_would_take_the_place_of_the_published_is_named_with_its_tag() {
    assert_snapshot!(taken_over([99, 99, 99], &[]), @r"
    iser-dkms-2-1.noarch of vendor would replace kmod-iser-1-1.x86_64 with `dnf upgrade`, by its tag `Obsoletes: kmod-iser < 2-1`
    kmod-srp-2-1.x86_64 of vendor would replace kmod-srp-1-1.x86_64 with `dnf upgrade`: it has its name, and is newer
    `dnf install kmod-srp` would install kmod-srp-2-1.x86_64 of vendor instead of kmod-srp-1-1.x86_64
    tools-1:1-1.noarch of train would replace tools-1-1.noarch with `dnf upgrade`: it has its name, and is newer
    `dnf install tools` would install tools-1:1-1.noarch of train instead of tools-1-1.noarch
    ");
}

#[test]
fn a_lower_priority_number_or_an_exclusion_prevents_it() {
    assert_eq!(taken_over([50, 99, 99], &[]), "");
    assert_eq!(taken_over([50, 99, 10], &["*-dkms", "kmod-*"]), "");
    assert_snapshot!(taken_over([50, 99, 10], &["kmod-*"]), @"iser-dkms-2-1.noarch of vendor would replace kmod-iser-1-1.x86_64 with `dnf upgrade`, by its tag `Obsoletes: kmod-iser < 2-1`");
}

#[test]
fn dkms_that_comes_with_what_is_published_is_found() {
    let small =
        Small::new("", "a-dkms-1-1.noarch\n  provides: a\n").with_own("kmod-x-1-1.x86_64\n  requires: a\n");
    let world =
        World::ranked(&Architecture::parse("x86_64").unwrap(), small.repositories(), Ranking::Consumer);
    let found: Vec<String> = takeovers(&world).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "installing what is published would bring a-dkms-1-1.noarch of vendor, which compiles on every node"
        ]
    );
}
