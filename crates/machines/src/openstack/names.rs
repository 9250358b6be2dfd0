//! Names that are not there, and those that may have been meant.

/// How many names an error shows.
const SHOWN: usize = 5;
/// No list of names to choose from is longer than people read.
const LONGEST: usize = 60;

/// The names that there are, those first that are like `wanted`.
pub(super) fn there_is<'a>(kind: &str, wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    let count = names.len();
    let wanted = wanted.to_lowercase();
    names.sort_by_key(|name| distance(&wanted, &name.to_lowercase()));
    let shown: Vec<String> = names.into_iter().take(SHOWN).map(shorten).collect();
    match (count, count.saturating_sub(shown.len())) {
        (0, _) => format!("there are no {kind}"),
        (_, 0) => format!("there are the {kind} {}", shown.join(", ")),
        (_, more) => format!("there are the {kind} {} and {more} more", shown.join(", ")),
    }
}

/// What has the text in it is nearer than what merely looks like it.
fn distance(wanted: &str, name: &str) -> (bool, usize) {
    let within = name.contains(wanted) || wanted.contains(name);
    (!within, strsim::damerau_levenshtein(wanted, name))
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_most_like_it_come_first() {
        let names = ["debian-12", "rocky-9.4", "rocky-9-latest", "windows", "ubuntu-24", "centos-7"];
        let text = there_is("images", "Rocky-9", names.into_iter());
        assert_eq!(
            text,
            "there are the images rocky-9.4, rocky-9-latest, centos-7, windows, debian-12 and 1 more"
        );
        assert_eq!(there_is("flavors", "x", std::iter::empty()), "there are no flavors");
    }
}
