//! Several cells from one file.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use camino::Utf8Path;
use drivetrain_config::{ConfigError, ConfiguredCell, parse, parse_cells};

const BASE: &str = r#"train:
  name: rocky-9.6
  arch: x86_64
  keys: [keys/train]
  repositories:
    baseos: {url: "https://ark.example.com/9.6/BaseOS/{snapshot}/", snapshot: 20260101T000000}
driver:
  name: doca-ofed
  version: 3.2.0
  repository: {url: "https://vendor.example.com/{version}/", keys: [keys/vendor]}
publish:
  directory: {path: published}
"#;

fn cells(matrix: &str, set: &[&str]) -> Result<Vec<ConfiguredCell>, ConfigError> {
    let set: Vec<String> = set.iter().map(|text| (*text).to_owned()).collect();
    parse_cells(&format!("{BASE}{matrix}"), "drivetrain.yaml", &set, &|_| None, Utf8Path::new("/site"))
}

fn names(matrix: &str, set: &[&str]) -> Vec<String> {
    cells(matrix, set).unwrap().into_iter().map(|cell| cell.name).collect()
}

fn error(matrix: &str) -> String {
    cells(matrix, &[]).unwrap_err().to_string()
}

const TWO_BY_TWO: &str = r#"matrix:
  train:
    - {name: rocky-9.6}
    - name: rocky-9.7
      repositories:
        baseos: {url: "https://ark.example.com/9.7/BaseOS/{snapshot}/", snapshot: 20260601T000000}
  driver.version: [3.2.1, 3.2.3]
"#;

#[test]
fn every_combination_is_a_cell_and_a_mapping_says_only_what_differs() {
    let cells = cells(TWO_BY_TWO, &[]).unwrap();
    let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "rocky-9.6/3.2.1/latest/x86_64",
            "rocky-9.6/3.2.3/latest/x86_64",
            "rocky-9.7/3.2.1/latest/x86_64",
            "rocky-9.7/3.2.3/latest/x86_64"
        ]
    );
    let urls = |cell: &ConfiguredCell| {
        let baseos = cell.config.train.repositories.values().next().unwrap();
        (baseos.url.to_string(), baseos.keys.len(), cell.config.driver.repository.url.to_string())
    };
    let expected = |train: &str, snapshot: &str, driver: &str| {
        let train = format!("https://ark.example.com/{train}/BaseOS/{snapshot}/");
        (train, 1, format!("https://vendor.example.com/{driver}/"))
    };
    assert_eq!(urls(&cells[0]), expected("9.6", "20260101T000000", "3.2.1"));
    assert_eq!(urls(&cells[3]), expected("9.7", "20260601T000000", "3.2.3"));
    assert_eq!(names.len(), 4);
}

#[test]
fn what_is_excluded_is_no_cell() {
    let matrix = format!("{TWO_BY_TWO}  exclude: [{{train.name: rocky-9.6, driver.version: 3.2.3}}]\n");
    assert_eq!(names(&matrix, &[]).len(), 3);
    assert!(!names(&matrix, &[]).iter().any(|name| name.starts_with("rocky-9.6/3.2.3")));
}

#[test]
fn what_the_command_line_sets_is_no_axis_any_more() {
    let set = names(TWO_BY_TWO, &["driver.version=3.2.2"]);
    assert_eq!(set, ["rocky-9.6/3.2.2/latest/x86_64", "rocky-9.7/3.2.2/latest/x86_64"]);
    // A part of what an axis sets is set in each of its cells.
    let set = names(TWO_BY_TWO, &["train.kernel=newest-buildable"]);
    assert!(set.len() == 4 && set.iter().all(|name| name.contains("/newest-buildable/")), "{set:?}");
}

#[test]
fn kernels_are_an_axis_too() {
    let matrix = "matrix:\n  train.kernel: [latest, all-in-train, {exact: 5.14.0-1.el9.x86_64}]\n";
    assert_eq!(
        names(matrix, &[]),
        [
            "rocky-9.6/3.2.0/latest/x86_64",
            "rocky-9.6/3.2.0/all-in-train/x86_64",
            "rocky-9.6/3.2.0/5.14.0-1.el9.x86_64/x86_64"
        ]
    );
}

#[test]
fn a_file_without_a_matrix_is_one_cell() {
    assert_eq!(names("", &[]), ["rocky-9.6/3.2.0/latest/x86_64"]);
    let one = parse(&format!("{BASE}{TWO_BY_TWO}"), "drivetrain.yaml", &|_| None, Utf8Path::new("/site"));
    assert!(one.unwrap_err().to_string().contains("several cells"));
}

#[test]
fn mistakes_of_a_matrix_are_told_where_they_stand() {
    insta::assert_snapshot!("no_mapping", error("matrix: [1]\n"));
    insta::assert_snapshot!("no_key", error("matrix:\n  version: [3.2.0]\n"));
    insta::assert_snapshot!("no_list", error("matrix:\n  driver.version: 3.2.0\n"));
    insta::assert_snapshot!("wrong_value", error("matrix:\n  driver.version: [3.2.1, a/b]\n"));
    insta::assert_snapshot!("misspelt_below", error("matrix:\n  driver.versoin: [3.2.1]\n"));
    insta::assert_snapshot!(
        "the_same_twice",
        error("matrix:\n  train: [{arch: x86_64}, {name: rocky-9.6}]\n")
    );
    insta::assert_snapshot!(
        "all_excluded",
        error("matrix:\n  driver.version: [1]\n  exclude: [{driver.version: 1}]\n")
    );
    insta::assert_snapshot!(
        "excludes_nothing",
        error("matrix:\n  driver.version: [1]\n  exclude: [{driver.version: 2}]\n")
    );
    let many = (0..300).map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    assert!(error(&format!("matrix:\n  driver.version: [{many}]\n")).contains("more than 256 cells"));
}

#[test]
fn a_mistake_that_the_cells_share_is_told_once() {
    let matrix = "consumers: {colour: blue}\nmatrix:\n  driver.version: [3.2.1, 3.2.2, 3.2.3]\n";
    assert_eq!(error(matrix).matches("colour").count(), 2, "once in words, once in the line itself");
}
